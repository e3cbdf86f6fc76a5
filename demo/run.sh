#!/bin/bash
# `make demo`: dvc on real files and on a real database. Works in a temporary directory, removed at the end; KEEP=1 keeps it.
# In: DVC, the binary (default target/release/dvc). Ends with 0 only if everything that came back was equal.
set -euo pipefail
cd "$(dirname "$0")/.."
export DVC=${DVC:-$PWD/target/release/dvc}
export PATH="$(dirname "$DVC"):$PATH:/usr/sbin:/sbin"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/dvc-demo.XXXXXX")
export HOME=$tmp/home XDG_CONFIG_HOME=$tmp/home/config XDG_CACHE_HOME=$tmp/home/cache XDG_STATE_HOME=$tmp/home/state
mkdir -p "$HOME"
unset "${!DVC_@}"
server=
cleanup() {
	[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
	dvc umount --discard "$tmp/mnt" >/dev/null 2>&1 || true
	[ -n "${KEEP:-}" ] && echo "kept: $tmp" || rm -rf "$tmp"
}
trap cleanup EXIT

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }
same() {
	local out
	out=$(rsync -aHAXn --checksum --delete --itemize-changes --exclude=/.dvcs "$1/" "$2/")
	if [ -n "$out" ]; then echo "$out" | head; echo "NOT EQUAL: $1 and $2" >&2; exit 1; fi
	echo "equal by rsync -aHAXn --checksum --delete: $1 and $2"
}

title "Real files: the documentation and the settings of this machine"
mkdir "$tmp/volume" && cd "$tmp/volume"
for dir in /usr/share/doc /usr/lib/python3; do
	if [ -d "$dir" ]; then cp -a "$dir" .; fi
done
[ -r /etc/shadow ] && cp -a /etc . || cp -aL /etc/passwd /etc/services . 2>/dev/null || true
truncate -s 10G sparse; echo end >>sparse
du -sh --exclude=.dvcs .
run dvc init -b files
time run dvc commit -m 'first version'
time run dvc commit -m 'nothing has changed'
cp -a . "$tmp/first" && rm -rf "$tmp/first/.dvcs" && touch -r . "$tmp/first"

title "A change"
find . -path ./.dvcs -prune -o -name '*.gz' -print | sed -n '1,200p' | xargs -r touch
find . -path ./.dvcs -prune -o -name 'copyright' -type f -print | sed -n '1,100p' | xargs -r sed -i '1i a new first line'
mkdir added && seq 1 500000 >added/numbers && mv doc renamed 2>/dev/null || true
run dvc status | tail -5
run dvc diff --stat | tail -3
run dvc commit -m 'second version' --tag @release
run dvc log --oneline
run dvc show --stat | sed -n '1,12p'
cp -a . "$tmp/second" && rm -rf "$tmp/second/.dvcs" && touch -r . "$tmp/second"

title "Both versions come back, elsewhere and in place"
run dvc checkout files@v1 --into "$tmp/copy"
same "$tmp/first" "$tmp/copy"
time run dvc checkout files@v1
same "$tmp/first" .
run dvc checkout files@release
same "$tmp/second" .
run dvc checkout files

title "A mistake, undone"
rm -rf added
run dvc commit -m 'oh no'
run dvc undo
run dvc checkout -f files
same "$tmp/second" .

title "Everything is verified"
run dvc fsck --data
run dvc du

title "To another place, and back from there"
run dvc remote add origin "$tmp/nas/volume"
run dvc push -n
time run dvc push
run dvc push
time run dvc clone "$tmp/nas/volume" "$tmp/whole"
same "$tmp/second" "$tmp/whole"
time run dvc clone --lazy "$tmp/nas/volume" "$tmp/lazy"
cd "$tmp/lazy"
run dvc log --oneline
run dvc diff --stat files@v1 files@v2 | tail -1
run dvc checkout files -- added
du -sh --exclude=.dvcs .
cmp added/numbers "$tmp/second/added/numbers"
seq 500001 600000 >>added/numbers
run dvc commit -m 'made where only one directory is' added
run dvc push
cd "$tmp/volume"
run dvc pull
cmp added/numbers "$tmp/lazy/added/numbers"
run dvc fsck

if ! command -v mariadbd >/dev/null; then
	title "No MariaDB here (tests/setup.sh installs it); the rest was fine"
	exit 0
fi

title "A real database"
data=$tmp/mariadb sock=$tmp/sock
user=()
[ "$(id -u)" -ne 0 ] || user=(--user=root)
mariadb-install-db --no-defaults "${user[@]}" --datadir="$data" --auth-root-authentication-method=normal >"$tmp/install.log"
start() {
	mariadbd --no-defaults "${user[@]}" --datadir="$data" --socket="$sock" --skip-networking --pid-file="$tmp/pid" \
		>"$tmp/mariadbd.log" 2>&1 &
	server=$!
	for _ in $(seq 100); do mariadb-admin --no-defaults -uroot -S "$sock" ping >/dev/null 2>&1 && return; sleep 0.2; done
	cat "$tmp/mariadbd.log" >&2
	exit 1
}
stop() { mariadb-admin --no-defaults -uroot -S "$sock" shutdown; wait "$server" || true; server=; }
sql() { mariadb --no-defaults -uroot -S "$sock" -N "$@"; }

cd "$tmp"
start
sql -e 'create database shop; create table shop.orders (id int primary key auto_increment, what varchar(200), n int);
	insert into shop.orders (what, n) select concat(md5(seq), md5(seq + 1), md5(seq * 7)), seq % 100 from mysql.seq_1_to_200000' 2>/dev/null ||
	sql -e 'insert into shop.orders (what, n)
		with recursive s(i) as (select 1 union all select i + 1 from s where i < 1000)
		select concat(md5(a.i), md5(b.i), md5(a.i * b.i)), a.i % 100 from s a join s b where b.i <= 200'
sum_one=$(sql -e 'checksum table shop.orders extended')
stop
run dvc init --repo "$tmp/backup" -b shop
time run dvc --repo "$tmp/backup" -C mariadb commit -b shop -m 'before the update'
start
sql -e 'update shop.orders set what = reverse(what) where id % 500 = 0; delete from shop.orders where n = 7'
sum_two=$(sql -e 'checksum table shop.orders extended')
run dvc --repo "$tmp/backup" commit -b dump --exec shop.sql -- mariadb-dump --no-defaults -uroot -S "$sock" --single-transaction shop
stop
time run dvc --repo "$tmp/backup" -C mariadb commit -b shop -m 'after the update'
run dvc --repo "$tmp/backup" diff --stat shop@v1 shop@v2
du -sh mariadb backup

for version in 1 2; do
	title "MariaDB on version $version"
	rm -rf "$tmp/mariadb-$version"
	run dvc --repo "$tmp/backup" checkout "shop@v$version" --into "$tmp/mariadb-$version"
	[ "$version" = 1 ] || same "$tmp/mariadb" "$tmp/mariadb-$version"
	data=$tmp/mariadb-$version
	start
	sql -e 'check table shop.orders extended'
	sum=$(sql -e 'checksum table shop.orders extended')
	stop
	want=$sum_one
	[ "$version" = 1 ] || want=$sum_two
	[ "$sum" = "$want" ] || { echo "NOT EQUAL: $sum, expected $want" >&2; exit 1; }
	echo "the same rows: $sum"
done

title "MariaDB on a mount of version 2, and a version made while it runs"
mkdir "$tmp/mnt"
if time run dvc --repo "$tmp/backup" mount --live shop@v2 "$tmp/mnt"; then
	data=$tmp/mnt
	start
	sum=$(sql -e 'checksum table shop.orders extended')
	[ "$sum" = "$sum_two" ] || { echo "NOT EQUAL: $sum, expected $sum_two" >&2; exit 1; }
	sql -e 'update shop.orders set n = -n where id < 1000'
	sum=$(sql -e 'checksum table shop.orders extended')
	run dvc -C "$tmp/mnt" diff --stat
	time run dvc -C "$tmp/mnt" commit -b trial -m 'while it runs'
	sql -e 'drop table shop.orders'
	stop
	run dvc umount --discard "$tmp/mnt"
	run dvc --repo "$tmp/backup" checkout trial --into "$tmp/trial"
	data=$tmp/trial
	start
	again=$(sql -e 'checksum table shop.orders extended')
	stop
	[ "$sum" = "$again" ] || { echo "NOT EQUAL: $again, expected $sum" >&2; exit 1; }
	echo "the same rows: $again"
else
	echo "nothing can be mounted here: dvc doctor tells why"
fi
run dvc --repo "$tmp/backup" fsck --data
title "Everything came back as it was"

#!/bin/bash
# Demonstrates dvc on real files and on a real database (`make demo`). Works in a temporary directory, which it removes
# at the end unless KEEP=1 is set. DVC names the binary; the default is target/release/dvc. Fails if restored data
# differs from the original.
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

begun=$EPOCHREALTIME
rows=()
took=
seconds() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }
title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
# Prints a command line with its quotes and runs it. Sets `took` to its duration.
run() {
	local start=$EPOCHREALTIME status=0
	printf '\033[36m$ %s\033[0m\n' "$1"
	eval "$1" || status=$?
	took=$(seconds "$start")
	return "$status"
}
# Adds a row to the summary: what, how much, how fast, how small.
row() { rows+=("$(printf '%-42s %12s %9s   %s' "$1" "$2" "$3" "$4")"); }
# Prints the disk usage of a directory.
on_disk() { du -sh "$1" | cut -f1; }
# Compares two trees without dvc. tar compares `sparse`, because rsync would read its 10 GiB of zeros.
same() {
	local out
	out=$(rsync -aHAXn --checksum --delete --itemize-changes --exclude=/.dvcs --exclude=/sparse "$1/" "$2/")
	if [ -n "$out" ]; then echo "$out" | head; echo "NOT EQUAL: $1 and $2" >&2; exit 1; fi
	if [ -e "$1/sparse" ] && [ "$(hole "$1")" != "$(hole "$2")" ]; then echo "NOT EQUAL: sparse in $1 and $2" >&2; exit 1; fi
	echo "equal, by rsync -aHAXn --checksum --delete: ${1#"$tmp/"} and ${2#"$tmp/"}"
}
hole() { tar -C "$1" --sparse --hole-detection=seek -cf - sparse | sha256sum; }

cd "$tmp"
title "Real files: documentation and settings of this machine, and a file with a hole of 10 GiB"
run 'mkdir volume && cd volume'
for dir in /usr/share/doc /usr/lib/python3; do
	[ ! -d "$dir" ] || run "cp -a $dir ."
done
if [ -r /etc/shadow ]; then run 'cp -a /etc .'; else run 'cp -aL /etc/passwd /etc/services .'; fi
run 'truncate -s 10G sparse && echo end >> sparse'
run 'du -sh .'
volume=$(on_disk .)
run 'dvc init -b files'
run "dvc commit -m 'first version'"
row "first version of $(find . -path ./.dvcs -prune -o -print | wc -l) files" "$volume" "$took" "$(on_disk .dvcs) in the repository"
run "dvc commit -m 'nothing has changed'"
row "commit without changes" "$volume" "$took" "nothing stored"
cp -a . "$tmp/first" && rm -rf "$tmp/first/.dvcs" && touch -r . "$tmp/first"

title "A change: new times, new lines, new files, a directory renamed"
run "find . -path ./.dvcs -prune -o -name '*.gz' -print | sed -n 1,200p | xargs -r touch"
run "find . -path ./.dvcs -prune -o -name copyright -type f -print | sed -n 1,100p | xargs -r sed -i '1i a new first line'"
run 'mkdir added && seq 1 500000 > added/numbers'
[ ! -d doc ] || run 'mv doc renamed'
run 'dvc status | tail -n 5'
run 'dvc diff --stat | tail -n 3'
run "dvc commit -m 'second version' --tag @release"
row "second version: $(dvc show --json | grep -o '"letter"' | wc -l) paths differ" "$volume" "$took" "$(dvc log -1 --format '%(stored)' | numfmt --to=iec) stored"
run 'dvc log --oneline'
run 'dvc show --stat | sed -n 1,12p'
cp -a . "$tmp/second" && rm -rf "$tmp/second/.dvcs" && touch -r . "$tmp/second"

title "Restore both versions, into another directory and in place"
run 'dvc checkout files@v1 --into ../copy'
row "a version into an empty directory" "$volume" "$took" ""
same "$tmp/first" "$tmp/copy"
run 'dvc checkout files@v1'
row "back to the first version, in place" "$volume" "$took" "only what differs is written"
same "$tmp/first" .
run 'dvc checkout files@release'
same "$tmp/second" .
run 'dvc checkout files'

title "A mistake, undone"
run 'rm -r added'
run "dvc commit -m 'oh no'"
run 'dvc undo'
run 'dvc checkout -f files'
same "$tmp/second" .

title "Verify everything"
run 'dvc fsck --data'
run 'dvc du'

title "Push to a remote, and clone it"
run 'dvc remote add origin ../nas/volume'
run 'dvc push -n'
run 'dvc push'
row "push to a directory" "$(on_disk ../nas)" "$took" ""
run 'dvc push'
run 'dvc clone ../nas/volume ../whole'
same "$tmp/second" "$tmp/whole"
run 'dvc clone --lazy ../nas/volume ../lazy'
row "lazy clone: fetches data when it is read" "$volume" "$took" "$(on_disk ../lazy) here"
run 'cd ../lazy'
run 'dvc log --oneline'
run 'dvc diff --stat files@v1 files@v2 | tail -n 1'
run 'dvc checkout files -- added'
run 'du -sh --exclude=.dvcs .'
cmp added/numbers "$tmp/second/added/numbers"
run 'seq 500001 600000 >> added/numbers'
run "dvc commit -m 'made where only one directory is' added"
run 'dvc push'
run 'cd ../volume'
run 'dvc pull'
cmp added/numbers "$tmp/lazy/added/numbers"
run 'dvc fsck'

title "Care: forget a version, free its space, repair damage"
run 'head -c 40M /dev/urandom > core.4711'
run "dvc commit -m 'with a large file, by mistake'"
run 'rm core.4711'
run "dvc commit -m 'without it'"
run 'dvc forget files~1'
run 'dvc forget --list'
run 'dvc undo'
run 'dvc show files~1:core.4711 | wc -c'
before=$(on_disk .dvcs)
run 'dvc forget files~1'
run 'dvc gc --now -y --keep-trash 0'
row "gc after a version was forgotten" "$before" "$took" "$(on_disk .dvcs) in the repository"
run 'dvc log --oneline'
pack=$(find .dvcs/packs -type f -size +1M | sort | head -n 1)
[ -n "$pack" ] || { echo "no pack is larger than 1 MiB" >&2; exit 1; }
run "printf damaged | dd of=$pack bs=1 seek=500000 conv=notrunc status=none"
if run 'dvc fsck --data'; then echo "the damage was not found" >&2; exit 1; fi
run 'dvc fsck --repair'
row "repair of a damaged pack" "$(on_disk "$pack")" "$took" "from the remote"
run 'dvc fsck --data'
run 'dvc checkout files@release --into ../repaired'
same "$tmp/second" "$tmp/repaired"

summary() {
	title "Everything was restored unchanged, in $(seconds "$begun")"
	printf '%-42s %12s %9s   %s\n' "what" "how much" "how fast" "how small"
	printf '%s\n' "${rows[@]}"
	cat <<-'END'

		What to try next:
		  cd /your/data && dvc init && dvc commit -m 'first version'   version your own data; dvc adds only the directory .dvcs
		  dvc remote add origin s3://BUCKET/NAME && dvc push           push a copy to a remote: docs/remotes.md
		  dvc mount REV DIR                                            mount a version without copying it: docs/mount.md
		  dvc serve --plugin                                           use versions as Docker volumes: docs/docker.md
	END
}

if ! command -v mariadbd >/dev/null; then
	title "MariaDB is not installed (tests/setup.sh installs it), so the database is skipped"
	summary
	exit 0
fi

title "A real database"
data=$tmp/mariadb sock=$tmp/sock
user=
[ "$(id -u)" -ne 0 ] || user=--user=root
cd "$tmp"
run "mariadb-install-db --no-defaults $user --datadir=\$PWD/mariadb --auth-root-authentication-method=normal > install.log"
start() {
	printf '\033[36m$ %s\033[0m\n' "mariadbd --datadir=${data#"$tmp/"} &"
	# shellcheck disable=SC2086
	mariadbd --no-defaults $user --datadir="$data" --socket="$sock" --skip-networking --pid-file="$tmp/pid" \
		>"$tmp/mariadbd.log" 2>&1 &
	server=$!
	for _ in $(seq 100); do mariadb-admin --no-defaults -uroot -S "$sock" ping >/dev/null 2>&1 && return; sleep 0.2; done
	cat "$tmp/mariadbd.log" >&2
	exit 1
}
stop() {
	printf '\033[36m$ %s\033[0m\n' "mariadb-admin shutdown"
	mariadb-admin --no-defaults -uroot -S "$sock" shutdown
	wait "$server" || true
	server=
}
# Prints statements and runs them.
sql() {
	printf '\033[36m$ mariadb -e "%s"\033[0m\n' "$1" >&2
	mariadb --no-defaults -uroot -S "$sock" -N -e "$1"
}

start
sql 'create database shop; create table shop.orders (id int primary key auto_increment, what varchar(200), n int)'
sql 'insert into shop.orders (what, n)
    with recursive s(i) as (select 1 union all select i + 1 from s where i < 1000)
    select concat(md5(a.i), md5(b.i), md5(a.i * b.i)), a.i % 100 from s a join s b where b.i <= 200'
sum_one=$(sql 'checksum table shop.orders extended')
stop
database=$(on_disk mariadb)
run 'dvc init --repo backup -b shop'
run "dvc --repo \$PWD/backup -C mariadb commit -b shop -m 'before the update'"
row "first version of a MariaDB" "$database" "$took" "$(on_disk backup) in the repository"
start
sql 'update shop.orders set what = reverse(what) where id % 500 = 0; delete from shop.orders where n = 7'
sum_two=$(sql 'checksum table shop.orders extended')
run "dvc --repo backup commit -b dump --exec shop.sql -- mariadb-dump --no-defaults -uroot -S '$sock' --single-transaction shop"
stop
run "dvc --repo \$PWD/backup -C mariadb commit -b shop -m 'after the update'"
row "second version of the database" "$database" "$took" "$(dvc --repo backup log -1 --format '%(stored)' shop | numfmt --to=iec) stored"
run 'dvc --repo backup diff --stat shop@v1 shop@v2'
run 'du -sh mariadb backup'

for version in 1 2; do
	title "MariaDB on version $version"
	run "dvc --repo backup checkout shop@v$version --into mariadb-$version"
	[ "$version" = 1 ] || same "$tmp/mariadb" "$tmp/mariadb-$version"
	data=$tmp/mariadb-$version
	start
	sql 'check table shop.orders extended'
	sum=$(sql 'checksum table shop.orders extended')
	stop
	want=$sum_one
	[ "$version" = 1 ] || want=$sum_two
	[ "$sum" = "$want" ] || { echo "NOT EQUAL: $sum, expected $want" >&2; exit 1; }
	echo "the same rows: $sum"
done

title "MariaDB on a mount of version 2, and a commit while it runs"
run 'mkdir mnt'
if run 'dvc --repo backup mount --live shop@v2 mnt'; then
	row "mount of the second version" "$database" "$took" "nothing is copied"
	data=$tmp/mnt
	start
	sum=$(sql 'checksum table shop.orders extended')
	[ "$sum" = "$sum_two" ] || { echo "NOT EQUAL: $sum, expected $sum_two" >&2; exit 1; }
	sql 'update shop.orders set n = -n where id < 1000'
	sum=$(sql 'checksum table shop.orders extended')
	run 'dvc -C mnt diff --stat'
	run "dvc -C mnt commit -b trial -m 'while it runs'"
	row "version of the running database" "$database" "$took" "$(dvc --repo backup log -1 --format '%(stored)' trial | numfmt --to=iec) stored"
	sql 'drop table shop.orders'
	stop
	run 'dvc umount --discard mnt'
	run 'dvc --repo backup checkout trial --into trial'
	data=$tmp/trial
	start
	again=$(sql 'checksum table shop.orders extended')
	stop
	[ "$sum" = "$again" ] || { echo "NOT EQUAL: $again, expected $sum" >&2; exit 1; }
	echo "the same rows: $again"
else
	echo "nothing can be mounted here; dvc doctor reports the reason"
fi
run 'dvc --repo backup fsck --data'
summary

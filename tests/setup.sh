#!/bin/bash
# Installs what the tests and the demo need on a Debian machine, only what is missing. Needs no network when all is there.
set -euo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

# program package
needed='
cc            build-essential
make          make
git           git
rsync         rsync
setfacl       acl
setfattr      attr
setcap        libcap2-bin
setpriv       util-linux
mkfs.ext4     e2fsprogs
sqlite3       sqlite3
jq            jq
mariadbd      mariadb-server
mariadb-check mariadb-client
sysbench      sysbench
'

missing=()
while read -r program package; do
	[ -n "$program" ] || continue
	command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needed"

if ! command -v cargo >/dev/null; then
	echo "setup: cargo is missing; install Rust 1.90 or newer from https://rustup.rs" >&2
	exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then
	echo "setup: everything is installed"
	exit 0
fi
echo "setup: missing packages: ${missing[*]}"
if ! command -v apt-get >/dev/null; then
	echo "setup: no apt-get here; install them by hand" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { echo "setup: neither root nor sudo; install them by hand" >&2; exit 1; }
	as_root=(sudo)
fi

# A database server that is only needed as a program must not be started by its package.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
if ! "${install[@]}"; then
	"${as_root[@]}" apt-get update -q
	"${install[@]}"
fi
echo "setup: done"

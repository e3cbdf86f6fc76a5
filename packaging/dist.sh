#!/bin/bash
# Builds the release files in target/dist, for the architecture of this machine:
#
#   dvc-VERSION-ARCH-linux.tar.gz             one static binary and ./install.sh
#   data-volume-control_VERSION-1_ARCH.deb    the same as a Debian package
#   SHA256SUMS
#
# The same sources and tools give the same bytes. SOURCE_DATE_EPOCH sets the time of all files; the default is that of the last commit.
# Needs cargo-deb (tests/setup.sh installs it).
#
#   packaging/dist.sh [--out DIR]
#   packaging/dist.sh --binary FILE --out DIR [--fast]     packs FILE instead of building a static binary, with less compression
#                                                          if --fast is given; for tests
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
out=${CARGO_TARGET_DIR:-$PWD/target}/dist binary='' level=9 fast=()
while [ $# -gt 0 ]; do
	case $1 in
	--binary) binary=$2; shift ;;
	--out) out=$2; shift ;;
	--fast) level=1 fast=(--fast) ;;
	*) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift
done
say() { echo "dist: $*" >&2; }
export PATH="${XDG_CACHE_HOME:-$HOME/.cache}/dvc-tests/cargo/bin:$PATH"
command -v cargo-deb >/dev/null || { say "cargo-deb is not installed: run tests/setup.sh"; exit 1; }
[ -n "$binary" ] || binary=$(packaging/build-static.sh)
binary=$(realpath "$binary")
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

mkdir -p "$out"
out=$(realpath "$out")
rm -rf "$out"/work "$out"/*.tar.gz "$out"/*.deb "$out/SHA256SUMS"
work=$out/work name=dvc-$version-$(uname -m)-linux
mkdir -p "$work/$name/packaging" "$work/target/release"

# The archive has the layout of the sources, so that install.sh is the same script.
install -m 755 "$binary" "$work/$name/dvc"
cp -r completions docs README.md CHANGELOG.md LICENSE-* "$work/$name"
cp -r packaging/systemd packaging/examples "$work/$name/packaging"
install -m 755 packaging/install.sh "$work/$name/install.sh"
chmod -R u=rwX,go=rX "$work/$name"
tar --create --directory "$work" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
	"$name" | gzip -${level}n >"$out/$name.tar.gz"

# cargo-deb packs release/dvc of the target directory. The build has already stripped debug information.
cp "$binary" "$work/target/release/dvc"
CARGO_TARGET_DIR=$work/target ${CARGO:-cargo} deb --quiet --no-build --no-strip --offline --locked "${fast[@]}" --output "$out/" >&2

rm -rf "$work"
cd "$out"
sha256sum -- *.tar.gz *.deb >SHA256SUMS
say "$out"
cat SHA256SUMS

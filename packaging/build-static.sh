#!/bin/bash
# Builds the static binary of the container image and the release archive, and prints its path.
# The same sources and tools give the same bytes in any directory, because the binary contains no path of this machine.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "build: $*" >&2; }
arch=$(uname -m)
musl=$arch-unknown-linux-musl
cargo_home=${CARGO_HOME:-$HOME/.cargo}
has_std() { compgen -G "$(rustc --print sysroot)/lib/rustlib/$1/lib/libstd-*.rlib" >/dev/null; }

if ! has_std "$musl" && command -v rustup >/dev/null; then
	rustup target add "$musl" >&2 || true
fi
maps="--remap-path-prefix=$PWD=/dvc --remap-path-prefix=$cargo_home=/cargo"
cmaps="-ffile-prefix-map=$cargo_home=/cargo"
# Use musl if the toolchain has it, otherwise glibc.
if has_std "$musl" && command -v musl-gcc >/dev/null; then
	target=$musl
	export "CC_${musl//-/_}=musl-gcc" "CFLAGS_${musl//-/_}=$cmaps"
	export RUSTFLAGS="$maps"
else
	say "no musl here (rustup target add $musl; Debian: musl-tools), so glibc"
	target=$(rustc -vV | sed -n 's/^host: //p')
	export "CFLAGS_${target//-/_}=$cmaps"
	export RUSTFLAGS="$maps -C target-feature=+crt-static"
fi
# Debug information would be stripped anyway.
CARGO_PROFILE_RELEASE_DEBUG=false ${CARGO:-cargo} build --release --locked --bin dvc --target "$target" >&2
binary=${CARGO_TARGET_DIR:-target}/$target/release/dvc
if ldd "$binary" 2>/dev/null | grep -q /; then
	say "$binary is not static"
	exit 1
fi
echo "$binary"

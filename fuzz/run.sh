#!/bin/bash
# Runs every fuzz target for SECONDS (default 60), beginning with valid samples: fuzz/run.sh [SECONDS]
# Installs cargo-fuzz if it is missing. Without nightly Rust, RUSTC_BOOTSTRAP=1 enables its features in stable Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
toolchain=(+nightly)
if ! cargo "${toolchain[@]}" --version >/dev/null 2>&1; then
	toolchain=()
	export RUSTC_BOOTSTRAP=1
fi
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
DVC_FUZZ_CORPUS=$PWD/fuzz/corpus cargo test --locked -q --test it -- --exact --ignored damage::decoders::write_samples
for file in fuzz/fuzz_targets/*.rs; do
	target=$(basename "$file" .rs)
	echo "fuzz: $target for $seconds s"
	cargo "${toolchain[@]}" fuzz run --release "$target" "fuzz/corpus/$target" -- \
		-max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=10 -verbosity=0 -print_final_stats=1
done
echo "fuzz: no crash in any target"

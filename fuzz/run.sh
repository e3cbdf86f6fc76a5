#!/bin/bash
# Runs every fuzz target for SECONDS each (default 60), beginning with valid samples. Needs nightly Rust and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
DVC_FUZZ_CORPUS=$PWD/fuzz/corpus cargo test --locked -q --test it -- --exact --ignored damage::decoders::write_samples
for file in fuzz/fuzz_targets/*.rs; do
	target=$(basename "$file" .rs)
	echo "fuzz: $target for $seconds s"
	cargo +nightly fuzz run --release "$target" "fuzz/corpus/$target" -- \
		-max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=10 -verbosity=0 -print_final_stats=1
done
echo "fuzz: no crash in any target"

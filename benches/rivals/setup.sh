#!/bin/bash
# Installs the peers that run.py measures: bupstash and rustic from the crates registry, restic (and the tools
# of the data generators) from Debian, borg from PyPI. Idempotent; as root for the Debian packages.
# setup.sh [PREFIX=/var/tmp/dvcbench/peers]    binaries end up in PREFIX/bin; run.py looks there first, then in PATH
set -euo pipefail
prefix=$(realpath -m "${1:-/var/tmp/dvcbench/peers}")
BUPSTASH=0.12.0 RUSTIC=0.11.4 BORG=1.4.5
mkdir -p "$prefix/bin"

debian=(restic mariadb-server sysbench e2fsprogs mount time zstd rsync acl attr python3-venv
        pkg-config libsodium-dev libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev)
missing=(); for p in "${debian[@]}"; do dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p"); done
if [ ${#missing[@]} -gt 0 ]; then
  # a throw-away server is started by the data generator: the package's own service must not run beside it
  apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qy --no-install-recommends "${missing[@]}"
fi

export CARGO_TARGET_DIR=$prefix/target
[ -x "$prefix/bin/bupstash" ] || cargo install bupstash --version $BUPSTASH --locked --root "$prefix"
[ -x "$prefix/bin/rustic" ]   || cargo install rustic-rs --version $RUSTIC --locked --root "$prefix"
if [ ! -x "$prefix/bin/borg" ]; then
  python3 -m venv "$prefix/venv"
  "$prefix/venv/bin/pip" install -q "borgbackup==$BORG"
  ln -sf ../venv/bin/borg "$prefix/bin/borg"
fi
rm -rf "$CARGO_TARGET_DIR"

export PATH=$prefix/bin:$PATH
for t in bupstash rustic restic borg; do echo "$t: $(command -v $t)"; done

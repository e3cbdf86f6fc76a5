#!/bin/bash
# Installs the peers that run.py and mount.py measure: bupstash and rustic from the crates registry,
# restic and rclone from Debian, borg with its mount from PyPI; and the tools of the data generators.
# Installs only what is missing. Debian packages need root. tests/setup.sh installs the servers of
# mount.py and remotes.py (moto, PostgreSQL, ...).
#
#   setup.sh [PREFIX]    the default is /var/tmp/dvcbench/peers; run.py looks in PREFIX/bin, then in PATH
set -euo pipefail
prefix=$(realpath -m "${1:-/var/tmp/dvcbench/peers}")
BUPSTASH=0.12.0 RUSTIC=0.11.4 BORG=1.4.5
mkdir -p "$prefix/bin"

debian=(restic rclone fio fuse3 mariadb-server sysbench e2fsprogs mount time zstd rsync acl attr python3-venv
        pkg-config libfuse3-dev libsodium-dev libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev)
missing=(); for p in "${debian[@]}"; do dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p"); done
if [ ${#missing[@]} -gt 0 ]; then
  # RUNLEVEL=1 keeps packages from starting their services; the data generator starts a server of its own.
  apt-get update -q && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qy --no-install-recommends "${missing[@]}"
fi

export CARGO_TARGET_DIR=$prefix/target
[ -x "$prefix/bin/bupstash" ] || cargo install bupstash --version $BUPSTASH --locked --root "$prefix"
[ -x "$prefix/bin/rustic" ]   || cargo install rustic-rs --version $RUSTIC --locked --root "$prefix"
if ! "$prefix/venv/bin/python" -c 'import pyfuse3' 2>/dev/null || [ ! -x "$prefix/bin/borg" ]; then
  python3 -m venv "$prefix/venv"
  "$prefix/venv/bin/pip" install -q "borgbackup[pyfuse3]==$BORG"
  ln -sf ../venv/bin/borg "$prefix/bin/borg"
fi
rm -rf "$CARGO_TARGET_DIR"

export PATH=$prefix/bin:$PATH
for t in bupstash rustic restic borg rclone; do echo "$t: $(command -v $t)"; done

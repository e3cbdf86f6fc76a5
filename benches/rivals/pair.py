#!/usr/bin/env python3
# Compares two builds of dvc by the figures of run.py and mount.py, without peers. The builds take turns.
# In: two binaries, operations and groups. Out: a table of medians, and of the ratios new / old of all pairs.
# A figure is worse only if its median ratio exceeds the tolerance and all ratios exceed 1. Needs root.

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOLERANCE = 1.03


def rows(path):
    """Returns the figures of a results file by name, in seconds; a rate becomes seconds per request."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        if "sides" in row:
            for side in ("mount", "checkout"):
                value = row["sides"].get(side, {}).get("value")
                if value and value["median"]:
                    name = f"{row['group']}: {row['name']}" + ("" if side == "mount" else f" ({side})")
                    found[name] = value["median"] if row["better"] == "less" else 1 / value["median"]
        elif row.get("tool") == "dvc" and row.get("ok"):
            found[f"{row['data']}: {row['op']}"] = row["wall"]
            found[f"{row['data']}: {row['op']}, peak memory"] = row["rss"] / 2**20
    return found


def measure(options, side, dvc, pair):
    """Runs both scripts once with one binary. Returns the figures."""
    results = Path(options.data) / f"pair-{side}-{pair}.jsonl"
    results.unlink(missing_ok=True)
    common = ["--data", options.data, "--dvc", dvc, "--results", results, "--runs", "1"]
    if options.ops:
        run([HERE / "run.py", *common, "--tools", "dvc", "--only", options.only, "--ops", options.ops, "--no-compare"])
    if options.groups:
        run([HERE / "mount.py", *common, "--figures", options.figures, "--tools", "--", *options.groups])
    return rows(results)


def run(argv):
    done = subprocess.run([sys.executable, *map(str, argv)], capture_output=True, text=True)
    if done.returncode:
        print(f"{argv[0].name}: exit {done.returncode}: {(done.stderr or done.stdout)[-1500:]}", file=sys.stderr)


def main():
    p = argparse.ArgumentParser(description="Compare two builds of dvc; see the head of this file.")
    p.add_argument("old", help="binary of the old build")
    p.add_argument("new", help="binary of the new build")
    p.add_argument("groups", nargs="*", help="groups of mount.py")
    p.add_argument("--figures", default="", metavar="PATTERN", help="only figures of mount.py whose `group: name` matches")
    p.add_argument("--ops", help="operations of run.py")
    p.add_argument("--only", default="tree,db", help="data sets of run.py")
    p.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets and results")
    p.add_argument("--pairs", type=int, default=5, help="number of runs of each build")
    options = p.parse_intermixed_args()
    os.makedirs(options.data, exist_ok=True)
    pairs = []
    for n in range(options.pairs):
        # The order alternates, because the first run finds the machine in another state.
        order = [("old", options.old), ("new", options.new)]
        done = {side: measure(options, side, dvc, n) for side, dvc in (order if n % 2 == 0 else order[::-1])}
        pairs.append((done["old"], done["new"]))
        print(f"pair {n + 1} of {options.pairs}", file=sys.stderr, flush=True)
    print("| figure | old | new | new / old | spread of the pairs | |\n|---|---|---|---|---|---|")
    for name in pairs[0][0]:
        both = [(old[name], new[name]) for old, new in pairs if name in old and name in new]
        if both:
            ratios = [new / old for old, new in both]
            ratio = statistics.median(ratios)
            worse = ratio > TOLERANCE and min(ratios) > 1
            old, new = (statistics.median(side) for side in zip(*both))
            print(f"| {name} | {old:.4g} | {new:.4g} | {ratio:.3f} | {min(ratios):.2f} to {max(ratios):.2f} | {'worse' if worse else ''} |")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# Measures the care of a repository: forget, gc and repair, compared with the prune of restic, rustic and borg.
# In: data sets (data.py creates them), the tools (setup.sh), a repository of many chunks (benches/many_chunks.rs).
# Out: one JSON line per figure, appended to a results file; `--report` writes the section Care of docs/benchmarks.md
# from the newest ones. All tools get the same versions. Their repositories are made once and copied for each turn, so
# that each turn starts with the same repository, in the page cache. Figures are medians. The groups are in careloads.py.

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import careloads
import carereport
import measure
from data import Data

PROJECT = Path(__file__).resolve().parents[2]


class Bench:
    """Directories, tools and results of one invocation."""

    def __init__(self, options):
        self.options, self.runs = options, options.runs
        self.sets = Data(options.data, options.scripts, options.small)
        self.work = Path(self.sets.root) / "care"
        self.work.mkdir(parents=True, exist_ok=True)
        self.batch = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.failed = 0

    def exe(self, name):
        if name == "dvc":
            return self.options.dvc
        if name not in self.options.tools:
            return None
        return shutil.which(name, path=f"{self.options.peers}/bin:{os.environ['PATH']}")

    def step(self, tool, command):
        """Runs a command without measuring it."""
        done = subprocess.run(command.argv, cwd=command.cwd, env=tool.environment() | command.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode not in command.ok_codes:
            raise RuntimeError(f"{' '.join(command.argv[:6])}: exit {done.returncode}: {done.stderr[-800:]}")
        return done.stdout

    output = step

    def measure(self, tool, *commands):
        """Runs commands one after the other. Returns their wall time, CPU time and highest peak memory."""
        total = {"value": 0.0, "cpu": 0.0, "rss": 0, "other_cpu": 0.0}
        for command in commands:
            got = measure.run(command.argv, command.cwd, tool.environment() | command.env, cold=self.options.cold, ok_codes=command.ok_codes,
                              quiet_wait=self.options.wait_quiet, scratch=str(self.work))
            if not got["ok"]:
                raise RuntimeError(f"{' '.join(command.argv[:6])}: exit {got['code']}: {got['error']}")
            total = {"value": total["value"] + got["wall"], "cpu": total["cpu"] + got["cpu"], "rss": max(total["rss"], got["rss"]),
                     "other_cpu": total["other_cpu"] + got["other_cpu"]}
        return total

    def compare(self, group, name, sides, unit="s", facts=None):
        """Measures all sides in turn, `runs` times, in a different order each time, and records medians. A side returns
        a number, or a dict with the number as `value` and other figures."""
        samples, order = {side: [] for side in sides}, list(sides)
        for n in range(self.runs):
            for side in order[n % len(order):] + order[:n % len(order)]:
                got = sides[side]()
                samples[side].append(got if isinstance(got, dict) else {"value": got})
        return self.record(group, name, samples, unit, facts)

    def record(self, group, name, samples, unit="s", facts=None):
        spread = lambda values: {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}
        sides = {side: {key: spread([s[key] for s in got if key in s]) for key in {k for s in got for k in s}} for side, got in samples.items() if got}
        self.append({"group": group, "name": name, "unit": unit, "sides": sides, "facts": facts or {}})
        shown = (f"{side} {keys['value']['median']:.4g}" + "".join(f" {k} {keys[k]['median']:.4g}" for k in sorted(keys) if k != "value") for side, keys in sides.items())
        print(f"{group:8} {name:40} {unit:3} {'; '.join(shown)}", flush=True)

    def append(self, row):
        with open(self.options.results, "a") as f:
            f.write(json.dumps({"batch": self.batch, "scale": "small" if self.options.small else "full", **row}) + "\n")

    def group(self, name):
        """Measures one group. A failure does not prevent the other groups."""
        start = time.time()
        try:
            careloads.GROUPS[name](self)
        except Exception as error:
            self.failed += 1
            traceback.print_exc()
            said = (str(error).strip() or type(error).__name__).splitlines()[-1][-300:]
            self.append({"group": name, "failed": said.replace(self.sets.root, "DATA").replace(str(PROJECT), "PROJECT")})
        finally:
            shutil.rmtree(self.work / "turn", ignore_errors=True)
        print(f"{name}: {time.time() - start:.0f} s", flush=True)


def arguments():
    target = os.environ.get("CARGO_TARGET_DIR", f"{PROJECT}/target")
    p = argparse.ArgumentParser(description="Measure forget, gc and repair; see the head of this file.")
    p.add_argument("groups", nargs="*", help=f"groups to measure (default: all): {' '.join(careloads.GROUPS)}")
    p.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets, repositories and results")
    p.add_argument("--scripts", default=f"{PROJECT}/../shared/bench", help="directory of gen-tree.sh and gen-db.sh")
    p.add_argument("--peers", help="prefix given to setup.sh (default: DATA/peers)")
    p.add_argument("--tools", nargs="*", default=["restic", "rustic", "borg"], help="peers to measure")
    p.add_argument("--dvc", default=f"{target}/release/dvc", help="the dvc to measure")
    p.add_argument("--files", type=int, default=170_000, help="files of the tree")
    p.add_argument("--versions", type=int, default=1000, help="versions of the tree")
    p.add_argument("--db-versions", type=int, default=60, help="versions of the database that every tool gets")
    p.add_argument("--nights", type=int, default=365, help="nights of the year")
    p.add_argument("--history", type=int, default=10_000, help="versions and refs of the groups policy and refs")
    p.add_argument("--chunks", type=int, default=20_000_000, help="chunks of the group many")
    p.add_argument("--many-chunks", help="the program of benches/many_chunks.rs (default: compiled)")
    p.add_argument("--results", help="results file (default: DATA/care.jsonl)")
    p.add_argument("--runs", type=int, default=3, help="runs of each side of each figure")
    p.add_argument("--small", action="store_true", help="use small data, which only shows that everything runs")
    p.add_argument("--cold", action="store_true", help="empty the page cache before each run; needs root")
    p.add_argument("--wait-quiet", type=int, default=0, metavar="S", help="wait up to S seconds before each run until the machine is idle")
    p.add_argument("--make", action="store_true", help="measure nothing: make the repositories of the groups")
    p.add_argument("--report", action="store_true", help="measure nothing: write the report from the results file")
    p.add_argument("--out", help="report file (default: docs/benchmarks.md, or standard output with --small)")
    options = p.parse_args()
    options.peers = options.peers or f"{options.data}/peers"
    options.results = options.results or f"{options.data}/care.jsonl"
    if options.small:
        options.files, options.versions, options.db_versions = 500, 20, 10
        options.nights, options.history, options.chunks = 40, 100, 100_000
    for name in options.groups:
        if name not in careloads.GROUPS and not (options.make and name in careloads.MADE):
            p.error(f"`{name}` is not one of {' '.join(careloads.GROUPS)}")
    return options


def main():
    options = arguments()
    if options.report:
        return carereport.write(options.results, options.small, options.out or (None if options.small else PROJECT / "docs/benchmarks.md"))
    os.makedirs(options.data, exist_ok=True)
    bench, start = Bench(options), time.time()
    if options.make:
        for name in options.groups or careloads.MADE:
            careloads.MADE[name](bench)
        return 0
    versions = {kind.name: kind(bench.exe(kind.name), str(bench.work), "x").version() for kind in careloads.TOOLS if bench.exe(kind.name)}
    bench.append({"versions": versions, "machine": measure.machine() | {"file_system": measure.file_system(options.data)}})
    for name in options.groups or careloads.GROUPS:
        bench.group(name)
    print(f"{(time.time() - start) / 60:.1f} minutes, {bench.failed} failed")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# Compares complete commands of dvc, bupstash, rustic, restic and borg on the same data, with cold caches.
# In: data sets (created if missing), the tools (setup.sh). Out: one JSON line per measurement, appended to a results
# file; `--report` writes docs/benchmarks.md from the newest ones. Invocations for single tools, data sets and operations
# can be combined, because the newest invocation of each counts. Figures are medians. Needs root to empty the page cache.

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import measure
import report
from data import SETS, Data
from limits import Limits
from tools import TOOLS

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPS = ("first", "unchanged", "check", "next", "restore", "inplace", "diff", "status", "chain", "log", "limits")
SECOND = ("next", "restore", "inplace", "diff", "status")
CHAIN = 10
HISTORY = 10_000
NEEDED_BYTES = 12e9


class Bench:
    def __init__(self, options):
        self.options = options
        self.data = Data(options.data, options.scripts, options.small)
        self.batch = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.scale = "small" if options.small else "full"
        self.versions, self.failed = {}, 0

    def wants(self, op):
        return op in self.options.ops

    def wants_any(self, ops):
        return any(self.wants(op) for op in ops)

    def record(self, tool, dataset, op, run, result):
        row = {"batch": self.batch, "scale": self.scale, "tool": tool, "data": dataset,
               "op": op, "run": run, "version": self.versions.get(tool), **result}
        if "error" in row:
            row["error"] = row["error"].replace(self.data.root, "DATA").replace(PROJECT, "PROJECT")
        self.append(row)
        if row["ok"]:
            extra = "".join(f"  {k} {row[k] / 1e6:.1f} MB" for k in ("repo", "growth") if k in row)
            note = f"  (others used {row['other_cpu']:.1f} CPU s)" if row["other_cpu"] > 0.1 * row["wall"] + 0.5 else ""
            print(f"{dataset:6} {tool:9} {op:14} #{run}  {row['wall']:8.3f} s  {row['cpu']:7.2f} CPU s "
                  f"{row['rss'] / 2**20:6.0f} MiB{extra}{note}", flush=True)
        else:
            self.failed += 1
            print(f"{dataset:6} {tool:9} {op:14} #{run}  FAILED ({row.get('code')}): {row.get('error', '')}", flush=True)

    def append(self, row):
        with open(self.options.results, "a") as f:
            f.write(json.dumps(row) + "\n")

    def run(self, command, base=None, cold=False, repeat=1, quiet=True):
        return measure.run(command.argv, command.cwd, {**(base or os.environ), **command.env}, cold, repeat,
                           command.ok_codes, self.options.wait_quiet if quiet else 0, self.data.work)

    def prepare(self, tool, command):
        """Runs a necessary step without measuring it."""
        result = self.run(command, tool.environment(), quiet=False)
        if not result["ok"]:
            raise Failed(f"{' '.join(command.argv[:4])} ... exit {result['code']}: {result['error']}")

    def op(self, tool, dataset, op, run, command, **how):
        """Measures an operation if it is wanted, otherwise only runs it. Returns the result, to which the caller adds
        fields before recording it, or None."""
        if not self.wants(op.split("-")[0]):
            self.prepare(tool, command)
            return None
        how.setdefault("cold", True)
        return self.run(command, tool.environment(), **how)

    # -- one data set ---------------------------------------------------------------------------------------------

    def dataset(self, name):
        self.data.ensure(name)
        tools = [kind(self.exe(kind.name), self.data.work, name) for kind in TOOLS if self.exe(kind.name)]
        for tool in tools:
            self.versions[tool.name] = tool.version()
        cycle = self.wants_any(("first", "unchanged", "check", *SECOND))
        for run in range(1, self.options.runs + 1):
            if self.wants("limits"):
                self.data.set_live(name, 1)
                self.limits(name, run)
            # The order changes, so that no tool is always first. Only one repository exists at a time, to save space.
            for tool in tools[run % len(tools):] + tools[:run % len(tools)] if cycle and tools else []:
                self.data.set_live(name, 1)
                if self.guarded(tool, name, run, self.first_version) and self.wants_any(SECOND):
                    self.data.set_live(name, 2)
                    self.guarded(tool, name, run, self.second_version)
                tool.remove()
        if cycle or self.wants("limits"):
            self.data.drop_live(name)
        for tool in tools:
            if name == "db" and self.wants("chain") and "chain" in tool.extra:
                self.guarded(tool, "chain", 1, self.chain)
            tool.remove()
        subprocess.run(["rm", "-rf", self.target(name)], check=True)

    def guarded(self, tool, dataset, run, step):
        """Runs a step of a tool. Records a failure, so that it does not stop the other tools."""
        try:
            step(tool, dataset, run)
            return True
        except Failed as error:
            self.record(tool.name, dataset, "failed", run, {"ok": False, "error": str(error)})
            return False

    def first_version(self, tool, name, run):
        tool.wipe()
        for command in tool.init():
            self.prepare(tool, command)
        source = self.data.live(name)
        empty = measure.tree_bytes(tool.repo)
        self.finish(tool, name, "first", run, self.op(tool, name, "first", run, tool.commit(source, 1)), since=empty)
        size = measure.tree_bytes(tool.repo)
        if self.wants("unchanged"):
            self.finish(tool, name, "unchanged", run, self.op(tool, name, "unchanged", run, tool.commit(source, 1)), since=size)
        if self.wants("check"):
            self.finish(tool, name, "check", run, self.op(tool, name, "check", run, tool.check()))

    def second_version(self, tool, name, run):
        source, size = self.data.live(name), measure.tree_bytes(tool.repo)
        if self.wants_any(("next", "inplace", "diff", "status")):
            self.finish(tool, name, "next", run, self.op(tool, name, "next", run, tool.commit(source, 2)), since=size)
        if self.wants("status") and "status" in tool.extra:
            self.finish(tool, name, "status", run, self.op(tool, name, "status", run, tool.status(source)))
        if self.wants("diff") and "diff" in tool.extra:
            self.finish(tool, name, "diff", run, self.op(tool, name, "diff", run, tool.diff(1, 2), cold=False, repeat=20))
        if self.wants("restore"):
            target = self.fresh(name)
            result = self.op(tool, name, "restore", run, tool.restore(1, target, source))
            self.finish(tool, name, "restore", run, result, target, 1)
        # Only the database has a bar. For other data only dvc runs it, because it needs two more restores.
        if self.wants("inplace") and (name == "db" or "status" in tool.extra):
            target = self.fresh(name)
            self.prepare(tool, tool.worktree(1, target, source))
            result = self.op(tool, name, "inplace", run, tool.inplace(2, target, source))
            self.finish(tool, name, "inplace", run, result, target, 2)
        self.fresh(name)

    def finish(self, tool, name, op, run, result, target=None, version=None, since=None):
        """Adds repository size and comparison of restored content to a result, and records it."""
        if result is None:
            return
        if result["ok"] and since is not None:
            result["repo"] = measure.tree_bytes(tool.repo)
            result["growth"] = result["repo"] - since
        if result["ok"] and target and run == 1 and not self.options.no_compare:
            result["content_differs"] = self.compare(name, version, target)
        self.record(tool.name, name, op, run, result)
        if not result["ok"] and op in ("first", "next"):
            raise Failed(f"no {op} version, so nothing after it")

    def compare(self, name, version, target):
        """Returns the number of paths whose content, type or link target differs from the version."""
        source = self.data.version(name, version)
        if name == "image":
            return subprocess.run(["cmp", "-s", source, f"{target}/disk.img"]).returncode
        done = subprocess.run(["rsync", "-rlHn", "--checksum", "--delete", "--omit-dir-times", "--out-format=%i %n", f"{source}/", f"{target}/"],
                              check=True, capture_output=True, text=True, errors="replace")
        return len(done.stdout.splitlines())

    def target(self, name):
        return f"{self.data.work}/out.{name}"

    def fresh(self, name):
        """Returns an empty directory for restores."""
        target = self.target(name)
        subprocess.run(["rm", "-rf", target], check=True)
        os.makedirs(target)
        return target

    # -- operations of one tool -----------------------------------------------------------------------------------

    def chain(self, tool, name, _run):
        """Commits ten versions of the database, and compares a checkout of the tenth with one of the first."""
        source = self.data.start_chain()
        tool.wipe()
        for command in tool.init():
            self.prepare(tool, command)
        for number in range(1, CHAIN + 1):
            if number > 1:
                self.data.next_in_chain(number + 10)
            size = measure.tree_bytes(tool.repo)
            self.finish(tool, name, "chain-commit", number, self.op(tool, name, "chain-commit", number, tool.commit(source, number)), since=size)
        for run in range(1, self.options.runs + 1):
            for number in (1, CHAIN):
                target = self.fresh(name)
                result = self.op(tool, name, f"chain-{number}", run, tool.restore(number, target, source))
                self.finish(tool, name, f"chain-{number}", run, result)
        self.fresh(name)
        self.data.drop_chain()

    def history(self):
        """Measures `log --oneline` of 10,000 versions. The repository is kept for the same build of the program."""
        for kind in TOOLS:
            exe = self.exe(kind.name)
            if not exe or "log" not in kind.extra:
                continue
            with open(exe, "rb") as f:
                tool = kind(exe, self.data.work, f"history-{hashlib.sha256(f.read()).hexdigest()[:12]}")
            self.versions[tool.name] = tool.version()
            if not os.path.exists(f"{tool.state}/complete") and not self.guarded(tool, "history", 1, self.make_history):
                continue
            for run in range(1, self.options.runs + 1):
                self.finish(tool, "history", "log", run, self.op(tool, "history", "log", run, tool.log(), cold=False, repeat=20))

    def make_history(self, tool, _name, _run):
        tool.wipe()
        for command in tool.init():
            self.prepare(tool, command)
        source = f"{tool.state}/source"
        os.makedirs(source)
        with open(f"{source}/file", "w") as f:
            f.write("content\n")
        print(f"making {HISTORY} versions", flush=True)
        for number in range(1, HISTORY + 1):
            command = tool.empty_commit(source, number)
            done = subprocess.run(command.argv, env=tool.environment(), capture_output=True, text=True)
            if done.returncode:
                raise Failed(f"commit {number}: {done.stderr[-500:]}")
        with open(f"{tool.state}/complete", "w"):
            pass

    def limits(self, name, run):
        limits = Limits(self.data.work, self.data.live(name))
        limits.build()
        for op, (command, cold) in limits.operations().items():
            if op == "find" and name != "tree":
                continue
            limits.prepare(op)
            result = self.run(command, cold=cold)
            limits.after(op)
            self.record("machine", name, op, run, result)
        limits.close()
        if run == 1:
            self.fact(name)

    def fact(self, name):
        """Records facts about the data for the report."""
        row = {"batch": self.batch, "scale": self.scale, "tool": "machine", "data": name, "op": "facts", "run": 1, "ok": True}
        self.append(row | self.data.facts(name))

    # -- programs -------------------------------------------------------------------------------------------------

    def exe(self, name):
        if name not in self.options.tools:
            return None
        if name == "dvc":
            found = self.options.dvc
        else:
            found = shutil.which(name, path=f"{self.options.peers}/bin:{os.environ['PATH']}")
        if not found or not os.path.exists(found):
            if name not in self.versions:
                print(f"{name}: not found, left out (setup.sh installs the peers; `cargo build --release` makes dvc)", file=sys.stderr)
                self.versions[name] = None
            return None
        return found


class Failed(Exception):
    """A step that later steps need has failed."""


def arguments():
    def words(allowed):
        def parse(text):
            given = text.split(",")
            for word in given:
                if word not in allowed:
                    raise argparse.ArgumentTypeError(f"`{word}` is not one of {','.join(allowed)}")
            return given
        return parse

    names = [kind.name for kind in TOOLS]
    target = os.environ.get("CARGO_TARGET_DIR", f"{PROJECT}/target")
    p = argparse.ArgumentParser(description="Compare dvc with its peers; see the head of this file.")
    p.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets, repositories and results (24 GB, and 12 GB free)")
    p.add_argument("--scripts", default=f"{PROJECT}/../shared/bench", help="directory of gen-tree.sh, gen-db.sh, gen-image.sh")
    p.add_argument("--peers", help="prefix given to setup.sh (default: DATA/peers)")
    p.add_argument("--dvc", default=f"{target}/release/dvc", help="the dvc to measure")
    p.add_argument("--results", help="results file (default: DATA/results.jsonl)")
    p.add_argument("--only", type=words(SETS), default=list(SETS), help=f"data sets: {','.join(SETS)}")
    p.add_argument("--ops", type=words(OPS), default=list(OPS), help=f"operations: {','.join(OPS)}")
    p.add_argument("--tools", type=words(names), default=names, help=f"tools: {','.join(names)}")
    p.add_argument("--runs", type=int, default=3, help="runs of each operation (medians are reported)")
    p.add_argument("--small", action="store_true", help="use small data, which only shows that everything runs")
    p.add_argument("--wait-quiet", type=int, default=0, metavar="S", help="wait up to S seconds before each run until the machine is idle")
    p.add_argument("--no-compare", action="store_true", help="do not compare restored content with the source")
    p.add_argument("--report", action="store_true", help="measure nothing: write the report from the results file")
    p.add_argument("--out", help="report file (default: docs/benchmarks.md, or standard output with --small)")
    options = p.parse_args()
    options.peers = options.peers or f"{options.data}/peers"
    options.results = options.results or f"{options.data}/results.jsonl"
    return options


def main():
    options = arguments()
    if options.report:
        out = options.out or (None if options.small else f"{PROJECT}/docs/benchmarks.md")
        return report.write(options.results, "small" if options.small else "full", out)
    os.makedirs(options.data, exist_ok=True)
    if not options.small and shutil.disk_usage(options.data).free < NEEDED_BYTES:
        sys.exit(f"error: the data directory has less than {NEEDED_BYTES / 1e9:.0f} GB free")
    if os.geteuid() != 0:
        sys.exit("error: only root can empty the page cache, and figures of warm caches are not comparable")
    bench, start = Bench(options), time.time()
    bench.append({"batch": bench.batch, "machine": measure.machine() | {"file_system": measure.file_system(options.data)}})
    for name in options.only:
        if any(op != "log" for op in options.ops):
            bench.dataset(name)
    if bench.wants("log"):
        bench.history()
    print(f"{(time.time() - start) / 60:.1f} minutes, {bench.failed} failed")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# Compares the mount with a native directory on the same disk, and with the mounts of restic, borg and rclone.
# In: data sets (data.py creates them), the tools (setup.sh). Out: one JSON line per figure, appended to a results
# file; `--report` writes the section Mounts of docs/benchmarks.md from the newest ones. Native directory and mount
# take turns, and each run waits until the machine is quiet. Figures are medians. Needs root to empty the page cache.
# The groups are in mountloads.py.

import argparse
import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import measure
import mountloads
import mountreport
from data import Data
from remotes import KEYS, Servers
from tools import Borg, Restic

PROJECT = Path(__file__).resolve().parents[2]
NEEDED_BYTES = 34e9


class Bench:
    """Directories, tools and results of one invocation. `clean` ends everything that it has started or mounted."""

    def __init__(self, options):
        self.options, self.runs, self.dvc = options, options.runs, options.dvc
        self.sets = Data(options.data, options.scripts, options.small)
        self.work = Path(self.sets.root) / "mounts"
        self.work.mkdir(parents=True, exist_ok=True)
        self.scale = 16 if options.small else 1
        self.batch = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        home = {f"XDG_{name}_HOME": f"{self.work}/home/{name.lower()}" for name in ("CACHE", "STATE", "CONFIG")}
        # rclone 1.60 fails if the environment names a bundle of certificates.
        self.env = {**{k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}, **KEYS, **home, "DVC_AUTHOR": "bench <bench@example.org>"}
        self.servers = Servers(options)
        self.open = contextlib.ExitStack()
        self.failed = 0

    # -- programs -------------------------------------------------------------------------------------------------

    def run(self, *argv, **how):
        """Runs a program to its end and returns its output. Raises an error with its messages if it fails."""
        how = {"env": self.env, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
        if "input" in how:
            del how["stdin"]
        done = subprocess.run([str(a) for a in argv], **how)
        if done.returncode:
            raise RuntimeError(f"{' '.join(str(a) for a in argv[:6])}: exit {done.returncode}: {(done.stderr or '')[-800:]}")
        return done.stdout

    @contextlib.contextmanager
    def program(self, argv, **how):
        """Runs a server until the end of the block."""
        how = {"env": self.env, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **how}
        child = subprocess.Popen([str(a) for a in argv], **how)
        try:
            yield child
        finally:
            child.poll() is None and child.terminate()
            try:
                child.wait(120)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    # -- repositories and mounts ----------------------------------------------------------------------------------

    def source(self, name, fill):
        """Returns a directory of data, which is created once."""
        path = self.work / name
        if not path.exists():
            part = self.work / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            fill(part)
            part.rename(path)
        return path

    def repo(self, name, source, branches=("main",)):
        """Returns a repository with the directory as its version, which is created once."""
        repo = self.work / f"repo-{name}"
        if not repo.exists():
            part = self.work / f"repo-{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            self.run(self.dvc, "init", "--repo", part, "-b", branches[0])
            for branch in branches:
                self.run(self.dvc, "--repo", part, "-C", source, "commit", "-q", "-b", branch, "-m", name)
            part.rename(repo)
        return repo

    @contextlib.contextmanager
    def mounted(self, repo, *how, rev="main"):
        """Mounts a version until the end of the block, and discards its overlay."""
        at = self.work / f"mnt-{repo.name}"
        at.mkdir(exist_ok=True)
        try:
            self.run(self.dvc, "--repo", repo, "mount", *how, *([rev] if rev else []), at)
            yield at
        finally:
            self.umount(at, "--ro" not in how and "--all" not in how)

    def umount(self, at, discard):
        if not os.path.ismount(at):
            return
        try:
            self.run(self.dvc, "umount", *(["--discard"] if discard else []), at, timeout=300)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"umount {at}: {error}", file=sys.stderr)
            subprocess.run(["umount", "-l", at], check=False)
            self.failed += 1

    def stats(self, at):
        return json.loads(self.run(self.dvc, "mount", "--stats", at, "--json"))

    def peers(self, name, source):
        """Returns the installed peers by name, each with a repository of the directory, which is created once."""
        found = {}
        for kind in (Restic, Borg):
            exe = shutil.which(kind.name, path=f"{self.options.peers}/bin:{os.environ['PATH']}")
            if not exe or kind.name not in self.options.tools:
                continue
            tool = kind(exe, str(self.work), f"mount-{name}")
            if not os.path.exists(f"{tool.state}/complete"):
                print(f"making {name} for {kind.name}", flush=True)
                tool.wipe()
                for command in [*tool.init(), tool.commit(str(source), 1)]:
                    done = subprocess.run(command.argv, cwd=command.cwd, env=tool.environment(), capture_output=True, text=True)
                    if done.returncode not in command.ok_codes:
                        raise RuntimeError(f"{kind.name}: exit {done.returncode}: {done.stderr[-800:]}")
                Path(f"{tool.state}/complete").touch()
            found[kind.name] = tool
        return found

    @contextlib.contextmanager
    def peer_mounted(self, tool):
        command, root = tool.mount(str(self.work / f"mnt-{tool.name}"))
        with self.served(command.argv, self.work / f"mnt-{tool.name}", tool.environment()):
            yield Path(root).resolve()

    @contextlib.contextmanager
    def served(self, argv, at, env=None):
        """Runs another program that serves a mount, until the end of the block."""
        at.mkdir(exist_ok=True)
        with self.program(argv, env=env or self.env) as child:
            try:
                for _ in range(1200):
                    if os.path.ismount(at) or child.poll() is not None:
                        break
                    time.sleep(0.05)
                if not os.path.ismount(at):
                    raise RuntimeError(f"{argv[0]}: no mount")
                yield at
            finally:
                if os.path.ismount(at):
                    done = subprocess.run(["fusermount3", "-u", at], capture_output=True)
                    done.returncode and subprocess.run(["umount", "-l", at], check=False)
                    child.wait(60)

    # -- the record -----------------------------------------------------------------------------------------------

    def compare(self, group, name, sides, unit="s", better="less", before=measure.drop_caches, once=(), warmup=False):
        """Measures all sides in turn, `runs` times (those of `once` only in the first round), and records medians.
        A side returns a number, or a dict with the number as `value` and other figures."""
        if not re.search(self.options.figures, f"{group}: {name}"):
            return None
        samples, errors, busy = {side: [] for side in sides}, {}, 0.0
        for side, work in sides.items() if warmup else ():
            side in once or work()
        for n in range(self.runs):
            for side, work in sides.items():
                if side in errors or (side in once and n > 0):
                    continue
                busy = max(busy, measure.wait_for_quiet(self.options.wait_quiet, 0.4))
                before and before()
                try:
                    got = work()
                except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                    if side in ("native", "mount"):
                        raise
                    errors[side] = self.said(error)
                    continue
                samples[side].append(got if isinstance(got, dict) else {"value": got})
        return self.record(group, name, samples, unit, better, errors, busy)

    def record(self, group, name, samples, unit="s", better="less", errors=None, busy=None):
        spread = lambda values: {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": len(values)}
        sides = {side: {key: spread([s[key] for s in got if key in s]) for key in {k for s in got for k in s}}
                 for side, got in samples.items() if got}
        row = {"batch": self.batch, "scale": "small" if self.options.small else "full", "group": group, "name": name,
               "unit": unit, "better": better, "sides": sides, "errors": errors or {}, "busy": busy, "load": os.getloadavg()[0]}
        self.append(row)
        shown = []
        for side, keys in sides.items():
            more = "".join(f" {k} {v['median']:.3g}" for k, v in keys.items() if k != "value")
            shown.append(f"{side} {keys['value']['median']:.4g}{more}" if "value" in keys else f"{side}{more}")
        shown += [f"{side} FAILED: {error}" for side, error in (errors or {}).items()]
        print(f"{group:9} {name:36} {unit:4} {'; '.join(shown)}", flush=True)
        return row

    def said(self, error):
        """Returns the last line of an error, without paths of this machine."""
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][-300:]
        return text.replace(self.sets.root, "DATA").replace(str(PROJECT), "PROJECT")

    def append(self, row):
        with open(self.options.results, "a") as f:
            f.write(json.dumps(row) + "\n")

    def group(self, name):
        """Measures one group, and cleans up even if it fails."""
        start = time.time()
        try:
            getattr(mountloads, name)(self)
        except Exception as error:  # A failure must not prevent the other groups.
            self.failed += 1
            traceback.print_exc()
            self.append({"batch": self.batch, "scale": "small" if self.options.small else "full", "group": name, "failed": self.said(error)})
        finally:
            self.clean()
        print(f"{name}: {time.time() - start:.0f} s", flush=True)

    def clean(self):
        self.servers.end()
        for at in self.work.glob("mnt-*"):
            self.umount(at, True)
            with contextlib.suppress(OSError):
                at.rmdir()
        for path in (*self.work.glob("native-*"), *self.work.glob("scratch-*"), self.work / "home"):
            shutil.rmtree(path, ignore_errors=True)


def arguments():
    target = os.environ.get("CARGO_TARGET_DIR", f"{PROJECT}/target")
    p = argparse.ArgumentParser(description="Measure the mount; see the head of this file.")
    p.add_argument("groups", nargs="*", help=f"groups to measure (default: all): {' '.join(mountloads.GROUPS)}")
    p.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets, repositories and results (34 GB)")
    p.add_argument("--scripts", default=f"{PROJECT}/../shared/bench", help="directory of gen-tree.sh and gen-db.sh")
    p.add_argument("--peers", help="prefix given to setup.sh (default: DATA/peers)")
    p.add_argument("--tools", nargs="*", default=["restic", "borg", "rclone"], help="peers to measure")
    p.add_argument("--dvc", default=f"{target}/release/dvc", help="the dvc to measure")
    p.add_argument("--proxy", help="the slow link (default: compiled from benches/slow_proxy.rs)")
    p.add_argument("--moto", default=shutil.which("moto_server") or "moto_server", help="the S3 server")
    p.add_argument("--results", help="results file (default: DATA/mount.jsonl)")
    p.add_argument("--runs", type=int, default=3, help="runs of each side of each figure")
    p.add_argument("--figures", default="", metavar="PATTERN", help="only figures whose `group: name` matches")
    p.add_argument("--small", action="store_true", help="use small data, which only shows that everything runs")
    p.add_argument("--wait-quiet", type=int, default=20, metavar="S", help="wait up to S seconds before each run until the machine is idle")
    p.add_argument("--report", action="store_true", help="measure nothing: write the report from the results file")
    p.add_argument("--out", help="report file (default: docs/benchmarks.md, or standard output with --small)")
    options = p.parse_args()
    options.peers = options.peers or f"{options.data}/peers"
    options.results = options.results or f"{options.data}/mount.jsonl"
    options.work = options.data
    for name in options.groups:
        if name not in mountloads.GROUPS:
            p.error(f"`{name}` is not one of {' '.join(mountloads.GROUPS)}")
    return options


def end(*_):
    sys.exit(130)


def main():
    options = arguments()
    if options.report:
        return mountreport.write(options.results, options.small, options.out or (None if options.small else PROJECT / "docs/benchmarks.md"))
    if os.geteuid() != 0:
        sys.exit("error: only root can empty the page cache, and figures of warm caches are not comparable")
    os.makedirs(options.data, exist_ok=True)
    # Repositories of earlier invocations are reused, so they count as free space.
    if not options.small and shutil.disk_usage(options.data).free + measure.tree_bytes(f"{options.data}/mounts") < NEEDED_BYTES:
        sys.exit(f"error: the data directory has less than {NEEDED_BYTES / 1e9:.0f} GB for the repositories")
    if not options.proxy:
        options.proxy = f"{options.data}/slow_proxy"
        subprocess.run(["rustc", "--edition", "2024", "-O", PROJECT / "benches/slow_proxy.rs", "-o", options.proxy], check=True)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    bench, start = Bench(options), time.time()
    bench.clean()
    versions = {"dvc": bench.run(options.dvc, "--version").split()[-1]}
    for name, args in (("restic", ["version"]), ("borg", ["--version"]), ("rclone", ["--version"])):
        exe = shutil.which(name, path=f"{options.peers}/bin:{os.environ['PATH']}")
        if exe and name in options.tools:
            versions[name] = bench.run(exe, *args).split()[1].lstrip("v")
    bench.append({"batch": bench.batch, "versions": versions, "machine": measure.machine() | {"file_system": measure.file_system(options.data)}})
    for name in options.groups or mountloads.GROUPS:
        bench.group(name)
    print(f"{(time.time() - start) / 60:.1f} minutes, {bench.failed} failed")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())

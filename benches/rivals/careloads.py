# The groups of care.py. In: its Bench. Out: figures, recorded with Bench.compare and Bench.record. The names of groups
# and figures are those that carereport.py looks up.

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

from carehistory import Year, copy_files, copy_versions, database_history, kept, packs, tree_history
from measure import tree_bytes
from tools import Borg, Command, Dvc, Restic, Rustic

TOOLS = (Dvc, Restic, Rustic, Borg)
# Limit on unused data for the tree: the bar allows a repository that is 2 % larger than a fresh one.
UNUSED = 2
MEMORY = 256 << 20
MIB = 1 << 20
RULE = Year.RULE


def tree(bench):
    prune(bench, "tree", tree_history(bench, TOOLS), UNUSED)


def db(bench):
    history = database_history(bench, Dvc, (Dvc, Restic, Rustic))
    prune(bench, "db", history, 0)
    bench.record("db", "growth", {"dvc": [{"value": growth(bench, history)}]}, "B")


def prune(bench, group, history, unused):
    """Forgets nine tenths of the versions, and frees their space."""
    keep = max(1, history.versions // 10)

    def side(tool):
        def run():
            copy = history.copy(tool)
            for command in copy.forget(keep):
                bench.step(copy, command)
            got = bench.measure(copy, *copy.prune(unused))
            got["repo"] = tree_bytes(copy.repo)
            if tool.name == "dvc":
                bench.step(copy, copy.dvc("fsck"))
                got["packs"] = packs(copy)
            copy.remove()
            return got
        return run

    tools = history.tools()
    ours = next(tool for tool in tools if tool.name == "dvc")
    before = {tool.name: tree_bytes(tool.repo) for tool in tools}
    facts = {"files": bench.options.files, "versions": history.versions, "kept": keep, "before": before, "packs": packs(ours), "unused": unused} | fresh(bench, history, ours, keep)
    bench.compare(group, "prune", {tool.name: side(tool) for tool in tools}, facts=facts)


def fresh(bench, history, ours, keep):
    """Makes a repository that contains only the kept versions. Returns its size."""
    target = Dvc(ours.exe, str(history.dir), "fresh")
    if not os.path.exists(f"{target.state}/complete"):
        source = history.copy(ours)
        copy_versions(bench, source, target, kept(bench, source)[-keep:], bench.work / "turn" / "checkout")
        source.remove()
        Path(f"{target.state}/complete").touch()
    return {"fresh": tree_bytes(target.repo), "fresh_packs": packs(target)}


def growth(bench, history, steps=10):
    """Forgets the same share of the versions ten times, and collects after each. Returns by how many bytes the packs
    have grown at most in one step; deltas whose base is deleted are stored whole."""
    copy = history.copy(next(tool for tool in history.tools() if tool.name == "dvc"))
    pack_bytes = lambda: tree_bytes(f"{copy.repo}/packs")
    grown, before = [], pack_bytes()
    for step in range(1, steps):
        for command in [*copy.forget(max(1, history.versions * (steps - step) // steps)), *copy.prune(0)]:
            bench.step(copy, command)
        grown, before = [*grown, pack_bytes() - before], pack_bytes()
    copy.remove()
    return max(grown)


def year(bench):
    made = Year(bench, Dvc).make()
    sides = {"cared": made.cared, "fresh": made.fresh}
    nights = [json.loads(line) for line in open(made.dir / "nights.jsonl")]
    facts = {"nights": made.nights, "kept": len(kept(bench, made.cared)), "all": tree_bytes(made.all.repo),
             "cared": tree_bytes(made.cared.repo), "fresh": tree_bytes(made.fresh.repo), "cared_packs": packs(made.cared), "fresh_packs": packs(made.fresh)}
    bench.record("year", "gc", {"dvc": [{"value": night["gc"]} for night in nights]}, facts=facts)
    for side in sides.values():
        bench.step(side, side.dvc("fsck"))
    copies = {name: copy_year(bench, made, tool) for name, tool in sides.items()}
    operations = {
        "log": lambda tool, _: tool.dvc("log", "--oneline", tool.branch),
        "status": lambda tool, worktree: tool.dvc("-C", worktree, "status"),
        "unchanged commit": lambda tool, worktree: tool.commit(worktree, 0),
        "lazy clone": lambda tool, worktree: Command([tool.exe, "clone", "-q", "--lazy", tool.repo, f"{worktree}.clone"]),
    }
    for name, command in operations.items():
        def side(tool, worktree):
            def run():
                samples = []
                for _ in range(20):
                    shutil.rmtree(f"{worktree}.clone", ignore_errors=True)
                    samples.append(bench.measure(tool, command(tool, worktree)))
                samples.sort(key=lambda got: got["value"])
                return samples[len(samples) // 2]
            return run
        bench.compare("year", name, {key: side(*copy) for key, copy in copies.items()})


def copy_year(bench, made, tool):
    """Copies a repository of the year, and checks its newest version out."""
    turn = bench.work / "turn"
    os.makedirs(turn, exist_ok=True)
    copy = Dvc(tool.exe, str(turn), tool.branch)
    copy.remove()
    for old, new in ((tool.repo, copy.repo), (tool.state, copy.state)):
        subprocess.run(["cp", "-a", "--reflink=auto", old, new], check=True)
    worktree = f"{turn}/work.{tool.branch}"
    os.makedirs(worktree)
    bench.step(copy, copy.dvc("-C", worktree, "checkout", copy.branch))
    bench.step(copy, copy.commit(worktree, 0))
    return copy, worktree


# -- many chunks ------------------------------------------------------------------------------------------------------


def make_many(bench):
    tool = Dvc(bench.exe("dvc"), str(bench.work), f"many-{bench.options.chunks}")
    if not os.path.exists(f"{tool.state}/complete"):
        tool.wipe()
        program = bench.options.many_chunks
        make = [program] if program else ["cargo", "bench", "--bench", "many_chunks", "--"]
        subprocess.run([*make, "whole", str(bench.options.chunks), tool.repo], check=True, cwd=Path(__file__).parents[2])
        Path(f"{tool.state}/complete").touch()
    return tool


def many(bench):
    """A gc that finds nothing unneeded, in a cgroup of 256 MiB."""
    tool = make_many(bench)
    with cgroup(MEMORY) as (group, enter):
        def run(*args):
            command = Command(["sh", "-c", f'echo $$ > {enter}; exec "$0" "$@"', tool.exe, "--repo", tool.repo, "gc", "-q", *args])
            with peak_disk(f"{tool.repo}/tmp") as peak:
                got = bench.measure(tool, command)
            return got | {"temporary": peak[0], "group": group()}
        run()
        facts = {"chunks": bench.options.chunks, "nodes": bench.options.chunks // 50, "memory": MEMORY}
        bench.compare("many", "gc", {"dvc": run}, facts=facts)
        bench.compare("many", "gc -n", {"dvc": lambda: run("-n")}, facts=facts)


@contextlib.contextmanager
def cgroup(limit):
    """Makes a memory cgroup. Yields a function that returns its peak in bytes, and the file that takes processes."""
    one = Path("/sys/fs/cgroup/memory")
    dir, names = (one / "dvc-care", ("limit_in_bytes", "max_usage_in_bytes")) if one.is_dir() else (Path("/sys/fs/cgroup/dvc-care"), ("max", "peak"))
    dir.mkdir(exist_ok=True)
    (dir / f"memory.{names[0]}").write_text(str(limit))
    try:
        yield lambda: int((dir / f"memory.{names[1]}").read_text()), dir / "cgroup.procs"
    finally:
        dir.rmdir()


@contextlib.contextmanager
def peak_disk(dir):
    """Yields a list whose only element becomes the largest space that the files of a directory take."""
    peak, ended = [0], threading.Event()

    def watch():
        while not ended.wait(0.02):
            used = 0
            with contextlib.suppress(OSError):
                for path in os.scandir(dir):
                    with contextlib.suppress(OSError):
                        used += path.stat(follow_symlinks=False).st_blocks * 512
            peak[0] = max(peak[0], used)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


# -- other processes --------------------------------------------------------------------------------------------------


def beside(bench):
    """Commits a tree for the first time, alone and while collections run one after the other."""
    history = tree_history(bench, TOOLS)
    source = bench.work / "beside"
    if not source.exists():
        copy_files(bench.sets.version("tree", 1), source, bench.options.files, 2)
    ours = next(tool for tool in history.tools() if tool.name == "dvc")

    def run(with_gc):
        copy = history.copy(ours)
        for command in copy.forget(max(1, history.versions // 10)):
            bench.step(copy, command)
        ended, count, errors = threading.Event(), [0], []

        def collect():
            while not ended.is_set():
                # A collection that has lost a race ends with 11.
                done = subprocess.run(copy.prune(0)[0].argv, env=copy.environment(), capture_output=True, text=True)
                count[0] += 1
                if done.returncode not in (0, 11):
                    errors.append(done.stderr)
                    break

        other = threading.Thread(target=collect)
        with_gc and other.start()
        time.sleep(0.05)
        got = bench.measure(copy, copy.dvc("-C", str(source), "commit", "-q", "-b", "beside", "-m", "beside"))
        ended.set()
        with_gc and other.join()
        if errors:
            raise RuntimeError(f"gc: {errors[0][-300:]}")
        bench.step(copy, copy.dvc("fsck"))
        copy.remove()
        return got | {"collections": count[0]}

    bench.compare("beside", "commit", {"alone": lambda: run(False), "beside gc": lambda: run(True)}, facts={"bytes": tree_bytes(source)})


def readdirs(bench):
    """Lists the reads of the gc log during a commit, and their time under strace, which is longer than without it."""
    history = tree_history(bench, TOOLS)
    ours = next(tool for tool in history.tools() if tool.name == "dvc")
    copy, source, trace = history.copy(ours), bench.work / "turn" / "source", bench.work / "turn" / "trace"
    for command in [*copy.forget(1), *copy.prune(0)]:
        bench.step(copy, command)
    os.makedirs(source)
    samples = itertools.count()

    def run():
        (source / "file").write_text(f"{next(samples)} {time.time()}\n")
        bench.step(copy, Command(["strace", "-f", "-y", "-T", "-o", str(trace), "-e", "trace=openat,getdents64,read,pread64,newfstatat,statx,close",
                                  *copy.dvc("-C", str(source), "commit", "-q", "-b", "readdirs", "-m", "readdirs").argv]))
        calls = [line for line in trace.read_text().splitlines() if "/quarantine" in line]
        took = sum(float(found.group(1)) for line in calls if (found := re.search(r"<([\d.]+)>$", line)))
        return {"value": took, "listings": sum("getdents64" in line and ", 0 /*" not in line and "= 0 <" not in line for line in calls), "calls": len(calls)}

    run()
    bench.compare("readdirs", "commit", {"dvc": run})


# -- many versions and refs -------------------------------------------------------------------------------------------


def small_repository(bench, name, fill):
    """Returns a repository that is made once."""
    tool = Dvc(bench.exe("dvc"), str(bench.work), name)
    if not os.path.exists(f"{tool.state}/complete"):
        print(f"making {name}", flush=True)
        tool.wipe()
        for command in tool.init():
            bench.step(tool, command)
        source = Path(tool.state) / "source"
        source.mkdir()
        fill(tool, source)
        Path(f"{tool.state}/complete").touch()
    return tool


def turn(bench, tool):
    places = bench.work / "turn"
    os.makedirs(places, exist_ok=True)
    copy = Dvc(tool.exe, str(places), tool.branch)
    copy.remove()
    for old, new in ((tool.repo, copy.repo), (tool.state, copy.state)):
        subprocess.run(["cp", "-a", "--reflink=auto", old, new], check=True)
    return copy


def make_versions(bench):
    count = bench.options.history

    def fill(tool, source):
        start = int(time.time()) - count * 3600
        for number in range(count):
            (source / "file").write_text(f"{number}\n")
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + number * 3600))
            bench.step(tool, tool.nightly(str(source), at))

    return small_repository(bench, f"versions-{count}", fill)


def policy(bench):
    """Forgets by rules over many hourly versions, and takes it back."""
    made, facts = make_versions(bench), {"versions": bench.options.history}
    forget = lambda tool, *args: tool.dvc("forget", "-q", *RULE, "-y", *args)

    def forgotten():
        copy = turn(bench, made)
        return copy, bench.measure(copy, forget(copy))

    def undo():
        copy, _ = forgotten()
        return bench.measure(copy, copy.dvc("forget", "-q", "--undo", "-y"))

    def collect():
        copy, _ = forgotten()
        got = bench.measure(copy, *copy.prune(0))
        return got | {"repo": tree_bytes(copy.repo)}

    bench.compare("policy", "forget -n", {"dvc": lambda: bench.measure(made, forget(made, "-n"))}, facts=facts)
    bench.compare("policy", "forget", {"dvc": lambda: forgotten()[1]}, facts=facts)
    bench.compare("policy", "forget --undo", {"dvc": undo}, facts=facts)
    bench.compare("policy", "gc", {"dvc": collect}, facts=facts)


def make_refs(bench):
    count = bench.options.history

    def fill(tool, source):
        for number in range(10):
            (source / "file").write_text(f"{number}\n" * 1000)
            bench.step(tool, tool.commit(str(source), number))
        for number in range(count):
            bench.step(tool, tool.dvc("branch", f"b{number:05}", tool.branch))

    return small_repository(bench, f"refs-{count}", fill)


def refs(bench):
    """Collects with many refs: each of them gets a fence."""
    made = make_refs(bench)

    def collect(*args):
        copy = turn(bench, made)
        for command in copy.forget(1):
            bench.step(copy, command)
        return bench.measure(copy, copy.dvc("gc", "-q", "-y", "--keep-trash", "0s", "--now", *args))

    facts = {"refs": bench.options.history}
    bench.compare("refs", "gc -n", {"dvc": lambda: collect("-n")}, facts=facts)
    bench.compare("refs", "gc", {"dvc": collect}, facts=facts)


# -- repair -----------------------------------------------------------------------------------------------------------


def pack_files(tool):
    return sorted(path for path in Path(tool.repo, "packs").rglob("*") if path.is_file())


def damage(path):
    """Changes 4 KiB in the middle of a pack."""
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(path.stat().st_size // 2)
        old = f.read(4096)
        f.seek(path.stat().st_size // 2)
        f.write(bytes(255 - b for b in old))


def repair(bench):
    """Repairs packs from a remote that is another directory."""
    size = (32 if bench.options.small else 256) * MIB

    def fill(tool, source):
        (source / "file").write_bytes(os.urandom(size))
        bench.step(tool, tool.commit(str(source), 1))

    one = small_repository(bench, "random", fill)
    largest = max(pack_files(one), key=lambda path: path.stat().st_size)
    mend(bench, "one pack", one, lambda tool: [next(p for p in pack_files(tool) if p.name == largest.name)])
    ours = next(tool for tool in tree_history(bench, TOOLS).tools() if tool.name == "dvc")
    mend(bench, "1 % of the packs", ours, lambda tool: pack_files(tool)[::100])


def mend(bench, name, tool, choose):
    remote = bench.work / "turn" / "remote"
    facts = {}

    def damaged():
        copy = turn(bench, tool)
        shutil.rmtree(remote, ignore_errors=True)
        subprocess.run(["cp", "-a", "--reflink=auto", tool.repo, remote], check=True)
        bench.step(copy, copy.dvc("remote", "add", "origin", str(remote)))
        chosen = choose(copy)
        facts.update({"packs": len(pack_files(copy)), "damaged": len(chosen), "bytes": sum(path.stat().st_size for path in chosen)})
        for path in chosen:
            damage(path)
        return copy, chosen

    def known():
        copy, chosen = damaged()
        check = copy.dvc("fsck", "--data", "-q")
        check.ok_codes = (5,)
        bench.step(copy, check)
        got = bench.measure(copy, copy.dvc("fsck", "--repair", "-q"))
        start = time.perf_counter()
        for path in chosen:
            shutil.copyfile(remote / path.relative_to(copy.repo), bench.work / "turn" / "transfer")
        got["transfer"] = time.perf_counter() - start
        bench.step(copy, copy.dvc("fsck", "--data", "-q"))
        return got

    def unknown():
        copy, _ = damaged()
        return bench.measure(copy, copy.dvc("fsck", "--data", "--repair", "-q"))

    bench.compare("repair", f"{name}, damage known", {"dvc": known}, facts=facts)
    bench.compare("repair", f"{name}, with a check of all data", {"dvc": unknown}, facts=facts)


MADE = {
    "tree": lambda bench: tree_history(bench, TOOLS),
    "db": lambda bench: database_history(bench, Dvc, (Dvc, Restic, Rustic)),
    "year": lambda bench: Year(bench, Dvc).make(),
    "many": make_many, "policy": make_versions, "refs": make_refs,
}
GROUPS = {"tree": tree, "db": db, "year": year, "many": many, "beside": beside, "readdirs": readdirs, "policy": policy, "refs": refs, "repair": repair}

# Histories of versions for care.py: the same nightly changes, committed by every tool, and a year of nights of a small
# database. In: a Bench of care.py. Out: one repository for each tool, which is made once and copied for each turn, and
# fresh repositories that contain only the kept versions. Making them is not measured.

import concurrent.futures
import datetime
import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from measure import tree_bytes

# Repositories are made by two tools at a time.
AT_ONCE = 2


class History:
    """A directory with `NAME.repo` and `NAME.state` for each tool, complete up to the number in `versions`."""

    def __init__(self, bench, name, kinds, versions):
        self.bench, self.name, self.versions = bench, name, versions
        self.dir = bench.work / f"history.{name}.{versions}"
        self.live = self.dir / "live"
        self.kinds = [kind for kind in kinds if bench.exe(kind.name)]

    def tool(self, kind, places=None):
        return kind(self.bench.exe(kind.name), str(places or self.dir), self.name)

    def tools(self):
        return [self.tool(kind) for kind in self.kinds if os.path.exists(f"{self.tool(kind).state}/complete")]

    def done(self, tool):
        """Returns how many versions a tool has committed."""
        path = Path(f"{tool.state}/versions")
        return int(path.read_text()) if path.exists() else 0

    def make(self, fill, change):
        """Commits all versions. `fill` makes the first one in `live`, `change` the one with a given number. If making
        was interrupted, it starts again, because `live` exists in one version only."""
        tools = [self.tool(kind) for kind in self.kinds]
        todo = [tool for tool in tools if not os.path.exists(f"{tool.state}/complete")]
        if not todo:
            return self
        print(f"making {self.versions} versions of {self.name} for {' '.join(t.name for t in todo)}", flush=True)
        shutil.rmtree(self.live, ignore_errors=True)
        os.makedirs(self.dir, exist_ok=True)
        fill(self.live)
        for tool in todo:
            tool.wipe()
            for command in tool.init():
                self.bench.step(tool, command)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for number in range(1, self.versions + 1):
                if number > 1:
                    change(self.live, number)
                commit = lambda tool: self.bench.step(tool, tool.commit(str(self.live), number))
                list(pool.map(commit, todo))
                if number % 50 == 0:
                    print(f"{self.name}: {number} versions", flush=True)
        for tool in todo:
            Path(f"{tool.state}/complete").touch()
        shutil.rmtree(self.live)
        return self

    def copy(self, tool):
        """Returns the tool with a copy of its repository and state for one turn."""
        turn = self.bench.work / "turn"
        copy = self.tool(type(tool), turn)
        os.makedirs(turn, exist_ok=True)
        copy.remove()
        for old, new in ((tool.repo, copy.repo), (tool.state, copy.state)):
            subprocess.run(["cp", "-a", "--reflink=auto", old, new], check=True)
        return copy


def copy_files(source, target, count, seed):
    """Copies the files of randomly chosen directories, until there are `count` files."""
    directories = sorted(directory for directory, _, names in os.walk(source) if names)
    random.Random(seed).shuffle(directories)
    for directory in directories:
        into = target / os.path.relpath(directory, source)
        into.mkdir(parents=True, exist_ok=True)
        for name in sorted(os.listdir(directory))[:count]:
            path = os.path.join(directory, name)
            if os.path.isfile(path) and not os.path.islink(path):
                shutil.copy2(path, into / name)
                count -= 1
        if count <= 0:
            return


def tree_history(bench, kinds):
    """Nightly versions of a tree of files, each with 1 % of the files edited, added or deleted."""
    files, source = bench.options.files, bench.sets.version("tree", 1)
    history = History(bench, f"tree-{files}", kinds, bench.options.versions)
    return history.make(lambda live: copy_files(source, live, files, 1), lambda live, number: bench.sets.script("tree", "mutate", str(live), str(number)))


def small_database(bench, live):
    """A MariaDB directory with one table of 100,000 rows; the size of CI runs."""
    bench.sets.script("db", "make", str(live), "1", "100000")


def change_database(bench, live, number):
    bench.sets.script("db", "mutate", str(live), str(number), "80", "100")


class Year:
    """Nights of the small database: `all` with every version, `cared` with the same commits, which forgets and collects
    after each of them, and `fresh` with the versions that `cared` keeps."""

    RULE = ("--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12")

    def __init__(self, bench, kind):
        self.bench, self.nights = bench, bench.options.nights
        self.dir = bench.work / f"year.{self.nights}"
        self.live = self.dir / "live"
        exe = bench.exe(kind.name)
        self.all, self.cared, self.fresh = (kind(exe, str(self.dir), name) for name in ("all", "cared", "fresh"))

    def time(self, night):
        first = datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=self.nights)
        return f"{first + datetime.timedelta(days=night)}T03:00:00Z"

    def make(self):
        if not (self.dir / "nights").exists():
            self.make_all()
        if not (self.dir / "complete").exists():
            self.care()
        return self

    def make_all(self):
        print(f"making {self.nights} nights", flush=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.start(self.all)
        small_database(self.bench, self.live)
        for night in range(1, self.nights + 1):
            if night > 1:
                change_database(self.bench, self.live, night)
            self.bench.step(self.all, self.all.nightly(str(self.live), self.time(night)))
        (self.dir / "nights").touch()

    def start(self, tool):
        os.makedirs(self.dir, exist_ok=True)
        tool.wipe()
        for command in tool.init():
            self.bench.step(tool, command)

    def care(self):
        """Commits the same nights again, with a forget and a gc after each."""
        worktree = self.dir / "checkout"
        shutil.rmtree(worktree, ignore_errors=True)
        os.makedirs(worktree)
        self.start(self.cared)
        with open(self.dir / "nights.jsonl", "w") as log:
            for night, time_of in kept(self.bench, self.all):
                self.bench.step(self.all, self.all.inplace(night, str(worktree), None))
                self.bench.step(self.cared, self.cared.nightly(str(worktree), time_of))
                self.bench.step(self.cared, self.cared.dvc("forget", "-q", *self.RULE, "--now", "-y"))
                start = time.perf_counter()
                self.bench.step(self.cared, self.cared.dvc("gc", "-q", "--now", "-y", "--max-unused", "2%"))
                json.dump({"night": night, "packs": packs(self.cared), "gc": time.perf_counter() - start, "bytes": tree_bytes(self.cared.repo)}, log)
                log.write("\n")
                log.flush()
        copy_versions(self.bench, self.all, self.fresh, kept(self.bench, self.cared), worktree)
        (self.dir / "complete").touch()


def database_history(bench, kind, kinds):
    """The first nights of the year, for every tool."""
    year = Year(bench, kind)
    if not (year.dir / "nights").exists():
        year.make_all()

    def show(live, number):
        os.makedirs(live, exist_ok=True)
        bench.step(year.all, year.all.inplace(number, str(live), None))

    return History(bench, "db-small", kinds, bench.options.db_versions).make(lambda live: show(live, 1), show)


def packs(tool):
    """Returns the number of packs of a repository of dvc."""
    return sum(len(names) for _, _, names in os.walk(f"{tool.repo}/packs"))


def kept(bench, tool):
    """Returns the versions of a repository of dvc that are not forgotten, oldest first: number and time of each."""
    rows = [json.loads(line) for line in bench.output(tool, tool.dvc("log", "--json", tool.branch)).splitlines()]
    return sorted((row["ordinal"], row["time"]) for row in rows if row["forgotten"] is None)


def copy_versions(bench, source, target, versions, worktree):
    """Commits versions of a repository of dvc to a new one: checks out one after the other in the same worktree."""
    target.wipe()
    shutil.rmtree(worktree, ignore_errors=True)
    for command in target.init():
        bench.step(target, command)
    os.makedirs(worktree)
    for number, time in versions:
        bench.step(source, source.inplace(number, str(worktree), None))
        bench.step(target, target.nightly(str(worktree), time))
    shutil.rmtree(worktree)

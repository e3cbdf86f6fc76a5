# One small class per tool: its commands to initialise, commit, restore and check.
# In: directories of repositories, state and source. Out: Command values, which run.py measures. A class runs nothing
# itself except `--version` and look-ups. All tools use zstd level 3, and no encryption if it can be switched off
# (restic, rustic and bupstash always encrypt). Caches, keys and send logs are in `state`, which is not counted as
# repository.

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field


@dataclass
class Command:
    argv: list
    cwd: str = None
    ok_codes: tuple = (0,)
    env: dict = field(default_factory=dict)


class Tool:
    name = ""
    # Operations that are supported besides first, unchanged, next, restore, inplace and check.
    extra = frozenset()

    def __init__(self, exe, places, dataset):
        self.exe = exe
        self.repo = f"{places}/{self.name}.{dataset}.repo"
        self.state = f"{places}/{self.name}.{dataset}.state"
        self.branch = dataset

    def environment(self):
        """Returns an environment with its own home, so that no file of the user is read or created."""
        keep = {k: os.environ[k] for k in ("PATH", "TMPDIR", "TERM") if k in os.environ}
        return keep | {"HOME": self.state, "XDG_CACHE_HOME": f"{self.state}/cache", "XDG_STATE_HOME": f"{self.state}/st",
                       "XDG_CONFIG_HOME": f"{self.state}/config", "LC_ALL": "C.UTF-8"}

    def remove(self):
        for path in (self.repo, self.state):
            if os.path.exists(path):
                shutil.rmtree(path)

    def wipe(self):
        self.remove()
        os.makedirs(self.state)

    def worktree(self, label, into, source):
        """Fills the empty directory `into` as the start of `inplace`."""
        return self.restore(label, into, source)

    def version(self):
        done = subprocess.run([self.exe, *self.version_args], capture_output=True, text=True)
        found = re.search(r"\d+\.\d+[\w.-]*", done.stdout + done.stderr)
        return found.group() if found else "unknown"

    version_args = ("--version",)


class Dvc(Tool):
    name = "dvc"
    extra = frozenset({"chain", "diff", "log", "status"})

    def dvc(self, *args, cwd=None):
        return Command([self.exe, "--repo", self.repo, *args], cwd)

    def init(self):
        return [Command([self.exe, "init", "--repo", self.repo, "-b", self.branch])]

    def commit(self, source, label):
        return self.dvc("-C", source, "commit", "-b", self.branch, "-m", f"version {label}")

    def nightly(self, source, time):
        """Returns the commit of a simulated night."""
        return self.dvc("-C", source, "commit", "-q", "-b", self.branch, "-m", f"nightly {time}", "--time", time, "--allow-empty")

    def restore(self, label, into, source):
        return self.dvc("checkout", f"{self.branch}@v{label}", "--into", into)

    def inplace(self, label, into, source):
        return self.dvc("-C", into, "checkout", f"{self.branch}@v{label}")

    def worktree(self, label, into, source):
        return self.inplace(label, into, source)

    def check(self):
        return self.dvc("fsck", "--data")

    def status(self, source):
        return self.dvc("-C", source, "status")

    def diff(self, old, new):
        return self.dvc("diff", "--stat", f"{self.branch}@v{old}", f"{self.branch}@v{new}")

    def log(self):
        return self.dvc("log", "--oneline", self.branch)

    def empty_commit(self, source, number):
        return self.dvc("-C", source, "commit", "-b", self.branch, "-m", f"nightly {number}", "--allow-empty")

    def forget(self, keep):
        return [self.dvc("forget", "-q", "--keep-last", str(keep), "-y")]

    def prune(self, unused):
        return [self.dvc("gc", "-q", "--now", "-y", "--keep-trash", "0s", "--max-unused", f"{unused}%")]


class Restic(Tool):
    name = "restic"
    version_args = ("version",)

    def environment(self):
        return super().environment() | {"RESTIC_REPOSITORY": self.repo, "RESTIC_PASSWORD": "x",
                                        "RESTIC_CACHE_DIR": f"{self.state}/cache"}

    def init(self):
        # Format 2 supports compression; "auto" is zstd at its library's default level, about 3.
        return [Command([self.exe, "init", "-q", "--repository-version", "2"])]

    def commit(self, source, label):
        return Command([self.exe, "backup", "-q", "--compression", "auto", "--tag", f"v{label}", "."], source)

    def restore(self, label, into, source):
        return Command([self.exe, "restore", "-q", "latest", "--tag", f"v{label}", "--target", into])

    inplace = restore

    def mount(self, at):
        """Returns the command that serves a mount at `at`, and the directory of the newest version in the mount."""
        return Command([self.exe, "mount", "-q", at]), f"{at}/snapshots/latest"

    def forget(self, keep):
        return [Command([self.exe, "forget", "-q", "--keep-last", str(keep)])]

    def prune(self, unused):
        return [Command([self.exe, "prune", "-q", "--max-unused", f"{unused}%"])]

    def check(self):
        return Command([self.exe, "check", "-q", "--read-data"])


class Rustic(Tool):
    name = "rustic"

    def environment(self):
        return super().environment() | {"RUSTIC_REPOSITORY": self.repo, "RUSTIC_PASSWORD": "x",
                                        "RUSTIC_CACHE_DIR": f"{self.state}/cache", "RUSTIC_NO_PROGRESS": "true",
                                        "RUSTIC_LOG_LEVEL": "warn"}

    def init(self):
        return [Command([self.exe, "init", "--set-compression", "3"])]

    def commit(self, source, label):
        # Use a tag, because rustic looks for the parent only among snapshots with the same label.
        return Command([self.exe, "backup", "--tag", f"v{label}", source])

    def restore(self, label, into, source):
        return Command([self.exe, "restore", "--delete", f"{self._snapshot(label)}:{source}", into])

    inplace = restore

    def _snapshot(self, label):
        done = subprocess.run([self.exe, "snapshots", "--json", "--filter-tags", f"v{label}"], capture_output=True,
                              text=True, env=self.environment())
        groups = json.loads(done.stdout)
        found = [s["id"] for g in groups for s in (g["snapshots"] if isinstance(g, dict) else g[1])]
        return found[0]

    def forget(self, keep):
        return [Command([self.exe, "forget", "--keep-last", str(keep)])]

    def prune(self, unused):
        return [Command([self.exe, "prune", "--instant-delete", "--max-unused", f"{unused}%"])]

    def check(self):
        return Command([self.exe, "check", "--read-data"])


class Borg(Tool):
    name = "borg"

    def environment(self):
        return super().environment() | {"BORG_BASE_DIR": self.state, "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                                        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}

    def init(self):
        return [Command([self.exe, "init", "-e", "none", self.repo])]

    def commit(self, source, label):
        # Names of archives are unique, so the time is added for a commit with the same label.
        return Command([self.exe, "create", "-C", "zstd,3", f"{self.repo}::v{label}-{{now}}", "."], source, (0, 1))

    def _archive(self, label):
        done = subprocess.run([self.exe, "list", "--short", "-a", f"v{label}-*", self.repo], capture_output=True,
                              text=True, env=self.environment())
        return f"{self.repo}::{done.stdout.split()[0]}"

    def restore(self, label, into, source):
        return Command([self.exe, "extract", self._archive(label)], into, (0, 1))

    inplace = restore

    def mount(self, at):
        return Command([self.exe, "mount", "--foreground", self._archive(1), at]), at

    def forget(self, keep):
        self.keep = keep
        return []

    def prune(self, unused):
        # A borg archive counts the references of its chunks, so its deletion is a part of the work.
        return [Command([self.exe, "prune", "--keep-last", str(self.keep), self.repo], ok_codes=(0, 1)),
                Command([self.exe, "compact", "--threshold", str(unused), self.repo], ok_codes=(0, 1))]

    def check(self):
        return Command([self.exe, "check", "--verify-data", self.repo])


class Bupstash(Tool):
    # The defaults, without --xattrs and --ownership, are the fastest settings.
    name = "bupstash"
    version_args = ("version",)

    def environment(self):
        return super().environment() | {"BUPSTASH_REPOSITORY": self.repo, "BUPSTASH_KEY": f"{self.state}/key",
                                        "BUPSTASH_SEND_LOG": f"{self.state}/send-log",
                                        "BUPSTASH_QUERY_CACHE": f"{self.state}/query-cache"}

    def init(self):
        return [Command([self.exe, "new-key", "-o", f"{self.state}/key"]), Command([self.exe, "init"])]

    def commit(self, source, label):
        return Command([self.exe, "put", "-q", "--compression", "zstd:3", f"name=v{label}", "::", source])

    def restore(self, label, into, source):
        return Command([self.exe, "restore", "-q", "--into", into, f"id={self._item(label)}"])

    inplace = restore

    def _item(self, label):
        done = subprocess.run([self.exe, "list", "--no-progress", "--format", "jsonl1", f"name=v{label}"],
                              capture_output=True, text=True, env=self.environment())
        line = json.loads(done.stdout.splitlines()[0])
        return line["labels"]["id"] if "labels" in line else line["id"]

    def check(self):
        # There is no check of data, but reading a version decrypts, verifies and decompresses every chunk of it.
        return Command([self.exe, "get", "-q", f"id={self._item(1)}"])


TOOLS = (Dvc, Bupstash, Rustic, Restic, Borg)

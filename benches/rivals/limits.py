# The limits of the machine for the same data, which no tool can beat.
# In: a directory or image. Out: named commands, which run.py measures like those of tools: parallel cold
# reading (coldread.rs), a cold `find` with times, a cold `cp -a`, and zstd on both cores from memory.

import os
import subprocess

from tools import Command

HERE = os.path.dirname(os.path.abspath(__file__))


class Limits:
    """Commands by operation. `prepare` and `after` handle scratch files outside of the measured time."""

    name = "machine"

    def __init__(self, work, source):
        self.work, self.source = work, source
        self.reader = f"{work}/coldread"
        self.tar = f"{work}/limit.tar"
        self.copy = f"{work}/limit.copy"

    def operations(self):
        """Returns the command of each operation, and whether caches are emptied before it."""
        listing = "find . -printf '%s %T@ %C@\\n' > /dev/null"
        ops = {
            "find": (self._shell(listing), True),
            "read-2": (Command([self.reader, "2", self.source]), True),
            "read-4": (Command([self.reader, "4", self.source]), True),
            "cp": (Command(["cp", "-a", self.source, self.copy]), True),
        }
        for level in (1, 3):
            ops[f"zstd-{level}"] = (Command(["zstd", "-q", "-c", "-T2", f"-{level}", self.tar]), False)
        return ops

    def build(self):
        """Compiles coldread unless it is up to date."""
        source = f"{HERE}/coldread.rs"
        if not os.path.exists(self.reader) or os.path.getmtime(self.reader) < os.path.getmtime(source):
            subprocess.run(["rustc", "-O", source, "-o", self.reader], check=True)

    def prepare(self, op):
        """Creates the archive for zstd and reads it into the page cache, so that only the cores limit zstd."""
        if op.startswith("zstd"):
            if not os.path.exists(self.tar):
                subprocess.run(["tar", "-cf", self.tar, "-C", self.source, "."], check=True)
            subprocess.run(["cat", self.tar], check=True, stdout=subprocess.DEVNULL)

    def after(self, op):
        if op == "cp":
            subprocess.run(["rm", "-rf", self.copy], check=True)

    def close(self):
        if os.path.exists(self.tar):
            os.unlink(self.tar)

    def _shell(self, script):
        return Command(["bash", "-o", "pipefail", "-c", script], self.source)

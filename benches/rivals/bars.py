# The performance bars of the project, each computed from measured medians; no figure is entered by hand.
# In: a Figures table (figure(tool, data, op, field) -> number or None). Out: rows (what, bar, dvc, limit,
# verdict). A bar is "not measured", and never met, if a figure that it needs is missing.

from dataclasses import dataclass

PEERS = ("bupstash", "rustic", "restic", "borg")
# The zstd level that dvc chooses for most of the content; `zstd -T2` with it limits a first commit.
CHOSEN_LEVEL = {"tree": 3, "db": 1, "image": 3}
MB, MIB = 1e6, 2**20


@dataclass
class Verdict:
    what: str
    bar: str
    dvc: str
    limit: str
    met: bool = None

    @property
    def mark(self):
        return {True: "met", False: "**missed**", None: "not measured"}[self.met]


def seconds(value):
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def megabytes(value):
    return "-" if value is None else f"{value / MB:.1f} MB"


class Bars:
    def __init__(self, figure):
        self.figure = figure
        self.rows = []

    def best(self, data, op, field="wall"):
        """Returns figure and name of the best peer that completed the operation."""
        found = [(self.figure(t, data, op, field), t) for t in PEERS]
        return min(((v, t) for v, t in found if v is not None), default=(None, "no peer"))

    def compare(self, what, bar, ours, limit, show):
        met = None if ours is None or limit is None else ours <= limit
        self.rows.append(Verdict(what, bar, show(ours), show(limit), met))

    def times(self, what, data, op, factor, other, name, field="wall", show=seconds):
        """Compares dvc's figure with a multiple of another measured figure."""
        limit = None if other is None else factor * other
        self.compare(what, f"at most {factor} x {name}", self.figure("dvc", data, op, field), limit, show)

    def against_peers(self, what, data, op, factor, field="wall", show=seconds):
        value, tool = self.best(data, op, field)
        self.times(what, data, op, factor, value, f"the best peer ({tool}, {show(value)})", field, show)

    def machine(self, data, op):
        return self.figure("machine", data, op, "wall")

    def all(self):
        for data, factor in (("tree", 0.75), ("db", 0.55), ("image", 0.75)):
            self.against_peers(f"first commit, {data}", data, "first", factor)
            level = CHOSEN_LEVEL[data]
            reads = [v for v in (self.machine(data, "read-2"), self.machine(data, "read-4")) if v is not None]
            zstd = self.machine(data, f"zstd-{level}")
            floor = max(min(reads), zstd) if reads and zstd is not None else None
            self.times(f"first commit, {data}", data, "first", 1.25, floor,
                       f"the machine ({seconds(floor)}: the slower of a parallel cold read and `zstd -T2 -{level}`)")
        find = self.machine("tree", "find")
        self.times("nothing changed, tree, cold", "tree", "unchanged", 1.0, find, "cold `find` with times")
        self.compare("nothing changed, db, cold", "under 30 ms", self.figure("dvc", "db", "unchanged", "wall"), 0.030, seconds)
        peer = megabytes(self.best("db", "next", "growth")[0])
        self.compare("next version, db: growth", f"at most 25 MB (best peer here {peer})", self.figure("dvc", "db", "next", "growth"),
                     25 * MB, megabytes)
        self.against_peers("next version, db: time", "db", "next", 0.4)
        self.times("checkout of the tenth version, db", "chain", "chain-10", 1.15,
                   self.figure("dvc", "chain", "chain-1", "wall"), "that of the first")
        for data in ("tree", "image"):
            self.against_peers(f"next version, {data}: growth", data, "next", 1.0, "growth", megabytes)
        self.times("repository after the first commit, tree", "tree", "first", 1.0, self.figure("bupstash", "tree", "first", "repo"),
                   "bupstash", "repo", megabytes)
        self.against_peers("repository after the first commit, db", "db", "first", 0.97, "repo", megabytes)
        self.against_peers("repository after the first commit, image", "image", "first", 1.02, "repo", megabytes)
        self.against_peers("checkout, tree, cold", "tree", "restore", 0.75)
        self.times("checkout, tree, cold", "tree", "restore", 0.6, self.machine("tree", "cp"), "cold `cp -a`")
        self.against_peers("checkout, db, cold", "db", "restore", 0.8)
        self.in_place()
        for data in ("tree", "db", "image"):
            self.against_peers(f"`fsck --data`, {data}", data, "check", 0.8)
        self.compare("`diff --stat` of two versions, db", "under 50 ms", self.figure("dvc", "db", "diff", "wall"), 0.050, seconds)
        self.compare("`log --oneline`, 10,000 versions", "under 100 ms", self.figure("dvc", "history", "log", "wall"), 0.100, seconds)
        self.times("`status`, tree unchanged, cold", "tree", "status", 1.0, find, "cold `find` with times")
        self.memory()
        return self.rows

    def in_place(self):
        """The bar "in proportion to the changes" means at most twice the bytes of the changed 64 KiB blocks."""
        changed = self.figure("machine", "db", "facts", "changed")
        self.times("checkout of the next version in place, db: bytes written", "db", "inplace", 2, changed,
                   f"the changed 64 KiB blocks ({megabytes(changed)})", "written", megabytes)
        self.times("checkout of the next version in place, db: time", "db", "inplace", 0.5,
                   self.figure("dvc", "db", "restore", "wall"), "the checkout into an empty directory")

    def memory(self):
        peaks = [(self.figure("dvc", data, op, "rss"), f"{op}, {data}") for data in ("tree", "db", "image")
                 for op in ("first", "unchanged", "check", "next", "restore", "inplace", "status", "diff")]
        peaks += [(self.figure("dvc", "chain", "chain-10", "rss"), "restore, chain"), (self.figure("dvc", "history", "log", "rss"), "log")]
        worst, where = max(((v, w) for v, w in peaks if v is not None), default=(None, "nothing measured"))
        self.compare(f"peak memory of every operation above ({where})", "at most 200 MiB", worst, 200 * MIB,
                     lambda v: "-" if v is None else f"{v / MIB:.0f} MiB")

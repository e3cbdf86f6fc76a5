# Writes the section Care of docs/benchmarks.md from the results of care.py: a table of bars with the peers, then the
# figures that have no bar. In: JSON lines. Out: Markdown between its mark and the next mark. The newest invocation of
# each figure counts; no figure is entered by hand.

import json
import sys

from bars import MIB, megabytes, seconds
from report import table

MARK, ANY_MARK = "<!-- by benches/rivals/care.py -->", "<!-- by "
PEERS = ("rustic", "restic", "borg")


class Figures:
    def __init__(self, path, scale):
        self.rows, self.failed, self.about = {}, {}, {}
        with open(path) as f:
            for row in map(json.loads, f):
                if row["scale"] != scale:
                    continue
                if "machine" in row:
                    self.about[row["batch"]] = row
                elif "failed" in row:
                    self.failed[row["group"]] = row
                else:
                    self.rows[row["group"], row["name"]] = row
                    self.failed.pop(row["group"], None)

    def get(self, group, name, side="dvc", key="value"):
        row = self.rows.get((group, name))
        return row and row["sides"].get(side, {}).get(key, {}).get("median")

    def fact(self, group, name, key):
        row = self.rows.get((group, name))
        return row and row["facts"].get(key)

    def most(self, group, name, key):
        row = self.rows.get((group, name))
        return row and row["sides"].get("dvc", {}).get(key, {}).get("max")


class Bars:
    """Rows of the table: what, size, bar, dvc, peers, verdict. A bar is not met if a figure that it needs is missing."""

    def __init__(self, figures):
        self.f, self.rows, self.met, self.missed = figures, [], 0, 0

    def most(self, what, bar, value, limit, show, peers="", cpu=None):
        """`cpu` is the CPU time of the runs: if other processes disturbed them, the wall time decides nothing."""
        if value is None or limit is None:
            verdict = "not measured"
        elif value <= limit:
            verdict, self.met = "met", self.met + 1
        elif cpu is not None and cpu <= limit:
            verdict = f"disturbed; CPU time {seconds(cpu)}"
        else:
            verdict, self.missed = "**missed**", self.missed + 1
        self.rows.append((what, f"{bar}: {show(limit)}" if limit is not None else bar, show(value), peers, verdict))

    def peers(self, group, key, show):
        found = ((peer, self.f.get(group, "prune", peer, key)) for peer in PEERS)
        return ", ".join(f"{peer} {show(value)}" for peer, value in found if value is not None)

    def all(self):
        self.many()
        self.tree()
        self.database()
        self.others()
        self.year()
        return self.rows

    def many(self):
        chunks, nodes = self.f.fact("many", "gc", "chunks"), self.f.fact("many", "gc", "nodes")
        if not chunks:
            return
        size = f"{chunks / 1e6:g} M chunks, {nodes:,} directories, nothing unneeded"
        self.most(f"gc, {size}", "at most 60 s for 20 M chunks", self.f.get("many", "gc"), 60 * chunks / 20e6, seconds, cpu=self.f.get("many", "gc", "dvc", "cpu"))
        self.most("peak memory, in a cgroup of 256 MiB", "at most", self.f.most("many", "gc", "rss"), 256 * MIB, mebibytes)
        self.most("temporary files", "at most 8 bytes an id + 64 MiB", self.f.most("many", "gc", "temporary"), 8 * (chunks + nodes) + 64 * MIB, megabytes)
        self.most(f"gc -n, {size}", "at most 1 s + 1 s per million rows", self.f.get("many", "gc -n"), 1 + (chunks + nodes) / 1e6, seconds, cpu=self.f.get("many", "gc -n", "dvc", "cpu"))

    def tree(self):
        for peer, factor in (("rustic", 0.5), ("restic", 0.33)):
            theirs = self.f.get("tree", "prune", peer)
            self.most("gc of the tree", f"at most {factor} x {peer}", self.f.get("tree", "prune"), theirs and factor * theirs, seconds, self.peers("tree", "value", seconds))
        rss = [self.f.get("tree", "prune", peer, "rss") for peer in ("rustic", "restic")]
        self.most("peak memory", "at most 1/4 of both, or 96 MiB", self.f.get("tree", "prune", "dvc", "rss"), None if None in rss else max(96 * MIB, min(rss) / 4),
                  mebibytes, self.peers("tree", "rss", mebibytes))
        fresh = self.f.fact("tree", "prune", "fresh")
        self.most("repository afterwards", "at most 1.02 x a fresh one", self.f.get("tree", "prune", "dvc", "repo"), fresh and 1.02 * fresh, megabytes, self.peers("tree", "repo", megabytes))

    def database(self):
        fresh = self.f.fact("db", "prune", "fresh")
        self.most("gc of the database: repository afterwards", "at most 1.05 x a fresh one", self.f.get("db", "prune", "dvc", "repo"), fresh and 1.05 * fresh,
                  megabytes, self.peers("db", "repo", megabytes))
        self.most("growth of the packs in each of nine collections", "none", self.f.get("db", "growth"), 0, megabytes)

    def others(self):
        alone, beside = self.f.get("beside", "commit", "alone"), self.f.get("beside", "commit", "beside gc")
        self.most("commit beside collections", f"at most {seconds(alone)} alone / 0.85", beside, alone and alone / 0.85, seconds)
        self.most("reads of the gc log in a commit, under strace", "at most", self.f.get("readdirs", "commit"), 0.0002, lambda v: "-" if v is None else f"{v * 1000:.2f} ms")
        self.most(f"forget by rules, {self.f.fact('policy', 'forget', 'versions') or 0:,} versions", "at most", self.f.get("policy", "forget"), 1, seconds)
        transfer = self.f.get("repair", "one pack, damage known", "dvc", "transfer")
        self.most("repair of one pack of 32 MiB from a directory", "at most 2 s + transfer", self.f.get("repair", "one pack, damage known"), transfer and 2 + transfer, seconds)

    def year(self):
        fact = lambda key: self.f.fact("year", "gc", key)
        if fact("fresh") is None:
            return
        self.most(f"repository after {fact('nights')} nights, {fact('kept')} versions kept", "at most 1.1 x a fresh one", fact("cared"), 1.1 * fact("fresh"), megabytes)
        self.most("its packs", "at most 40 more", fact("cared_packs"), fact("fresh_packs") + 40, lambda v: f"{v:,}")
        for name in ("log", "status", "unchanged commit", "lazy clone"):
            fresh = self.f.get("year", name, "fresh")
            self.most(f"`{name}` in it, warm", "at most 1.1 x the fresh one", self.f.get("year", name, "cared"), fresh and 1.1 * fresh, milliseconds)


def mebibytes(value):
    return "-" if value is None else f"{value / MIB:.0f} MiB"


def milliseconds(value):
    return "-" if value is None else f"{value * 1000:.1f} ms"


def more(f):
    """Figures without a bar."""
    rows = []
    for group, name, what in (("refs", "gc", "gc that gives packs up, {refs:,} branches"), ("refs", "gc -n", "gc -n, {refs:,} branches"), ("policy", "forget -n", "forget -n, {versions:,} versions"),
                              ("policy", "forget --undo", "forget --undo, {versions:,} versions"), ("policy", "gc", "gc afterwards, {versions:,} versions"),
                              ("repair", "one pack, damage known", "repair of {damaged} of {packs} packs, damage known"), ("repair", "one pack, with a check of all data", "the same with a check of all data"),
                              ("repair", "1 % of the packs, damage known", "repair of {damaged} of {packs} packs, damage known"),
                              ("repair", "1 % of the packs, with a check of all data", "the same with a check of all data"), ("db", "prune", "gc of the database"), ("year", "gc", "gc of one night, median")):
        row = f.rows.get((group, name))
        if row:
            peers = ", ".join(f"{peer} {seconds(f.get(group, name, peer))}" for peer in PEERS if f.get(group, name, peer) is not None)
            rss = f.get(group, name, "dvc", "rss")
            rows.append((what.format(**row["facts"]), seconds(f.get(group, name)), mebibytes(rss) if rss else "", peers))
    for group, what in (("tree", "CPU time of the gc of the tree"), ("db", "CPU time of the gc of the database")):
        if (group, "prune") in f.rows:
            peers = ", ".join(f"{peer} {seconds(f.get(group, 'prune', peer, 'cpu'))}" for peer in PEERS if f.get(group, "prune", peer) is not None)
            rows.append((what, seconds(f.get(group, "prune", "dvc", "cpu")), "", peers))
    return rows


def busy(f):
    """Returns the names of the groups in which other processes used more than a quarter of a core."""
    shares = {}
    for (group, _), row in f.rows.items():
        for keys in row["sides"].values():
            if "other_cpu" in keys:
                shares.setdefault(group, []).append(keys["other_cpu"]["median"] > 0.25 * keys["value"]["median"] + 0.5)
    return sorted(group for group, found in shares.items() if any(found))


def lines(figures, small):
    newest = max(figures.about)
    about, f = figures.about[newest], figures
    used = sorted({row["batch"][:10] for row in f.rows.values()})
    out = ["## Care", "", "`benches/rivals/care.py --report` generates this section from its results file. Do not edit it by hand.", "",
           f"Machine: {about['machine']['cpu']}, {about['machine']['memory']}, {about['machine']['system']}, {about['machine']['file_system']}. Measured {' to '.join(dict.fromkeys((used[0], used[-1])))}. "
           f"Versions: {'; '.join(f'{name} {version}' for name, version in about['versions'].items())}.", ""]
    tree, db, year = (f.rows.get(key, {}).get("facts") for key in (("tree", "prune"), ("db", "prune"), ("year", "gc")))
    counts = sorted({keys["cpu"]["runs"] for row in f.rows.values() for keys in row["sides"].values() if "cpu" in keys})
    spread = "-".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "3"
    if tree:
        out += [f"- *tree*: {tree['versions']:,} versions of {tree['files']:,} files, each with 1 % of them edited, added or deleted; {tree['kept']} versions kept. Repositories before: "
                + ", ".join(f"{name} {megabytes(size)}" for name, size in tree["before"].items()) + f"; a fresh one of dvc with the kept versions: {megabytes(tree['fresh'])}. All tools may leave {tree['unused']} % unused."]
    if db:
        out += [f"- *database*: {db['versions']} versions of a MariaDB directory of 150 MB with one table of 100,000 rows, each with 80 rows updated and 100 inserted; {db['kept']} versions kept. Before: "
                + ", ".join(f"{name} {megabytes(size)}" for name, size in db["before"].items()) + f"; fresh: {megabytes(db['fresh'])}. Nothing may stay unused."]
    if year:
        out += [f"- *nights*: {year['nights']} versions of this database, one a day by `commit --time`, each followed by `forget --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --now` and `gc --now --max-unused 2%`. "
                f"A repository with all versions has {megabytes(year['all'])}."]
    out += ["- The tools prune in turn: `dvc gc --now`, `rustic prune --instant-delete`, `restic prune`, and `borg prune` with `borg compact`. The versions are forgotten before the measurement, except in borg, where this is part of the measured work.",
            f"- Each run starts with a copy of the same repository, in the page cache. Figures are medians of {spread} runs.",
            "- Peers without a figure in a row do not have the operation.", ""]
    if busy(f):
        out += [f"Other processes used more than a quarter of a core during the runs of {', '.join(busy(f))}. There, only ratios within a run and CPU times count.", ""]
    if small:
        out += ["**Small data (CI size): the bars do not apply. The figures only show that everything runs.**", ""]
    bars = Bars(figures)
    rows = bars.all()
    out += [f"{bars.met} bars met, {bars.missed} missed, {len(rows) - bars.met - bars.missed} not measured or disturbed.", ""]
    out += table(("operation", "bar", "dvc", "peers", ""), rows)
    out += ["Without a bar:", "", *table(("operation", "dvc", "peak memory", "peers"), more(figures))]
    if figures.failed:
        out += ["Failures:", "", *(f"- {group}: {row['failed'][:200]}" for group, row in figures.failed.items()), ""]
    return out


def write(results, small, path):
    """Writes the section into the file at path, or to standard output."""
    figures = Figures(results, "small" if small else "full")
    if not figures.rows:
        print("no results of this scale in the results file", file=sys.stderr)
        return 2
    text = "\n".join(lines(figures, small)).rstrip() + "\n"
    if path is None:
        print(text, end="")
        return 0
    with open(path) as f:
        before, _, after = f.read().partition(MARK)
    # Keep the text that begins at the mark of another program.
    rest = after.partition(ANY_MARK)
    with open(path, "w") as f:
        f.write(f"{before.rstrip()}\n\n{MARK}\n{text}" + ("\n" + "".join(rest[1:]) if rest[1] else ""))
    return 0

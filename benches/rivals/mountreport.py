# Writes the section Mounts of docs/benchmarks.md from the results of mount.py: a table of bars, then every figure with
# those of the native directory and the peers. In: JSON lines. Out: Markdown between its mark and the next mark. The
# newest invocation of each figure counts; no figure is entered by hand.

import json
import sys

from bars import seconds
from report import table

MARK, ANY_MARK = "<!-- by benches/rivals/mount.py -->", "<!-- by "
# The range of ratios that a prototype reached for operations on names; the bar is twice this.
PROTOTYPE = (0.05, 0.3)
BUSY = 0.25
MORE = {"p99_ms": lambda v: f"p99 {v:.2f} ms", "mount_s": lambda v: f"mounted after {seconds(v)}", "fetched_mb": lambda v: f"{v:.1f} MB fetched",
        "requests": lambda v: f"{v:.0f} requests", "listed_s": lambda v: f"listed after {seconds(v)}", "over": lambda v: f"over {v:.0f} s",
        "one_run_s": lambda v: f"one contiguous range {seconds(v)}", "now": lambda v: f"{v:.0f} MiB at the end", "files": lambda v: f"{v:,.0f} files"}
TITLES = {"first": "Lazy clone: the first row of a database", "terabyte": "Lazy clone and repository of 1 TiB", "far": "Lazy clone: a sequential read",
          "plain": "Local repository, not hydrated", "tree": "Local repository, 170,000 files", "small": "Names", "data P": "Hydrated, passthrough",
          "data W": "Hydrated, writeback (`--live`)", "commit": "Commit", "memory": "Memory of the process"}


def show(value, unit):
    if value is None:
        return "-"
    return {"s": seconds, "1/s": lambda v: f"{v:,.0f}/s", "tps": lambda v: f"{v:,.0f} tps", "MiB": lambda v: f"{v:.0f} MiB",
            "x": lambda v: f"{v:.2f}", "ms": lambda v: f"{v:.2f} ms", "MB": lambda v: f"{v:.1f} MB"}[unit](value)


class Figures:
    def __init__(self, path, scale):
        self.rows, self.failed, self.about = {}, {}, {}
        with open(path) as f:
            for row in map(json.loads, f):
                if "machine" in row:
                    self.about[row["batch"]] = row
                elif row["scale"] != scale:
                    continue
                elif "failed" in row:
                    self.failed[row["group"]] = row
                else:
                    self.rows[row["group"], row["name"]] = row

    def get(self, group, name, side="mount", key="value"):
        row = self.rows.get((group, name))
        return row and row["sides"].get(side, {}).get(key, {}).get("median")

    def ratio(self, group, name, to="native", by="mount"):
        """Returns the speed of the mount divided by that of another side."""
        ours, theirs = self.get(group, name, by), self.get(group, name, to)
        if not ours or not theirs:
            return None
        return theirs / ours if self.rows[group, name]["better"] == "less" else ours / theirs

    def group(self, group):
        return [row for (g, _), row in self.rows.items() if g == group]


class Bars:
    """Rows of the table: what, bar, measured, verdict. A bar is not met if a figure that it needs is missing."""

    def __init__(self, figures):
        self.f, self.rows, self.met, self.missed = figures, [], 0, 0

    def add(self, what, bar, value, unit, margin):
        if value is None:
            verdict = "not measured"
        elif margin >= 1:
            verdict, self.met = f"met, {margin:.2f}", self.met + 1
        else:
            verdict, self.missed = f"**missed**, {margin:.2f}", self.missed + 1
        self.rows.append((what, bar, show(value, unit), verdict))

    def most(self, what, value, limit, unit, word="at most"):
        self.add(what, f"{word} {show(limit, unit)}", value, unit, value and limit / value)

    def least(self, what, value, limit, unit="x", of=""):
        bar = f"at least {limit:,} {of}" if unit == "x" else f"at least {show(limit, unit)}"
        self.add(what, bar.strip(), value, unit, value and value / limit)

    def native(self, group, name, limit, of="of native"):
        title = f"{TITLES[group].split(' (')[0].lower()}: " if group.startswith("data") else ""
        self.least(title + name, self.f.ratio(group, name), limit, of=of)

    def names(self, group, name):
        low, high = (2 * p for p in PROTOTYPE)
        value = self.f.ratio(group, name)
        bar = f"{low:.1f} to {high:.1f} of native or better (twice the prototype)"
        if value is not None and low <= value < high:
            self.rows.append((name, bar, show(value, "x"), "within the range"))
        else:
            self.add(name, bar, value, "x", value and (value / high if value >= high else value / low))

    def all(self):
        get = self.f.get
        for kind in ("s3", "webdav"):
            name = f"first row of MariaDB, {kind}"
            self.most(f"first row of MariaDB on a lazy clone, store at 20 ms ({kind})", get("first", name), 3, "s", "under")
            self.most("bytes fetched for that row", get("first", name, key="fetched_mb"), 60, "MB", "under")
            self.most("time of the mount alone", get("first", name, key="mount_s"), 0.3, "s", "under")
        for name in ("local repository", "lazy clone"):
            self.most(f"the mount of 1 TiB, {name}", get("terabyte", f"mount, {name}"), 0.3, "s", "under")
        for name in ("sequential read, cold", "sequential read, warm", "random 4k, cold", "random 4k, O_DIRECT", "pgbench select, warm",
                     "SQLite point select, cold", "SQLite point select, warm", "SQLite bulk insert"):
            self.native("data P", name, 0.95)
        for name, limit in (("sequential read, cold", 0.8), ("sequential read, warm", 0.8), ("pgbench select, warm", 0.8),
                            ("buffered 4k writes, fsync at end", 1.0), ("SQLite WAL insert, normal", 0.9), ("SQLite WAL insert, full", 0.9),
                            ("pgbench TPC-B", 0.85), ("MariaDB one-row inserts, 3,000", 0.8)):
            self.native("data W", name, limit)
        for name in ("create, 5,000 files", "open+read, 5,000 files", "stat, 5,000 files", "rename, 5,000 files", "unlink, 5,000 files", "git status, 2,000 files"):
            self.names("small", name)
        self.names("tree", "find, warm")
        self.least("cat of 1 GiB, lazy, 30 ms and 40 MB/s a connection", self.f.ratio("far", "cat of 1 GiB, lazy", "rclone copy"), 0.8, of="of `rclone copy`")
        for file in ("noise", "pages"):
            name = f"random 4k cold {file} x1"
            self.least(f"random 4 KiB reads, not hydrated, {file}", get("plain", name), 8000, "1/s")
            self.most("p99 latency of these reads", get("plain", name, key="p99_ms"), 0.5, "ms", "under")
            self.most(f"cat of 1 GiB, not hydrated, {file}", get("plain", f"cat 1 GiB {file}"), 1.5, "s", "under")
        self.most("`find` over the tree, cold", get("tree", "find, cold"), 2, "s", "under")
        self.most("reading 3,400 small files, cold", get("tree", "read 3,400 small, cold"), 0.5, "s", "under")
        copy = "cp -a of all, cold"
        self.least("`cp -a` of the tree, cold", self.f.ratio("tree", copy, "checkout"), 0.8, of="of `checkout`")
        # A copy that was stopped early gives a lower limit of its time.
        ours, theirs = get("tree", copy), get("tree", copy, "restic") or get("tree", copy, "restic", "over")
        self.least("`cp -a` of the tree, cold, compared with restic", ours and theirs and theirs / ours, 10, of="times restic's")
        self.most("commit after random writes to 1 % of 10 GiB", get("commit", "1 % of 10 GiB in 4 KiB writes"), 5, "s", "under")
        self.most("memory after visiting a million files", get("memory", "a million files looked at"), 200, "MiB")
        return self.rows


def cell(sides, side, unit):
    if side not in sides:
        return ""
    keys = dict(sides[side])
    value, parts = keys.pop("value", None), []
    if value:
        spread = value["runs"] > 1 and show(value["min"], unit) != show(value["max"], unit)
        parts.append(show(value["median"], unit) + (f" ({show(value['min'], unit)}-{show(value['max'], unit)})" if spread else ""))
    return "; ".join(parts + [MORE[key](v["median"]) for key, v in keys.items()])


def figures_of(figures, group):
    rows = []
    for row in figures.group(group):
        others = [f"{side}: {cell(row['sides'], side, row['unit'])}" for side in row["sides"] if side not in ("native", "mount")]
        others += [f"{side}: failed" for side in row["errors"]]
        ratio = figures.ratio(group, row["name"])
        rows.append((row["name"] + (" ~" if (row["busy"] or 0) > BUSY else ""), cell(row["sides"], "native", row["unit"]),
                     cell(row["sides"], "mount", row["unit"]), show(ratio, "x") if ratio else "", "<br>".join(others)))
    return rows


def lines(figures, small):
    batches = sorted({row["batch"] for row in figures.rows.values()})
    about = figures.about[batches[-1]]
    machine, runs = about["machine"], sorted({side["value"]["runs"] for row in figures.rows.values() for name, side in row["sides"].items() if name == "mount"})
    out = ["## Mounts", "", f"`benches/rivals/mount.py --report` generates this section from its results file. Do not edit it by hand. Machine: {machine['cpu']}, {machine['memory']}, "
           f"{machine['system']}, {machine['file_system']}. Measured {' to '.join(sorted({batches[0][:10], batches[-1][:10]}))}. "
           f"Versions: {'; '.join(f'{tool} {version}' for tool, version in about['versions'].items())}.", "",
           f"Figures are medians of {'-'.join(str(r) for r in dict.fromkeys((runs[0], runs[-1])))} runs, with the smallest and the largest value in brackets. Runs alternate between a native "
           "directory on the same disk and the mount.", "",
           "- The ratio is the speed of the mount divided by that of the native directory.",
           "- The number after *met* or *missed* shows how many times better than its bar a figure is. Below 1, it is worse.",
           "- Other tools were run once.",
           "- *Cold* means an empty page cache and, without hydration, a new mount process.",
           "- The server `s3` is moto, which reads the complete object for each requested range. The server `webdav` is that of rclone.",
           "- `~` marks figures for which other processes used more than a quarter of a core before one of the runs.", ""]
    if small:
        out += ["**Small data (CI size): the bars do not apply. The figures only show that everything runs.**", ""]
    bars = Bars(figures)
    rows = bars.all()
    out += [f"{bars.met} bars met, {bars.missed} missed, {len(rows) - bars.met - bars.missed} within the range or not measured.", ""]
    out += table(("what", "bar", "measured", ""), rows)
    names = [group for group in TITLES if group in {g for g, _ in figures.rows}]
    for group in names:
        out += [f"### {TITLES[group]}", ""] + table(("", "native", "mount", "ratio", "others"), figures_of(figures, group))
    failures = [f"- {group} {name}, {side}: {text.splitlines()[0][:200]}" for (group, name), row in figures.rows.items() for side, text in row["errors"].items() if text]
    failures += [f"- {group}: {row['failed'][:200]}" for group, row in figures.failed.items()
                 if row["batch"] >= max((r["batch"] for r in figures.group(group)), default="")]
    if failures:
        out += ["### Failures", "", *failures, ""]
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
    # Keep the text from the mark of another program on.
    rest = after.partition(ANY_MARK)
    with open(path, "w") as f:
        f.write(f"{before.rstrip()}\n\n{MARK}\n{text}" + ("\n" + "".join(rest[1:]) if rest[1] else ""))
    return 0

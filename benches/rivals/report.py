# Writes docs/benchmarks.md from the results file: a table of bars, a table per operation with all tools, the limits
# of the machine, and the chart. In: JSON lines of run.py. Out: Markdown and SVG. For each tool, data set and operation
# only the newest invocation counts. Figures are medians of its runs. A failed operation is printed as "failed", a
# missing one as "-".

import json
import os
import statistics
import sys

import chart
from bars import MIB, PEERS, Bars, megabytes, seconds

TOOLS = ("dvc", *PEERS)
TITLES = (
    ("first", "First commit", ("tree", "db", "image"), ("repo",)),
    ("unchanged", "Commit with nothing changed", ("tree", "db", "image"), ("growth",)),
    ("next", "Next version", ("tree", "db", "image"), ("growth",)),
    ("restore", "Checkout of version 1 into an empty directory", ("tree", "db", "image"), ()),
    ("inplace", "Checkout of version 2 in place, over version 1", ("tree", "db", "image"), ("written",)),
    ("check", "Full read check of a repository with one version", ("tree", "db", "image"), ()),
)
OWN = (("status", "`status`, nothing changed, cold", ("tree", "db", "image")), ("diff", "`diff --stat` of the two versions, warm", ("tree", "db", "image")),
       ("log", "`log --oneline` of 10,000 versions, warm", ("history",)), ("chain-1", "checkout of the first of ten versions", ("chain",)),
       ("chain-10", "checkout of the tenth of ten versions", ("chain",)))
MACHINE = (("find", "`find -printf '%s %T@ %C@'`, cold"), ("read-2", "read all data, 2 threads, cold"),
           ("read-4", "read all data, 4 threads, cold"), ("cp", "`cp -a`, cold"),
           ("zstd-1", "`zstd -T2 -1`, from memory"), ("zstd-3", "`zstd -T2 -3`, from memory"))
DATA = {"tree": "copied from system directories (documentation, an SDK, a Rust toolchain, Python installations); next version: 1 % of the files edited, added or deleted, one directory renamed",
        "db": "a MariaDB data directory filled by sysbench; next version: random rows updated, rows inserted, clean shutdown",
        "image": "a raw ext4 image of system directories; next version: files rewritten in place and added through a mount"}


class Figures:
    def __init__(self, path, scale):
        self.machine, self.rows = {}, {}
        with open(path) as f:
            for line in f:
                row = json.loads(line)
                if "machine" in row:
                    self.machine[row["batch"]] = row["machine"]
                elif row["scale"] == scale:
                    self._add(row)

    def _add(self, row):
        key = row["tool"], row["data"], row["op"]
        kept = self.rows.setdefault(key, [])
        if kept and kept[0]["batch"] != row["batch"]:
            kept.clear()
        kept.append(row)

    def get(self, tool, data, op):
        return self.rows.get((tool, data, op), [])

    def quiet(self, tool, data, op):
        """Returns the runs that no other process disturbed, or all runs if all were disturbed."""
        rows = self.get(tool, data, op)
        return [row for row in rows if not disturbed(row)] or rows

    def figure(self, tool, data, op, field):
        """Returns the median over the quiet runs, or the maximum for peak memory; None if a run failed or is missing."""
        if not all(row["ok"] for row in self.get(tool, data, op)):
            return None
        values = [row.get(field) for row in self.quiet(tool, data, op)]
        if not values or None in values:
            return None
        return max(values) if field == "rss" else statistics.median(values)

    def spread(self, tool, data, op):
        walls = [row["wall"] for row in self.quiet(tool, data, op) if row["ok"]]
        return f"{seconds(min(walls))}-{seconds(max(walls))}" if len(walls) > 1 else ""

    def all_disturbed(self, tool, data, op):
        return all(disturbed(row) for row in self.get(tool, data, op))

    def versions(self):
        newest = {}
        for (tool, _, _), rows in self.rows.items():
            if rows[0].get("version"):
                newest.setdefault(tool, set()).add(rows[0]["version"])
        return newest

REMOTES = "<!-- by benches/rivals/remotes.py -->"


def disturbed(row):
    """Returns whether other processes and kernel threads used more than a quarter of a core during the run."""
    return row["ok"] and row.get("other_cpu", 0) > 0.25 * row.get("wall", 0) + 0.5


def cell(figures, tool, data, op, fields):
    rows = figures.get(tool, data, op)
    if not rows:
        return "-"
    if not all(row["ok"] for row in rows):
        return "failed"
    f = lambda field: figures.figure(tool, data, op, field)
    parts = [f"**{seconds(f('wall'))}**", f"{f('cpu'):.1f}" if f("cpu") >= 10 else f"{f('cpu'):.2f}", f"{f('rss') / MIB:.0f}"]
    parts += [megabytes(f(field)) for field in fields]
    differs = [row["content_differs"] for row in rows if row.get("content_differs")]
    return " / ".join(parts) + (f" (content differs in {differs[0]} paths)" if differs else "") + (" ~" if figures.all_disturbed(tool, data, op) else "")


def facts(figures, name):
    rows = figures.get("machine", name, "facts")
    if not rows:
        return ""
    f = rows[0]
    return (f"{f['files']:,} files, {f['directories']:,} directories, {f['links']:,} links, {f['bytes'] / 1e9:.2f} GB "
            f"({megabytes(f['changed'])} of 64 KiB blocks differ in the next version): ")


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]


def lines(figures, scale):
    used = {rows[0]["batch"] for rows in figures.rows.values()}
    newest = max(used)
    machine = figures.machine.get(newest, {})
    versions = "; ".join(f"{tool} {', '.join(sorted(figures.versions()[tool]))}" for tool in TOOLS if tool in figures.versions())
    runs = sorted({len(rows) for (tool, _, op), rows in figures.rows.items() if op in ("first", "next", "restore")})
    out = ["# Benchmarks", "",
           "`benches/rivals/run.py --report` generates this page up to *Remotes* from its results file. Do not edit that part by hand.", "",
           f"Machine: {machine.get('cpu')}, {machine.get('memory')}, {machine.get('system')}, {machine.get('file_system')}. "
           f"Measured {' to '.join(sorted({min(used)[:10], newest[:10]}))}. Figures are medians of {'-'.join(str(r) for r in (runs[:1] + runs[-1:] if len(runs) > 1 else runs))} runs. Versions: {versions}.", ""]
    if scale == "small":
        out += ["**Small data (CI size): the bars do not apply. The figures only show that everything runs.**", ""]
    out += ["Data:", *(f"- `{name}`: {facts(figures, name)}{text}." for name, text in DATA.items()), "",
            "Method:", "",
            "- All tools use zstd level 3 (restic: `auto`), except dvc, which chooses the level by content.",
            "- Encryption is off in borg and dvc. bupstash, rustic and restic always encrypt.",
            "- bupstash runs with its defaults, without `--xattrs` and `--ownership`.",
            "- Each run starts with an empty page cache. The tools run in turn on the same directory, in a different order each time.",
            "- Repository size is the total length of all files of the repository. It includes dvc's catalogue, but not the caches and send logs that other tools keep outside their repositories.",
            "- Peak memory is the peak of the process that uses the most memory.", ""]
    if scale == "full":
        bars = Bars(figures.figure).all()
        met, missed = sum(b.met is True for b in bars), sum(b.met is False for b in bars)
        out += ["## Bars", "", f"{met} bars met, {missed} missed, {len(bars) - met - missed} not measured.", ""]
        out += table(("operation", "bar", "limit", "dvc", ""), [(b.what, b.bar, b.limit, b.dvc, b.mark) for b in bars])
    out += ["## Every tool", "", "Each cell shows wall time / CPU seconds / peak MiB, and the value that the heading names. Runs during which other processes used more "
            "than a quarter of a core are excluded. `~` marks a cell that has only such runs.", ""]
    for op, title, sets, fields in TITLES:
        extra = {"repo": "repository size", "growth": "growth of the repository", "written": "bytes written to disk"}
        out += [f"### {title}" + "".join(f"; {extra[f]}" for f in fields), ""]
        out += table(("", *sets), [(tool, *(cell(figures, tool, data, op, fields) for data in sets)) for tool in TOOLS])
        if op == "inplace":
            out += ["Changed 64 KiB blocks between the versions: " + ", ".join(
                f"{data} {megabytes(figures.figure('machine', data, 'facts', 'changed'))}" for data in ("db", "image")) + ".", ""]
        if op == "check":
            out += ["bupstash cannot check data. Its figures are those of a complete `get` of the version, which verifies every chunk.", ""]
    out += ["### dvc alone", ""]
    out += table(("operation", "data", "wall / CPU / MiB", "range"), [(title, data, cell(figures, "dvc", data, op, ()), figures.spread("dvc", data, op))
                                                                    for op, title, sets in OWN for data in sets])
    commits = figures.get("dvc", "chain", "chain-commit")
    if commits and all(row["ok"] for row in commits):
        out += [f"Ten versions of the database in one repository: growth {', '.join(megabytes(row['growth']) for row in commits)}.", ""]
    out += ["### The machine itself", "", "Wall time / CPU seconds / peak MiB", ""]
    out += table(("", "tree", "db", "image"), [(title, *(cell(figures, "machine", data, op, ()) for data in ("tree", "db", "image"))) for op, title in MACHINE])
    failures = [f"- {tool}, {data}, {op}: {(row['error'].splitlines() or ['no message'])[-1][:200]}"
                for (tool, data, op), rows in figures.rows.items() for row in rows if not row["ok"]]
    if failures:
        out += ["### Failures", "", "The last line that each one printed:", "", *failures, ""]
    return out


def write(results, scale, path):
    """Writes the report to path, or to standard output."""
    figures = Figures(results, scale)
    if not figures.rows:
        print("no results of this scale in the results file", file=sys.stderr)
        return 2
    text = "\n".join(lines(figures, scale)).rstrip() + "\n"
    if path is None:
        print(text, end="")
    else:
        # Keep the text after the mark, which comes from remotes.py.
        with open(path) as f:
            rest = f.read().partition(REMOTES)[1:]
        with open(path, "w") as f:
            f.write(text.rstrip("\n") + "\n\n" + "".join(rest) if rest[0] else text)
        if scale == "full":
            chart.write(path, os.path.splitext(path)[0] + ".svg")
    return 0

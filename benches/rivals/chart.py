#!/usr/bin/env python3
# Draws docs/benchmarks.svg, the chart of the README, from the tables of docs/benchmarks.md. The report draws
# the chart after writing the page, so both show the same figures. `chart.py [PAGE [CHART]]` redraws the chart.
# In: Markdown. Out: an SVG with a panel per operation and a bar per tool; a tool without a figure has no bar.

import os
import sys
from xml.sax.saxutils import escape

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS, DATA = "dvc", "db"
# Start of the heading on the page, position of the figure in a cell, title of the panel.
PANELS = (("First commit", 0, "First commit"), ("Next version", 0, "Next version"),
          ("Next version", 3, "Growth by the next version"), ("Checkout of version 1", 0, "Checkout"))
WIDTH, HEIGHT, MARGIN = 900, 392, 24
GAP, TOP = 28, 92
ROW, BAR = 21, 13
NAMES, VALUES = 72, 74
UNITS = {"ms": 0.001, "s": 1.0, "MB": 1.0}

# Dark mode changes the classes. The chart has its own background, so it is readable on any page.
STYLE = """
    .page { fill: #fcfcfb; }
    .ink { fill: #0b0b0b; }
    .soft { fill: #52514e; }
    .axis { stroke: #c3c2b7; }
    .ours { fill: #2a78d6; }
    .peer { fill: #a5a49b; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #1a1a19; }
      .ink { fill: #ffffff; }
      .soft { fill: #c3c2b7; }
      .axis { stroke: #52514e; }
      .ours { fill: #3987e5; }
      .peer { fill: #76756e; }
    }
"""


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(lines, heading):
    """Returns (tool, cell for DATA) for each row of the table below the first heading that starts with `heading`."""
    at = next(n for n, line in enumerate(lines) if line.startswith(f"### {heading}"))
    head = next(n for n, line in enumerate(lines) if n > at and line.startswith("|"))
    column = cells(lines[head]).index(DATA)
    rows = []
    for line in lines[head + 2:]:
        if not line.startswith("|"):
            return rows
        rows.append((cells(line)[0], cells(line)[column]))
    return rows


def figure(cell, position):
    """Returns value and text of a figure in `**4.61 s** / 7.73 / 60 / 1086.4 MB`, or None if it was not measured."""
    parts = [part.strip(" *~") for part in cell.split(" / ")]
    if len(parts) <= position or " " not in parts[position]:
        return None
    number, unit = parts[position].split(" ")[:2]
    return float(number) * UNITS[unit], f"{number} {unit}"


def panel(x, y, width, title, rows):
    out = [f'<text class="ink" x="{x}" y="{y}" font-size="15" font-weight="600">{escape(title)}</text>']
    longest = max(value for _, (value, _) in rows)
    left, room = x + NAMES, width - NAMES - VALUES
    for n, (tool, (value, text)) in enumerate(rows):
        top = y + 14 + n * ROW
        weight = ' font-weight="600"' if tool == OURS else ""
        bar = max(value / longest * room, 1.5)
        middle = top + BAR - 2
        out += [f'<text class="{"ink" if tool == OURS else "soft"}" x="{left - 8}" y="{middle}" text-anchor="end"{weight}>{escape(tool)}</text>',
                f'<rect class="{"ours" if tool == OURS else "peer"}" x="{left}" y="{top}" width="{bar:.1f}" height="{BAR}" rx="2"/>',
                f'<text class="{"ink" if tool == OURS else "soft"}" x="{left + bar + 6:.1f}" y="{middle}"{weight}>{escape(text)}</text>']
    out.append(f'<path class="axis" d="M{left} {y + 10}V{y + 14 + len(rows) * ROW - (ROW - BAR) + 4}"/>')
    return out


def draw(page):
    """Returns the chart for the text of a page."""
    lines = page.splitlines()
    about = next((line.split("`: ", 1)[1] for line in lines if line.startswith(f"- `{DATA}`: ")), "")
    size = next((part for part in about.split(" (")[0].split(", ") if part.endswith(" GB")), "")
    cores = next((line.split()[1] for line in lines if line.startswith("Machine: ")), "?")
    subtitle = f"A MariaDB data directory of {size}. Shorter bars are better. Cold caches, medians, {cores} cores."
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" aria-labelledby="t d" '
           'font-family="system-ui, -apple-system, \'Segoe UI\', \'Noto Sans\', \'DejaVu Sans\', sans-serif" font-size="13">',
           '<title id="t">dvc compared with other tools</title>']
    width = (WIDTH - 2 * MARGIN - GAP) / 2
    described, body = [], []
    for n, (heading, position, title) in enumerate(PANELS):
        rows = [(tool, found) for tool, cell in table(lines, heading) if (found := figure(cell, position))]
        if not rows:
            continue
        described.append(f"{title}: " + ", ".join(f"{tool} {text}" for tool, (_, text) in rows) + ".")
        height = 14 + len(rows) * ROW + 34
        body += panel(MARGIN + n % 2 * (width + GAP), TOP + n // 2 * height, width, title, rows)
    out += [f'<desc id="d">{escape(" ".join(described))}</desc>', f"<style>{STYLE}  </style>", f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
            f'<text class="ink" x="{MARGIN}" y="38" font-size="17" font-weight="600">dvc compared with other tools</text>',
            f'<text class="soft" x="{MARGIN}" y="60">{escape(subtitle)}</text>', *body, "</svg>"]
    return "\n".join(out) + "\n"


def write(page, chart):
    """Draws the chart of the page at `page` into the file `chart`."""
    with open(page) as f:
        drawn = draw(f.read())
    with open(chart, "w") as f:
        f.write(drawn)


if __name__ == "__main__":
    page = sys.argv[1] if len(sys.argv) > 1 else f"{PROJECT}/docs/benchmarks.md"
    write(page, sys.argv[2] if len(sys.argv) > 2 else f"{os.path.splitext(page)[0]}.svg")

#!/usr/bin/env python3
"""Records what `restic forget` keeps of 400 random histories, for the comparison in src/model/retention/tests.rs.

make.py [OUTPUT=restic.json beside this file]

The script creates one repository with about 300 snapshots over six years. A history is a subset of them, marked by a tag
of its own. Takes about ten minutes, because each run of restic derives its key anew. Needs restic 0.18 or newer (Debian 13):
older versions lack the rule that keeps the oldest snapshot.
"""
import datetime as dt
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import zoneinfo

HISTORIES = 400
# Histories among these for the days that a month does not have.
MONTH_ENDS = 30
# The zone changes in gaps that are longer than the difference of the offsets, because the policies order local times.
ERAS = [
    ("Europe/Berlin", dt.datetime(2020, 1, 1), dt.datetime(2022, 5, 31)),
    ("Asia/Kathmandu", dt.datetime(2022, 6, 2), dt.datetime(2023, 12, 30)),
    ("America/New_York", dt.datetime(2024, 1, 2), dt.datetime(2026, 1, 20)),
]
PERIODS = ["hourly", "daily", "weekly", "monthly", "yearly"]


def special_times():
    """Local times on both sides of the borders of periods, and around the days that a month does not have."""
    out = []
    for year in (2020, 2021, 2022, 2024, 2025):
        out += [dt.datetime(year, 12, 31, 23, 59, 59), dt.datetime(year, 1, 1)]
        for month, day in [(1, 31), (2, 28), (3, 1), (3, 3), (3, 31), (5, 31)]:
            out.append(dt.datetime(year, month, day, 12))
    out += [dt.datetime(2020, 2, 29, 12), dt.datetime(2024, 2, 29, 12), dt.datetime(2024, 3, 2, 12)]
    # Weeks 53 and 1, and the Sundays before them.
    for day in ["2020-12-27", "2020-12-28", "2021-01-03", "2021-01-04", "2024-12-29", "2024-12-30", "2025-01-05"]:
        out += [dt.datetime.fromisoformat(day), dt.datetime.fromisoformat(day + " 23:59:59")]
    # Changes of the clock in Berlin and New York.
    for time in ["2020-03-29 01:59:59", "2020-03-29 03:00:00", "2020-10-25 01:30:00", "2020-10-25 02:30:00",
                 "2020-10-25 03:30:00", "2024-03-10 01:59:59", "2024-03-10 03:00:00", "2024-11-03 00:30:00",
                 "2024-11-03 01:30:00", "2024-11-03 02:30:00"]:
        out.append(dt.datetime.fromisoformat(time))
    # Distances that are exactly a span.
    newest = dt.datetime(2025, 7, 15, 8, 30)
    for distance in [dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(days=7), dt.timedelta(days=30),
                     dt.timedelta(days=365), dt.timedelta(seconds=1), dt.timedelta(0)]:
        out += [newest - distance, newest - distance + dt.timedelta(seconds=1)]
    return out


def random_times(rng):
    def within(begin, end):
        return begin + dt.timedelta(seconds=rng.randrange(int((end - begin).total_seconds())))

    out = []
    for _, begin, end in ERAS:
        out += [within(begin, end) for _ in range(24)]
        night = within(begin, end - dt.timedelta(days=30)).replace(hour=3, minute=0)
        out += [night + dt.timedelta(days=i, seconds=rng.randrange(1800)) for i in range(16)]
        hour = within(begin, end - dt.timedelta(days=2))
        out += [hour + dt.timedelta(hours=i, seconds=rng.randrange(-300, 300)) for i in range(12)]
        for _ in range(4):
            burst = within(begin, end - dt.timedelta(days=1))
            out += [burst + dt.timedelta(seconds=rng.choice([0, 1, 60, rng.randrange(7200)])) for _ in range(5)]
    return out


def zoned(local):
    for zone, begin, end in ERAS:
        if begin <= local <= end:
            return local.replace(microsecond=0, tzinfo=zoneinfo.ZoneInfo(zone))
    return None


def instant(time):
    return int(time.astimezone(dt.timezone.utc).timestamp())


def random_history(rng, times):
    size = rng.randint(5, 60)
    if rng.random() < 0.4:
        # The newest versions matter most for spans.
        end = rng.randint(size, len(times))
        begin = rng.randint(0, end - size)
    else:
        begin, end = 0, len(times)
    return sorted(rng.sample(range(begin, end), size))


def random_rules(rng):
    def count():
        return rng.choice(["1", "2", "3", "4", "5", "7", "10", "24", "60", "unlimited"])

    def span():
        parts = {"y": rng.randint(1, 5), "m": rng.randint(1, 18), "d": rng.randint(1, 60), "h": rng.randint(1, 72)}
        if rng.random() < 0.3:
            return rng.choice(["1h", "24h", "1d", "7d", "30d", "1m", "2m", "12m", "13m", "1y", "365d", "1y5m7d2h"])
        units = rng.sample(list(parts), rng.choice([1, 1, 1, 2, 3]))
        return "".join(f"{parts[unit]}{unit}" for unit in parts if unit in units)

    names = ["last", *PERIODS, "within", *(f"within-{period}" for period in PERIODS)]
    chosen = rng.sample(names, rng.choice([1, 1, 1, 2, 2, 3, 4, 6]))
    rules = {name: span() if name.startswith("within") else count() for name in chosen}
    if rng.random() < 0.05:
        rules.setdefault(rng.choice(["last", *PERIODS]), "0")
    return rules


def month_end(rng, times):
    """A history whose newest version is on a day that the month of the span's start does not have."""
    ends = [i for i, time in enumerate(times) if time.month in (3, 5) and time.day == 31 and time.hour == 12]
    newest = rng.choice(ends)
    months = {3: [1, 13, 25], 5: [1, 3, 15]}[times[newest].month]
    critical = [i for i in range(newest) if times[i].month in (1, 2, 3, 5) and times[i].hour == 12]
    others = rng.sample(range(newest), 5)
    name = rng.choice(["within", "within-daily", "within-hourly"])
    return sorted({newest, *critical, *others}), {name: f"{rng.choice(months)}m"}


def letters(reasons):
    """One letter for each reason, after `-` if restic says that the snapshot is the oldest one."""
    out = ""
    for reason in reasons:
        oldest, word, within = re.fullmatch(r"(oldest )?(\w+) ?(snapshot|within)?.*", reason).groups()
        letter = "A" if word == "within" else word[0]
        out += ("-" if oldest else "") + (letter.upper() if within == "within" else letter)
    return out


def main():
    output = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_name("restic.json"))
    rng = random.Random(22057)
    times = [zoned(local) for local in special_times() + random_times(rng)]
    times = sorted((time for time in times if time is not None), key=instant)
    histories = [(random_history(rng, times), random_rules(rng)) for _ in range(HISTORIES - MONTH_ENDS)]
    histories += [month_end(rng, times) for _ in range(MONTH_ENDS)]

    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"RESTIC_REPOSITORY": f"{scratch}/repository", "RESTIC_PASSWORD": "x", "TZ": "UTC",
                                    "RESTIC_CACHE_DIR": f"{scratch}/cache", "GOMAXPROCS": "1"}

        def restic(*arguments, zone="UTC"):
            done = subprocess.run(["restic", *arguments], env=environment | {"TZ": zone}, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, text=True, check=True)
            return done.stdout

        version = " ".join(restic("version").split()[:2])
        restic("init", "--quiet")
        content = pathlib.Path(scratch, "content")
        content.write_text("content")
        for number, time in enumerate(times):
            tags = [f"s{number}", *(f"h{i}" for i, (members, _) in enumerate(histories) if number in members)]
            restic("backup", "--quiet", "--force", "--no-scan", "--host", "h", "--tag", ",".join(tags),
                   "--time", time.strftime("%Y-%m-%d %H:%M:%S"), str(content), zone=time.tzinfo.key)

        def number_of(snapshot):
            return next(int(tag[1:]) for tag in snapshot["tags"] if tag[0] == "s")

        recorded = {}
        for snapshot in json.loads(restic("snapshots", "--json")):
            time = dt.datetime.fromisoformat(snapshot["time"].replace("Z", "+00:00"))
            recorded[number_of(snapshot)] = [instant(time), int(time.utcoffset().total_seconds())]
        snapshots = [recorded[number] for number in range(len(times))]
        assert snapshots == sorted(snapshots), "the order is that of the planned times"
        local = [sum(pair) // 3600 for pair in snapshots]
        assert local == sorted(local), "the local hours must not go back"

        lines = []
        for i, (members, rules) in enumerate(histories):
            flags = [f"--keep-{name}={value}" for name, value in rules.items()]
            answer = restic("forget", "-n", "--json", "--group-by", "", "--tag", f"h{i}", *flags)
            [group] = json.loads(answer)
            kept = []
            for reason in group["reasons"]:
                kept.append([members.index(number_of(reason["snapshot"])), letters(reason["matches"])])
            assert len(kept) == len(group["keep"]) and len(kept) + len(group["remove"] or []) == len(members)
            text = " ".join(f"{name}={value}" for name, value in rules.items())
            lines.append(json.dumps({"rules": text, "versions": members, "kept": sorted(kept)}, separators=(",", ":")))

    head = json.dumps({"restic": version, "snapshots": snapshots}, separators=(",", ":"))[:-1]
    output.write_text(head + ',"histories":[\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()

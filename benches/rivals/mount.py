#!/usr/bin/env python3
"""The mount beside the native directory of the same disk, and beside the mounts of peers.

Each figure is measured on both sides in one run, as root, on an idle machine; a ratio above 1 is faster than native.
Needs fio, sqlite3, postgresql, mariadb, git, and the data sets (data.py). One JSON line a figure goes to --out.
"""
import argparse, json, os, random, shutil, sqlite3, statistics, subprocess, sys, tempfile, time
from pathlib import Path

PG = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), Path("/usr/bin"))


def run(*cmd, **kw):
    kw.setdefault("check", True)
    kw.setdefault("stdout", subprocess.PIPE)
    kw.setdefault("text", True)
    return subprocess.run([str(c) for c in cmd], **kw)


def cold():
    run("sync")
    Path("/proc/sys/vm/drop_caches").write_text("3")


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(n, work, before=lambda: None):
    took = []
    for _ in range(n):
        before()
        took.append(timed(work))
    return statistics.median(took)


class Bench:
    def __init__(self, args):
        self.dvc, self.work, self.out = args.dvc, Path(args.work), open(args.out, "a")
        self.runs, self.only = args.runs, args.only
        self.work.mkdir(parents=True, exist_ok=True)

    def tell(self, group, name, native, mount, unit="s", better="less", **more):
        """One figure; the ratio is the mount's speed to the native one's."""
        ratio = None
        if native and mount:
            ratio = native / mount if better == "less" else mount / native
        row = dict(group=group, name=name, native=native, mount=mount, unit=unit, ratio=ratio, **more)
        self.out.write(json.dumps(row) + "\n")
        self.out.flush()
        shown = f"{ratio:.2f}" if ratio else "-"
        print(f"{group:12} {name:34} native {native!s:>22.9} mount {mount!s:>22.9} {unit:5} ratio {shown}", flush=True)

    def repo(self, name, source):
        repo = self.work / f"repo-{name}"
        if not repo.exists():
            run(self.dvc, "init", "--repo", repo, "-b", "main")
            run(self.dvc, "--repo", repo, "-C", source, "commit", "-q", "-b", "main", "-m", name)
        return repo

    def mount(self, repo, name, *how, rev="main"):
        at = self.work / f"mnt-{name}"
        at.mkdir(exist_ok=True)
        run(self.dvc, "--repo", repo, "mount", *how, rev, at)
        return at

    def umount(self, at, discard=True):
        run(self.dvc, "umount", *(["--discard"] if discard else []), at)


def fio(path, *how):
    base = ["--name=x", f"--filename={path}", "--output-format=json", "--thread", "--ioengine=psync", "--norandommap"]
    job = json.loads(run("fio", *base, *how).stdout)["jobs"][0]
    side = job["write"] if job["write"]["total_ios"] else job["read"]
    return side["iops"], side["bw_bytes"], side["clat_ns"]["percentile"]["99.000000"] / 1e6


def plain(b):
    """A local repository, nothing brought: random reads, one large file, many small ones, the whole tree."""
    src = b.work / "one"
    if not src.exists():
        src.mkdir()
        run("dd", "if=/dev/urandom", f"of={src}/noise", "bs=1M", "count=1024", "status=none")
        # A database's pages: half full.
        page = lambda n: (b"%08d" % n) + os.urandom(8000) + bytes(8376)
        with open(src / "pages", "wb") as f:
            f.write(b"SQLite format 3\0".ljust(16384, b"1"))
            for n in range(65535):
                f.write(page(n))
    repo = b.repo("one", src)
    for file in ("noise", "pages"):
        for how in (1, 4):
            cold()
            at = b.mount(repo, "one", "--ro")
            how_fio = ["--rw=randread", "--bs=4k", f"--numjobs={how}", "--group_reporting", "--runtime=8", "--time_based"]
            iops, _, p99 = fio(at / file, *how_fio)
            b.umount(at, False)
            cold()
            native, _, _ = fio(src / file, *how_fio)
            b.tell("plain", f"random 4k cold {file} x{how}", native, iops, "1/s", "more", p99_ms=p99)
        cold()
        at = b.mount(repo, "one", "--ro")
        cat = lambda root: timed(lambda: run("cat", root / file, stdout=subprocess.DEVNULL))
        took = cat(at)
        b.umount(at, False)
        cold()
        b.tell("plain", f"cat 1 GiB {file}", cat(src), took)


def tree(b, tree):
    """170,000 files: find, small reads, stat, cp -a."""
    repo = b.repo("tree", tree)
    find = lambda root: run("find", root, stdout=subprocess.DEVNULL)
    at = b.mount(repo, "tree", "--ro")
    cold()
    took = timed(lambda: find(at))
    cold()
    b.tell("tree", "find cold", timed(lambda: find(tree)), took)
    b.tell("tree", "find warm", median(3, lambda: find(tree)), median(3, lambda: find(at)))
    names = [p for p in run("find", ".", "-type", "f", "-size", "-16k", cwd=tree).stdout.split("\n") if p]
    names = sorted(random.Random(7).sample(names, 3400))
    read = lambda root: [open(os.path.join(root, n), "rb").read() for n in names]
    b.umount(at, False)
    at = b.mount(repo, "tree", "--ro")
    cold()
    took = timed(lambda: read(at))
    cold()
    b.tell("tree", "read 3,400 small, cold", timed(lambda: read(tree)), took)
    b.tell("tree", "read 3,400 small, warm", median(3, lambda: read(tree)), median(3, lambda: read(at)))
    stat = lambda root: [os.stat(os.path.join(root, n)) for n in names]
    b.tell("tree", "stat 3,400, warm", median(5, lambda: stat(tree)), median(5, lambda: stat(at)))
    b.umount(at, False)
    into = b.work / "copy"
    for name, copy in (
        ("cp -a", lambda: run("cp", "-a", at, into)),
        ("checkout", lambda: run(b.dvc, "--repo", repo, "checkout", "-q", "main", "--into", into)),
        ("cp -a native", lambda: run("cp", "-a", tree, into)),
    ):
        at = b.mount(repo, "tree", "--ro")
        shutil.rmtree(into, ignore_errors=True)
        cold()
        took = timed(copy)
        b.tell("tree", name, None, took)
        b.umount(at, False)
    shutil.rmtree(into, ignore_errors=True)
    pid = None


def small(b):
    """Names: create, rename, unlink, git status, in a directory of the mount and in a native one."""
    src = b.work / "empty"
    src.mkdir(exist_ok=True)
    (src / "x").write_text("x")
    repo = b.repo("empty", src)
    at = b.mount(repo, "small")
    native = b.work / "native-small"
    shutil.rmtree(native, ignore_errors=True)
    native.mkdir()
    n = 5000

    def create(root):
        for i in range(n):
            with open(f"{root}/f{i}", "wb") as f:
                f.write(b"x" * 1000)

    steps = [
        ("create 5,000 of 1 kB", create),
        ("open+read 5,000", lambda root: [open(f"{root}/f{i}", "rb").read() for i in range(n)]),
        ("stat 5,000", lambda root: [os.stat(f"{root}/f{i}") for i in range(n)]),
        ("rename 5,000", lambda root: [os.rename(f"{root}/f{i}", f"{root}/g{i}") for i in range(n)]),
        ("unlink 5,000", lambda root: [os.unlink(f"{root}/g{i}") for i in range(n)]),
    ]
    for name, step in steps:
        (a, c) = timed(lambda: step(native)), timed(lambda: step(at))
        b.tell("small", name, a, c)
    for root in (native, at):
        run("git", "init", "-q", root / "git")
        for i in range(2000):
            d = root / "git" / f"d{i % 50}"
            d.mkdir(exist_ok=True)
            (d / f"f{i}").write_text(str(i) * 50)
        run("git", "-C", root / "git", "add", ".")
    status = lambda root: run("git", "-C", root / "git", "status", "-s")
    b.tell("small", "git status, 2,000 files", median(5, lambda: status(native)), median(5, lambda: status(at)))
    b.umount(at)
    shutil.rmtree(native)


def data(b, modes=("P", "W")):
    """Files that were brought whole: reads, writes, SQLite, in both modes."""
    src = b.work / "data"
    if not src.exists():
        src.mkdir()
        run("dd", "if=/dev/urandom", f"of={src}/noise", "bs=1M", "count=1024", "status=none")
        db = sqlite3.connect(src / "points.db")
        db.execute("create table t (k integer primary key, v blob)")
        with db:
            db.executemany("insert into t values (?, ?)", ((i, os.urandom(200)) for i in range(1_000_000)))
        db.close()
    repo = b.repo("data", src)
    native = b.work / "native-data"
    for mode in modes:
        shutil.rmtree(native, ignore_errors=True)
        run("cp", "-a", src, native)
        at = b.mount(repo, "data", "--hydrate", "all", "--wait-hydrated", *(["--live"] if mode == "W" else []))
        group = f"data {mode}"

        def both(name, work, unit="s", better="less", before=cold):
            sides = []
            for root in (native, at):
                got = []
                for _ in range(b.runs):
                    before()
                    got.append(work(root))
                sides.append(statistics.median(got))
            b.tell(group, name, *sides, unit, better)

        cat = lambda root: timed(lambda: run("cat", root / "noise", stdout=subprocess.DEVNULL))
        both("sequential read cold", cat)
        both("sequential read warm", cat, before=lambda: None)
        secs = ["--runtime=6", "--time_based"]
        both("random 4k cold", lambda r: fio(r / "noise", "--rw=randread", "--bs=4k", *secs)[0], "1/s", "more")
        both("random 4k O_DIRECT", lambda r: fio(r / "noise", "--rw=randread", "--bs=4k", "--direct=1", *secs)[0], "1/s", "more")
        write = ["--rw=randwrite", "--bs=4k", "--end_fsync=1", "--number_ios=60000"]
        both("buffered 4k writes, fsync at end", lambda r: fio(r / "noise", *write)[0], "1/s", "more")

        def points(root):
            db = sqlite3.connect(root / "points.db")
            rng = random.Random(5)
            keys = [rng.randrange(1_000_000) for _ in range(40_000)]
            took = timed(lambda: [db.execute("select v from t where k = ?", (k,)).fetchone() for k in keys])
            db.close()
            return took

        def bulk(root):
            path = root / "bulk.db"
            db = sqlite3.connect(path)
            db.execute("create table t (k integer primary key, v blob)")

            def insert():
                with db:
                    db.executemany("insert into t values (?, ?)", ((i, b"x" * 200) for i in range(300_000)))

            took = timed(insert)
            db.close()
            path.unlink()
            return took

        def wal(root, sync="normal"):
            path = root / "wal.db"
            db = sqlite3.connect(path, isolation_level=None)
            db.execute("pragma journal_mode = wal")
            db.execute(f"pragma synchronous = {sync}")
            db.execute("create table t (k integer primary key, v blob)")
            took = timed(lambda: [db.execute("insert into t values (?, ?)", (i, b"x" * 100)) for i in range(20_000)])
            db.close()
            path.unlink()
            return took

        both("SQLite point select", points)
        both("SQLite bulk insert", bulk)
        both("SQLite WAL insert, normal", wal)
        both("SQLite WAL insert, full, 2,000", lambda r: full(r))
        b.umount(at)
    shutil.rmtree(native, ignore_errors=True)


def full(root):
    path = root / "full.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("pragma synchronous = full")
    db.execute("create table t (k integer primary key, v blob)")
    took = timed(lambda: [db.execute("insert into t values (?, ?)", (i, b"x" * 100)) for i in range(2_000)])
    db.close()
    path.unlink()
    return took


def postgres(b):
    """pgbench: select (both modes) and TPC-B (mode W)."""
    src = b.work / "pg"
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    os.chmod(b.work, 0o755)

    def server(root, work):
        sock = Path(tempfile.mkdtemp())
        shutil.chown(sock, "postgres", "postgres")
        opts = ["-c", f"unix_socket_directories={sock}", "-c", "listen_addresses=", "-c", "shared_buffers=64MB"]
        p = subprocess.Popen([*user, str(PG / "postgres"), "-D", str(root), *opts], stderr=subprocess.DEVNULL, cwd="/")
        try:
            while run(PG / "pg_isready", "-h", sock, check=False).returncode:
                time.sleep(0.1)
            return work(sock)
        finally:
            p.send_signal(2)
            p.wait()
            shutil.rmtree(sock)

    bench = lambda sock, *how: run("pgbench", "-h", sock, "-U", "postgres", *how, "postgres", stderr=subprocess.STDOUT).stdout
    tps = lambda text: float(next(l for l in text.split("\n") if l.startswith("tps")).split()[2])
    if not src.exists():
        src.mkdir()
        shutil.chown(src, "postgres", "postgres")
        os.chmod(src, 0o700)
        run(*user, PG / "initdb", "-D", src, "--data-checksums", cwd="/")
        server(src, lambda sock: bench(sock, "-i", "-s", "50", "-q"))
    repo = b.repo("pg", src)
    native = b.work / "native-pg"
    for mode in ("P", "W"):
        shutil.rmtree(native, ignore_errors=True)
        run("cp", "-a", src, native)
        how = ["--live"] if mode == "W" else []
        at = b.mount(repo, "pg", "--allow-other", "--hydrate", "all", "--wait-hydrated", *how)
        sides = {}
        for root in (native, at):
            def work(sock):
                bench(sock, "-S", "-T", "3", "-c", "4")
                select = [tps(bench(sock, "-S", "-T", "8", "-c", "4")) for _ in range(b.runs)]
                write = [tps(bench(sock, "-T", "8", "-c", "4")) for _ in range(b.runs)]
                return statistics.median(select), statistics.median(write)
            cold()
            sides[root] = server(root, work)
        b.tell(f"data {mode}", "pgbench select", sides[native][0], sides[at][0], "tps", "more")
        b.tell(f"data {mode}", "pgbench TPC-B", sides[native][1], sides[at][1], "tps", "more")
        b.umount(at)
    shutil.rmtree(native, ignore_errors=True)


def mariadb(b):
    """One-row inserts, each a transaction (mode W)."""
    src = b.work / "maria"
    if not src.exists():
        src.mkdir()
        run("mariadb-install-db", f"--datadir={src}", "--auth-root-authentication-method=normal", "--skip-test-db", "--user=root")

    def inserts(root):
        sock = tempfile.mktemp()
        p = subprocess.Popen(["mariadbd", "--no-defaults", f"--datadir={root}", f"--socket={sock}", "--skip-networking", "--user=root"],
                             stderr=subprocess.DEVNULL)
        sql = lambda text: run("mariadb", "--no-defaults", f"--socket={sock}", "-u", "root", input=text)
        try:
            while subprocess.run(["mariadb-admin", "--no-defaults", f"--socket={sock}", "-u", "root", "ping"], capture_output=True).returncode:
                time.sleep(0.1)
            sql("create database if not exists b; create table b.t (k int auto_increment primary key, v varchar(200))")
            text = "use b;\n" + "insert into t (v) values (repeat('x', 100));\n" * 3000
            took = statistics.median(timed(lambda: sql(text)) for _ in range(b.runs))
            sql("drop database b")
            return took
        finally:
            p.terminate()
            p.wait()

    repo = b.repo("maria", src)
    native = b.work / "native-maria"
    shutil.rmtree(native, ignore_errors=True)
    run("cp", "-a", src, native)
    at = b.mount(repo, "maria", "--live", "--hydrate", "all", "--wait-hydrated")
    b.tell("data W", "MariaDB one-row inserts, 3,000", inserts(native), inserts(at))
    b.umount(at)
    shutil.rmtree(native)


def commit(b):
    """Random writes to 1 % of a 10 GiB file, then a commit."""
    src = b.work / "ten"
    if not src.exists():
        src.mkdir()
        run("dd", "if=/dev/urandom", f"of={src}/file", "bs=1M", "count=10240", "status=none")
    repo = b.repo("ten", src)
    shutil.rmtree(src)
    src.mkdir()
    at = b.mount(repo, "ten")
    fio(at / "file", "--rw=randwrite", "--bs=4k", f"--number_ios={26214}", "--end_fsync=1")
    stats = lambda: json.loads(run(b.dvc, "mount", "--stats", at, "--json").stdout)
    before = run("dvc" if False else b.dvc, "-C", at, "status", "-q").stdout
    took = timed(lambda: run(b.dvc, "-C", at, "commit", "-q", "-m", "x"))
    b.tell("commit", "1 % of 10 GiB in 4 KiB writes", None, took)
    fio(at / "file", "--rw=write", "--bs=1M", "--offset=3g", "--size=100m", "--end_fsync=1")
    took = timed(lambda: run(b.dvc, "-C", at, "commit", "-q", "-m", "y"))
    b.tell("commit", "1 % of 10 GiB in one run", None, took)
    b.umount(at)


def memory(b, tree):
    """The process of a mount after a million files were looked at: the tree six times over."""
    repo = b.work / "repo-million"
    if not repo.exists():
        run(b.dvc, "init", "--repo", repo, "-b", "main")
        for n in range(6):
            run(b.dvc, "--repo", repo, "-C", tree, "commit", "-q", "-b", f"b{n}", "-m", "x")
    at = b.work / "mnt-million"
    at.mkdir(exist_ok=True)
    run(b.dvc, "--repo", repo, "mount", "--all", at)
    pid = json.loads(run(b.dvc, "mount", "--stats", at, "--json").stdout)["pid"]
    count = sum(1 for n in range(6) for _ in map(lambda e: e, run("find", at / f"b{n}" / "v1", "-newermt", "1970-01-01").stdout.splitlines()))
    status = Path(f"/proc/{pid}/status").read_text()
    rss = {l.split(":")[0]: int(l.split()[1]) // 1024 for l in status.splitlines() if l.startswith(("VmRSS", "VmHWM"))}
    b.tell("memory", f"{count} files looked at", None, rss["VmRSS"], "MiB", peak=rss["VmHWM"])
    b.umount(at, False)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--dvc", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--tree", help="a directory of many files")
    p.add_argument("--out", default="mount.jsonl")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("only", nargs="*")
    args = p.parse_args()
    b = Bench(args)
    groups = dict(plain=lambda: plain(b), tree=lambda: tree(b, Path(args.tree)), small=lambda: small(b), data=lambda: data(b),
                  postgres=lambda: postgres(b), mariadb=lambda: mariadb(b), commit=lambda: commit(b),
                  memory=lambda: memory(b, Path(args.tree)))
    for name in args.only or groups:
        groups[name]()


if __name__ == "__main__":
    main()

# The measurements of mount.py, one function per group. In: its Bench (directories, tools, `compare`). Out: figures of
# the mount, of a native directory and of peers. A figure is a time in seconds unless it names another unit.

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import measure
from remotes import Program, free_port

GROUPS = ("first", "terabyte", "plain", "far", "tree", "small", "data", "postgres", "mariadb", "commit", "memory")
PG = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path("/usr/bin"))
PEERS = ("restic", "borg", "rclone")
PEER_LIMIT = 300
PROJECT = Path(__file__).resolve().parents[2]


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cat(path):
    return timed(lambda: subprocess.run(["cat", str(path)], check=True, stdout=subprocess.DEVNULL))


def fio(b, path, *how):
    # fio separates file names by colons.
    argv = ["fio", "--name=x", "--filename=" + str(path).replace(":", r"\:"), "--output-format=json", "--thread", "--ioengine=psync", "--norandommap", "--group_reporting"]
    job = json.loads(b.run(*argv, *how))["jobs"][0]
    side = job["write"] if job["write"]["total_ios"] else job["read"]
    return {"value": side["iops"], "p99_ms": side["clat_ns"]["percentile"]["99.000000"] / 1e6}


def noise(b, path, mib):
    b.run("dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={max(1, mib // b.scale)}", "status=none")


def from_mount(b, repo, work):
    """Returns a side that mounts for each run, so that the process has no caches either."""
    def side():
        with b.mounted(repo, "--ro") as at:
            return work(at)
    return side


def everywhere(b, native, repo, work, peers):
    """Returns the sides of a figure: native directory, new mount, new mounts of the peers."""
    def from_peer(tool):
        def side():
            with b.peer_mounted(tool) as root:
                return work(root)
        return side
    return {"native": lambda: work(native), "mount": from_mount(b, repo, work), **{name: from_peer(tool) for name, tool in peers.items()}}


# -- lazy clones ------------------------------------------------------------------------------------------------------


class Store:
    """A server behind a slow link, and new lazy clones of it. For each range, moto (S3) reads the whole object, which
    is part of every figure; rclone's WebDAV server does not."""

    def __init__(self, b, kind, delay, rate=None):
        self.b, self.kind = b, kind
        if kind == "s3":
            self.port = int(b.servers.s3("direct").rsplit(":", 1)[1])
        else:
            self.port, place = free_port(), b.work / "scratch-store"
            place.mkdir()
            b.servers.running.append(Program(["rclone", "serve", "webdav", "--config", "/dev/null", "--addr", f"127.0.0.1:{self.port}", str(place)], self.port))
        self.far = b.servers.slow(self.port, delay, rate)

    def url(self, port, name):
        return f"s3://bucket/{name}?endpoint=http://127.0.0.1:{port}" if self.kind == "s3" else f"webdav://127.0.0.1:{port}/{name}"

    def push(self, repo, name):
        self.b.run(self.b.dvc, "--repo", repo, "push", self.url(self.port, name), "-q")

    def clone(self, name):
        """Creates a lazy clone with empty caches."""
        clone = self.b.work / f"scratch-lazy-{name}"
        for path in (clone, self.b.work / "home"):
            shutil.rmtree(path, ignore_errors=True)
        self.b.run(self.b.dvc, "clone", "-q", "--lazy", self.url(self.far, name), clone)
        return clone

    def rclone(self, port, path):
        if self.kind == "s3":
            return f":s3,provider=Other,access_key_id=key,secret_access_key=secret,endpoint='http://127.0.0.1:{port}':bucket/{path}"
        return f":webdav,vendor=other,url='http://127.0.0.1:{port}':{path}"


def rclone(*words):
    return ["rclone", "--config", "/dev/null", "--s3-no-check-bucket", *words]


def first(b):
    """Time from `dvc mount` of a lazy clone, 20 ms from its store, to the first row that MariaDB finds by key."""
    b.sets.ensure("db", (1,))
    data = Path(b.sets.version("db", 1))
    key = int(data.with_name("db1.params").read_text().split("rows=")[1]) * 3 // 5
    native = b.work / "native-db"
    b.run("cp", "-a", data, native)
    repo = b.repo("db", data)

    def row(root, start):
        with mariadbd(b, root, "--innodb-log-file-size=96M") as sock:
            ask = ["mariadb", "--no-defaults", "-N", "-B", "-S", sock, "-u", "root", "-e", f"select c from sbtest.sbtest1 where id = {key}"]
            until(lambda: subprocess.run(ask, capture_output=True).stdout)
            return time.perf_counter() - start

    def lazy(store):
        clone = store.clone("db")
        measure.drop_caches()
        start = time.perf_counter()
        with b.mounted(clone, "--live") as at:
            mount = time.perf_counter() - start
            took = row(at, start)
            said = b.stats(at)["stats"]
        return {"value": took, "mount_s": mount, "fetched_mb": said["fetched_bytes"] / 1e6, "requests": said["requests"]}

    def direct():
        measure.drop_caches()
        return row(native, time.perf_counter())

    for kind in ("s3", "webdav"):
        store = Store(b, kind, "10")
        store.push(repo, "db")
        b.compare("first", f"first row of MariaDB, {kind}", {"native": direct, "mount": lambda: lazy(store)}, before=None)
        b.servers.end()


def terabyte(b):
    """Mounts and lists a made-up repository of 1 TiB (16.8 million chunks, an index of 773 MB)."""
    rows = 16_777_216 // (b.scale * b.scale)
    repo = b.work / "repo-terabyte"
    if not repo.exists():
        part, few = b.work / "repo-terabyte.part", b.source("few", lambda path: shutil.copytree(PROJECT / "docs", path / "docs"))
        shutil.rmtree(part, ignore_errors=True)
        b.run("cargo", "bench", "-q", "--locked", "--bench", "many_chunks", "--", rows, few, part, cwd=PROJECT)
        part.rename(repo)

    def mount(repo):
        start = time.perf_counter()
        with b.mounted(repo) as at:
            took = time.perf_counter() - start
            os.listdir(at)
            return {"value": took, "listed_s": time.perf_counter() - start}

    b.compare("terabyte", "mount, local repository", {"mount": lambda: mount(repo)})
    store = Store(b, "s3", "10")
    # The repository cannot be pushed without packs, so its files are copied to the store.
    for part in ("packs", "index", "refs", "format"):
        b.run(*rclone("copyto"), repo / part, store.rclone(store.port, f"terabyte/{part}"))

    def lazy():
        clone = store.clone("terabyte")
        measure.drop_caches()
        return mount(clone)

    b.compare("terabyte", "mount, lazy clone", {"mount": lazy}, before=None)


def far(b):
    """Reads a file in order through a link with 30 ms and 40 MB/s per connection, compared with rclone."""
    one = ones(b)
    src = b.source("noise", lambda path: os.link(one / "noise", path / "noise"))
    repo = b.repo("noise", src)
    store, scratch, at = Store(b, "webdav", "15", "40"), b.work / "scratch-down", b.work / "mnt-rclone"
    store.push(repo, "far")

    def lazy():
        clone = store.clone("far")
        measure.drop_caches()
        with b.mounted(clone, "--ro") as root:
            return cat(root / "noise")

    def copy():
        shutil.rmtree(scratch, ignore_errors=True)
        measure.drop_caches()
        return timed(lambda: b.run(*rclone("copy", "--transfers", "16", "--checkers", "16"), store.rclone(store.far, "far/packs"), scratch))

    def mount():
        measure.drop_caches()
        with b.served(rclone("mount", "--read-only", store.rclone(store.far, "raw"), str(at)), at):
            return cat(at / "noise")

    sides = {"mount": lazy}
    if "rclone" in b.options.tools:
        b.run(*rclone("copyto"), src / "noise", store.rclone(store.port, "raw/noise"))
        sides |= {"rclone copy": copy, "rclone": mount}
    b.compare("far", "cat of 1 GiB, lazy", sides, before=None, once=("rclone",))


# -- local, not hydrated ----------------------------------------------------------------------------------------------


def ones(b):
    def fill(path):
        noise(b, path / "noise", 1024)
        # Like pages of a database, half of each page is empty.
        with open(path / "pages", "wb") as f:
            f.write(b"SQLite format 3\0".ljust(16384, b"1"))
            for n in range((65536 // b.scale) - 1):
                f.write((b"%08d" % n) + os.urandom(8000) + bytes(8376))
    return b.source("one", fill)


def plain(b):
    """A local repository without hydration: random reads and one large file."""
    src = ones(b)
    repo, peers = b.repo("one", src), b.peers("one", src)
    for file in ("noise", "pages"):
        for jobs in (1, 4):
            how = ["--rw=randread", "--bs=4k", f"--numjobs={jobs}", "--runtime=4", "--time_based"]
            sides = everywhere(b, src, repo, lambda root: fio(b, root / file, *how), peers if jobs == 1 else {})
            b.compare("plain", f"random 4k cold {file} x{jobs}", sides, "1/s", "more", once=PEERS)
        b.compare("plain", f"cat 1 GiB {file}", everywhere(b, src, repo, lambda root: cat(root / file), peers), once=PEERS)


def tree(b):
    """A tree of 170,000 files: find, small reads, stat, and a copy of the tree."""
    b.sets.ensure("tree", (1,))
    src = Path(b.sets.version("tree", 1))
    repo, peers = b.repo("tree", src), b.peers("tree", src)
    find = lambda root: timed(lambda: subprocess.run(["find", str(root)], check=True, stdout=subprocess.DEVNULL, timeout=PEER_LIMIT))
    names = [p for p in b.run("find", ".", "-type", "f", "-size", "-16k", cwd=src).split("\n") if p]
    names = sorted(random.Random(7).sample(names, min(3400, len(names))))

    def read(root):
        def work():
            for name in names:
                with open(os.path.join(root, name), "rb") as f:
                    f.read()
        return timed(work)

    b.compare("tree", "find, cold", everywhere(b, src, repo, find, peers), once=PEERS)
    b.compare("tree", "read 3,400 small, cold", everywhere(b, src, repo, read, peers), once=PEERS)
    with b.mounted(repo, "--ro") as at:
        stat = lambda root: timed(lambda: [os.stat(os.path.join(root, name)) for name in names])
        for name, work in (("find, warm", find), ("read 3,400 small, warm", read), ("stat 3,400, warm", stat)):
            b.compare("tree", name, {"native": lambda: work(src), "mount": lambda: work(at)}, before=None, warmup=True)
    copies(b, src, repo, peers)


def copies(b, src, repo, peers):
    into, took = b.work / "scratch-copy", []

    def copy(root, limit=None):
        return timed(lambda: subprocess.run(["cp", "-a", f"{root}/.", into], check=True, timeout=limit, stderr=subprocess.DEVNULL))

    def before():
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        measure.drop_caches()

    def mount():
        took.append(from_mount(b, repo, copy)())
        return took[-1]

    def peer(tool):
        # The limit is long enough to show that the copy takes more than ten times as long.
        limit = min(PEER_LIMIT, 12 * min(took) + 5)
        with b.peer_mounted(tool) as root:
            try:
                return copy(root, limit)
            except subprocess.TimeoutExpired:
                return {"over": limit}

    checkout = lambda: timed(lambda: b.run(b.dvc, "--repo", repo, "checkout", "-q", "main", "--into", into))
    sides = {"mount": mount, "checkout": checkout, "native": lambda: copy(src)}
    b.compare("tree", "cp -a of all, cold", sides | {name: lambda tool=tool: peer(tool) for name, tool in peers.items()},
              before=before, once=("native", *PEERS))


# -- names ------------------------------------------------------------------------------------------------------------


def small(b):
    """Operations on names: create, read, stat, rename, unlink, and git status, in the mount and a native directory."""
    src = b.source("empty", lambda path: (path / "x").write_text("x"))
    native, n = b.work / "native-small", 5000 // b.scale

    def create(root):
        for i in range(n):
            with open(f"{root}/f{i}", "wb") as f:
                f.write(b"x" * 1000)

    def read(root):
        for i in range(n):
            with open(f"{root}/f{i}", "rb") as f:
                f.read()

    steps = {"create": create, "open+read": read,
             "stat": lambda root: [os.stat(f"{root}/f{i}") for i in range(n)],
             "rename": lambda root: [os.rename(f"{root}/f{i}", f"{root}/g{i}") for i in range(n)],
             "unlink": lambda root: [os.unlink(f"{root}/g{i}") for i in range(n)]}

    def git(root):
        b.run("git", "init", "-q", root / "git")
        for i in range(2000):
            path = root / "git" / f"d{i % 50}" / f"f{i}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(i) * 50)
        b.run("git", "-C", root / "git", "add", ".")

    with b.mounted(b.repo("empty", src)) as at:
        native.mkdir()
        # Each run executes all steps, so that the figures of a run belong together.
        samples = {step: {"native": [], "mount": []} for step in steps}
        busy = 0.0
        for _ in range(b.runs):
            for step, work in steps.items():
                for side, root in (("native", native), ("mount", at)):
                    busy = max(busy, measure.wait_for_quiet(b.options.wait_quiet, 0.4))
                    samples[step][side].append({"value": timed(lambda: work(root))})
        for step in steps:
            b.record("small", f"{step}, 5,000 files", samples[step], busy=busy)
        for root in (native, at):
            git(root)
        status = lambda root: timed(lambda: b.run("git", "-C", root / "git", "status", "-s"))
        b.compare("small", "git status, 2,000 files", {"native": lambda: status(native), "mount": lambda: status(at)}, before=None, warmup=True)


# -- hydrated: files and databases ------------------------------------------------------------------------------------

HYDRATED = {"P": ("--hydrate", "all", "--wait-hydrated"), "W": ("--hydrate", "all", "--wait-hydrated", "--live")}


@contextlib.contextmanager
def both(b, name, src, mode, *how):
    """A native copy and a mount of a directory."""
    native, repo = b.work / f"native-{name}", b.repo(name, src)
    b.run("cp", "-a", src, native)
    try:
        with b.mounted(repo, *HYDRATED[mode], *how) as at:
            said, expected = b.stats(at), {"P": "passthrough", "W": "writeback"}[mode]
            if said["mode"] != expected:
                raise RuntimeError(f"the mount is {said['mode']}, not {expected}")
            brought, whole = said["stats"]["hydrated_bytes"], measure.tree_bytes(src)
            if brought < 0.9 * whole:
                raise RuntimeError(f"only {brought} of {whole} bytes were brought")
            yield native, at
    finally:
        shutil.rmtree(native)


def rows(n, size):
    return ((i, b"x" * size) for i in range(n))


def table(path, sync=None):
    db = sqlite3.connect(path, isolation_level=None)
    if sync:
        db.execute("pragma journal_mode = wal")
        db.execute(f"pragma synchronous = {sync}")
    db.execute("create table t (k integer primary key, v blob)")
    return db


def data(b):
    """Hydrated files: reads, writes and SQLite, in both modes."""
    points_rows = 1_000_000 // b.scale

    def fill(path):
        noise(b, path / "noise", 1024)
        db = table(path / "points.db")
        db.execute("begin")
        db.executemany("insert into t values (?, ?)", ((i, os.urandom(200)) for i in range(points_rows)))
        db.execute("commit")
        db.close()

    src = b.source("data", fill)

    def points(root):
        rng = random.Random(5)
        db, keys = sqlite3.connect(root / "points.db"), [rng.randrange(points_rows) for _ in range(40_000 // b.scale)]
        took = timed(lambda: [db.execute("select v from t where k = ?", (k,)).fetchone() for k in keys])
        db.close()
        return took

    def fresh(root, insert, sync=None):
        path = root / "fresh.db"
        db = table(path, sync)
        took = timed(lambda: insert(db))
        db.close()
        path.unlink()
        return took

    def bulk(db):
        db.execute("begin")
        db.executemany("insert into t values (?, ?)", rows(300_000 // b.scale, 200))
        db.execute("commit")

    single = lambda n: lambda db: [db.execute("insert into t values (?, ?)", row) for row in rows(n // b.scale, 100)]
    random_read = ["--rw=randread", "--bs=4k", "--runtime=4", "--time_based"]
    write = ["--rw=randwrite", "--bs=4k", "--end_fsync=1", f"--number_ios={60000 // b.scale}"]
    for mode in ("P", "W"):
        with both(b, "data", src, mode) as (native, at):
            def compare(name, work, unit="s", better="less", **how):
                b.compare(f"data {mode}", name, {"native": lambda: work(native), "mount": lambda: work(at)}, unit, better, **how)

            warm = {"before": None, "warmup": True}
            compare("sequential read, cold", lambda root: cat(root / "noise"))
            compare("sequential read, warm", lambda root: cat(root / "noise"), **warm)
            compare("random 4k, cold", lambda root: fio(b, root / "noise", *random_read), "1/s", "more")
            compare("random 4k, O_DIRECT", lambda root: fio(b, root / "noise", *random_read, "--direct=1"), "1/s", "more")
            compare("SQLite point select, cold", points)
            compare("SQLite point select, warm", points, **warm)
            compare("SQLite bulk insert", lambda root: fresh(root, bulk))
            compare("SQLite WAL insert, normal", lambda root: fresh(root, single(20_000), "normal"))
            compare("SQLite WAL insert, full", lambda root: fresh(root, single(2_000), "full"))
            compare("buffered 4k writes, fsync at end", lambda root: fio(b, root / "noise", *write), "1/s", "more")


def postgres(b):
    """pgbench: select and TPC-B, in both modes. Each run of each side starts a server."""
    # PostgreSQL refuses to run as root. Its user gets the right to pass through directories of root.
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    seconds = "6" if b.scale == 1 else "1"

    def server(root, work):
        sock = Path(tempfile.mkdtemp())
        try:
            shutil.chown(sock, "postgres", "postgres")
            opts = ["-c", f"unix_socket_directories={sock}", "-c", "listen_addresses=", "-c", "shared_buffers=64MB"]
            with b.program([*user, PG / "postgres", "-D", root, *opts], cwd="/") as child:
                until(lambda: subprocess.run([PG / "pg_isready", "-q", "-h", sock], stderr=subprocess.DEVNULL).returncode == 0, child)
                try:
                    return work(sock)
                finally:
                    # Fast shutdown instead of smart.
                    child.send_signal(2)
                    child.wait(120)
        finally:
            shutil.rmtree(sock)

    bench = lambda sock, *how: b.run("pgbench", "-h", sock, "-U", "postgres", *how, "postgres")
    tps = lambda text: float(next(line for line in text.split("\n") if line.startswith("tps")).split()[2])

    def fill(path):
        shutil.chown(path, "postgres", "postgres")
        os.chmod(path, 0o700)
        b.run(*user, PG / "initdb", "-D", path, "--data-checksums", cwd="/")
        server(path, lambda sock: bench(sock, "-i", "-s", str(max(1, 50 // b.scale)), "-q"))

    src = b.source("pg", fill)

    def work(sock):
        bench(sock, "-S", "-T", "3", "-c", "4")
        return {"select": tps(bench(sock, "-S", "-T", seconds, "-c", "4")), "tpcb": tps(bench(sock, "-T", seconds, "-c", "4"))}

    for mode in ("P", "W"):
        with both(b, "pg", src, mode, "--allow-other") as (native, at):
            row = {"native": [], "mount": []}
            busy = 0.0
            for _ in range(b.runs):
                for side, root in (("native", native), ("mount", at)):
                    busy = max(busy, measure.wait_for_quiet(b.options.wait_quiet, 0.4))
                    measure.drop_caches()
                    row[side].append(server(root, work))
        for key, name in (("select", "pgbench select, warm"), ("tpcb", "pgbench TPC-B")):
            b.record(f"data {mode}", name, {side: [{"value": s[key]} for s in got] for side, got in row.items()}, "tps", "more", busy=busy)


@contextlib.contextmanager
def mariadbd(b, root, *how):
    """Runs a server on the data directory until the end of the block. Yields the name of its socket."""
    with tempfile.TemporaryDirectory() as place:
        sock = f"{place}/sock"
        argv = ["mariadbd", "--no-defaults", f"--datadir={root}", f"--socket={sock}", f"--pid-file={place}/pid", "--skip-networking",
                "--user=root", *how]
        with b.program(argv):
            yield sock


def until(found, child=None, seconds=120):
    """Waits until a condition is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (child and child.poll() is not None):
        if got := found():
            return got
        time.sleep(0.02)
    raise RuntimeError("the server does not answer")


def mariadb(b):
    """One-row inserts in MariaDB, each in a transaction (mode W)."""
    src = b.source("maria", lambda path: b.run("mariadb-install-db", "--no-defaults", f"--datadir={path}", "--auth-root-authentication-method=normal",
                                               "--skip-test-db", "--user=root"))
    text = "use b;\n" + "insert into t (v) values (repeat('x', 100));\n" * (3000 // b.scale)

    def inserts(sock):
        sql = lambda text: b.run("mariadb", "--no-defaults", f"--socket={sock}", "-u", "root", input=text)
        sql("create database b; create table b.t (k int auto_increment primary key, v varchar(200))")
        took = timed(lambda: sql(text))
        sql("drop database b")
        return took

    with both(b, "maria", src, "W") as (native, at), contextlib.ExitStack() as servers:
        # Both servers run all the time, because an idle server uses no processor time.
        socks = [servers.enter_context(mariadbd(b, root)) for root in (native, at)]
        for sock in socks:
            until(lambda: subprocess.run(["mariadb-admin", "--no-defaults", f"--socket={sock}", "-u", "root", "ping"], capture_output=True).returncode == 0)
        b.compare("data W", "MariaDB one-row inserts, 3,000", {"native": lambda: inserts(socks[0]), "mount": lambda: inserts(socks[1])}, before=None)


# -- commit, memory ---------------------------------------------------------------------------------------------------


def commit(b):
    """Random writes to 1 % of a file of 10 GiB without hydration, then a commit; and the same as one contiguous write."""
    repo = b.work / "repo-ten"
    if not repo.exists():
        src = b.work / "scratch-ten"
        shutil.rmtree(src, ignore_errors=True)
        src.mkdir()
        noise(b, src / "file", 10240)
        b.repo("ten", src)
        shutil.rmtree(src)

    def timed_commit(at):
        return timed(lambda: b.run(b.dvc, "-C", at, "commit", "-q", "-m", "x"))

    def work():
        with b.mounted(repo) as at:
            fio(b, at / "file", "--rw=randwrite", "--bs=4k", f"--number_ios={26214 // b.scale}", "--end_fsync=1", f"--randseed={time.time_ns() % 10**9}")
            spread = timed_commit(at)
            fio(b, at / "file", "--rw=write", "--bs=1M", f"--offset={3072 // b.scale}m", f"--size={102 // b.scale}m", "--end_fsync=1")
            return {"value": spread, "one_run_s": timed_commit(at)}

    b.compare("commit", "1 % of 10 GiB in 4 KiB writes", {"mount": work})


def memory(b):
    """Memory of a mount's process after a million files were visited: the tree six times."""
    b.sets.ensure("tree", (1,))
    branches = tuple(f"b{n}" for n in range(6))
    with b.mounted(b.repo("million", b.sets.version("tree", 1), branches), "--all", rev=None) as at:
        said = b.stats(at)
        count = sum(len(b.run("find", at / name / "v1", "-newermt", "1970-01-01", errors="replace").splitlines()) for name in branches)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{said['pid']}/status").read_text().splitlines())
        mib = lambda key: int(status[key].split()[0]) / 1024
        b.record("memory", "a million files looked at", {"mount": [{"value": mib("VmHWM"), "now": mib("VmRSS"), "files": count}]}, "MiB")

#!/usr/bin/env python3
# Measures containers on volumes of the plugin in a separate Docker engine: the time until MariaDB answers on a version
# of 2.5 GB at an S3 server (moto) 20 ms away, the data that it fetched, and the time of the plugin's calls.
# In: data sets (data.py creates them), dockerd, mariadbd, busybox. Out: a page for docs/ (--out). Needs root.

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
from data import Data
from remotes import KEYS, Servers

PROJECT = Path(__file__).resolve().parents[2]
DRIVER = "dvcbench"


class Engine:
    """dockerd with all its data below one directory."""

    def __init__(self, root):
        self.root, self.host = root, f"unix://{root}/sock"
        (root / "daemon.json").write_text("{}")
        places = [f"--{option}={root}/{name}" for option, name in (("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid"), ("config-file", "daemon.json"))]
        own = ["--host", self.host, "--bridge=none", "--iptables=false", "--ip-masq=false", "--exec-opt=native.cgroupdriver=cgroupfs",
               "--cgroup-parent=/dvcbench", "--containerd-namespace=dvcbench", "--containerd-plugins-namespace=dvcbench-plugins"]
        path = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin"
        self.child = subprocess.Popen(["dockerd", *places, *own], env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=open(root / "log", "w"))
        until(lambda: self.ask("version"))
        with tempfile.TemporaryDirectory() as image:
            os.mkdir(f"{image}/tmp")
            tar = subprocess.run(["tar", "-C", image, "-c", "."], capture_output=True, check=True).stdout
            subprocess.run(["docker", "import", "-", "empty"], env=self.env(), input=tar, check=True, capture_output=True)

    def env(self):
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": f"{self.root}/client"}

    def ask(self, *words):
        done = subprocess.run(["docker", *words], env=self.env(), capture_output=True, text=True)
        return done.stdout.strip() or "done" if done.returncode == 0 else None

    def run(self, *words):
        subprocess.run(["docker", *words], env=self.env(), check=True, stdout=subprocess.DEVNULL)

    def end(self):
        for container in (self.ask("ps", "-aq") or "").split():
            self.ask("rm", "-f", container)
        self.child.terminate()
        self.child.wait()


class Plugin:
    """`dvc serve --plugin` without any state."""

    def __init__(self, dvc, root, socket=None):
        # The socket is reused, because an engine remembers the address of a driver.
        self.root, self.socket, self.dvc = root, str(socket or root / "plugin.sock"), dvc
        self.spec = Path(f"/etc/docker/plugins/{DRIVER}.spec")
        self.spec.parent.mkdir(parents=True, exist_ok=True)
        self.spec.write_text(f"unix://{self.socket}")
        self.env = {**{k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}, **KEYS, "DVC_DATA_DIR": f"{root}/state",
                    "XDG_CACHE_HOME": f"{root}/cache", "DVC_AUTHOR": "bench <bench@example.org>"}
        self.child = subprocess.Popen([dvc, "serve", f"--plugin={self.socket}"], env=self.env, stderr=open(root / "plugin.log", "w"))
        until(lambda: os.path.exists(self.socket))

    def ask(self, verb, **question):
        """Returns the answer and its time in seconds, on a new connection as Docker does it."""
        connection = http.client.HTTPConnection("plugin")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        start = time.perf_counter()
        connection.request("POST", f"/VolumeDriver.{verb}", json.dumps(question))
        answer = json.loads(connection.getresponse().read())
        took = time.perf_counter() - start
        connection.close()
        if answer.get("Err"):
            raise RuntimeError(f"{verb}: {answer['Err']}")
        return answer, took

    def end(self):
        self.spec.unlink(missing_ok=True)
        self.child.terminate()
        self.child.wait()
        for name in subprocess.run([self.dvc, "volume", "ls", "-q"], env=self.env, capture_output=True, text=True).stdout.split():
            subprocess.run([self.dvc, "volume", "rm", "--no-trash", name], env=self.env, capture_output=True)


def until(found, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if got := found():
            return got
        time.sleep(0.02)
    raise RuntimeError("waited in vain")


def first_query(engine, volume, key, prepare):
    """Returns the seconds from the creation of the volume to the first row that MariaDB finds by primary key."""
    measure.wait_for_quiet(60)
    measure.drop_caches()
    start = time.perf_counter()
    prepare()
    system = [word for place in ("/usr", "/lib", "/lib64", "/etc") for word in ("-v", f"{place}:{place}:ro")]
    server = [shutil.which("mariadbd") or "/usr/sbin/mariadbd", "--no-defaults", "--user=root", "--datadir=/v", "--skip-networking", "--socket=/tmp/s",
              "--innodb-log-file-size=96M"]
    engine.run("run", "-d", "--name", "db", "-v", f"{volume}:/v", *system, "empty", *server)
    query = ["exec", "db", "mariadb", "--no-defaults", "-N", "-B", "-S", "/tmp/s", "-u", "root", "-e", f"select c from sbtest.sbtest1 where id = {key}"]
    until(lambda: engine.ask(*query))
    return time.perf_counter() - start


def queries(options, sets, root):
    data = Path(sets.version("db", 1))
    key = int(data.with_name("db1.params").read_text().split("rows=")[1]) * 3 // 5
    engine, servers, rows = Engine(root), Servers(options), {"volume from S3": [], "native": []}
    try:
        port = int(servers.s3("direct").rsplit(":", 1)[1])
        repo, env = root / "repo", {**{k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}, **KEYS, "XDG_CACHE_HOME": str(root / "first-cache")}
        for words in (["init", "--repo", repo, "-b", "main"], ["--repo", repo, "-C", data, "commit", "-q", "-b", "main", "-m", "db"],
                      ["--repo", repo, "push", f"s3://bucket/db?endpoint=http://127.0.0.1:{port}", "-q"]):
            subprocess.run([options.dvc, *words], env=env, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(repo)
        far = servers.slow(port, "10")
        for n in range(options.runs):
            place = root / f"machine{n}"
            place.mkdir()
            plugin = Plugin(options.dvc, place, root / "plugin.sock")
            try:
                url = f"s3://bucket/db?endpoint=http://127.0.0.1:{far}"
                took = first_query(engine, "far", key, lambda: engine.run("volume", "create", "-d", DRIVER, "-o", f"repo={url}", "-o", "rev=main", "far"))
                status = plugin.ask("Get", Name="far")[0]["Volume"]["Status"]
                rows["volume from S3"].append((took, status["fetched_bytes"] / 1e6))
                engine.run("rm", "-f", "db")
                engine.run("volume", "rm", "far")
            finally:
                plugin.end()
                shutil.rmtree(place, ignore_errors=True)
            copy = root / "native"
            subprocess.run(["cp", "-a", data, copy], check=True)
            rows["native"].append((first_query(engine, copy, key, lambda: None), 0))
            engine.run("rm", "-f", "db")
            shutil.rmtree(copy)
    finally:
        servers.end()
        engine.end()
    return rows


def calls(options, root):
    """Measures the calls that start and end a container, thirty times, on volumes of a local repository."""
    (root / "w").mkdir()
    (root / "w/table").write_bytes(os.urandom(1 << 20))
    plugin, took, memory = Plugin(options.dvc, root), {}, {}
    try:
        for words in (["init", "--repo", root / "r", "-b", "main"], ["--repo", root / "r", "-C", root / "w", "commit", "-q", "-b", "main", "-m", "x"]):
            subprocess.run([options.dvc, *words], env=plugin.env, check=True, stdout=subprocess.DEVNULL)
        for n in range(32):
            name = f"v{n}"
            steps = (("create", "Create", {"Name": name, "Opts": {"repo": str(root / "r"), "rev": "main"}}), ("mount", "Mount", {"Name": name, "ID": "1"}),
                     ("unmount", "Unmount", {"Name": name, "ID": "1"}), ("remove", "Remove", {"Name": name}))
            for what, verb, question in steps:
                answer, seconds = plugin.ask(verb, **question)
                if what == "mount" and n == 31:
                    time.sleep(1)
                    stats = [options.dvc, "--json", "mount", "--stats", answer["Mountpoint"]]
                    mount = json.loads(subprocess.run(stats, env=plugin.env, capture_output=True, check=True).stdout)["pid"]
                    memory = {"plugin": resident(plugin.child.pid), "mount": resident(mount)}
                if n > 1:
                    took.setdefault(what, []).append(seconds)
    finally:
        plugin.end()
    return took, memory


def resident(pid):
    return next(int(line.split()[1]) / 1024 for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))


def main():
    target = os.environ.get("CARGO_TARGET_DIR", f"{PROJECT}/target")
    p = argparse.ArgumentParser(description="Measure containers; see the head of this file.")
    p.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets")
    p.add_argument("--scripts", default=f"{PROJECT}/../shared/bench", help="directory of gen-db.sh")
    p.add_argument("--dvc", default=f"{target}/release/dvc", help="the dvc to measure")
    p.add_argument("--proxy", help="the slow link (default: compiled from benches/slow_proxy.rs)")
    p.add_argument("--moto", default=shutil.which("moto_server") or "moto_server", help="the S3 server")
    p.add_argument("--runs", type=int, default=3, help="runs of the database")
    p.add_argument("--out", default=f"{PROJECT}/docs/benchmarks-containers.md", help="the page")
    options = p.parse_args()
    if os.geteuid() != 0:
        sys.exit("error: an engine needs root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    sets = Data(options.data, options.scripts, False)
    sets.ensure("db", (1,))
    options.work = options.data
    if not options.proxy:
        options.proxy = f"{options.data}/slow_proxy"
        subprocess.run(["rustc", "--edition", "2024", "-O", PROJECT / "benches/slow_proxy.rs", "-o", options.proxy], check=True)
    with tempfile.TemporaryDirectory(prefix="dvcbench-", dir=options.data) as root:
        took, memory = calls(options, Path(root))
    with tempfile.TemporaryDirectory(prefix="dvcbench-", dir=options.data) as root:
        rows = queries(options, sets, Path(root))
    far, native = rows["volume from S3"], rows["native"]
    middle = lambda values: statistics.median(values)
    verdict = lambda met: "met" if met else "**missed**"
    seconds, fetched = middle(r[0] for r in far), middle(r[1] for r in far)
    text = ["# Containers", "", "`benches/rivals/containers.py` generates this page. Do not edit it by hand. Figures are medians of "
            f"{options.runs} runs (database) and 30 runs (plugin). Engine: {subprocess.run(['dockerd', '--version'], capture_output=True, text=True).stdout.split(',')[0].lower()}.", "",
            "| what | bar | dvc | |", "|---|---|---|---|",
            f"| time from `docker volume create` and `docker run` to the first query result of MariaDB (version of 2.5 GB, S3 (moto) with 20 ms latency, empty caches) | 10 s | {seconds:.1f} s (a native directory: {middle(r[0] for r in native):.1f} s) | {verdict(seconds < 10)} |",
            f"| data fetched by then | 100 MB | {fetched:.0f} MB | {verdict(fetched < 100)} |"]
    for what, values in took.items():
        text.append(f"| {what} call of the plugin | 100 ms | {middle(values) * 1e3:.0f} ms, at most {max(values) * 1e3:.0f} | {verdict(middle(values) < 0.1)} |")
    for what, mib in memory.items():
        text.append(f"| memory of the idle {what} | 20 MiB | {mib:.1f} MiB | {verdict(mib <= 20)} |")
    Path(options.out).write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()

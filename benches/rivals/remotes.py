#!/usr/bin/env python3
# Measures pushes, clones and lazy clones with servers on this machine (moto for S3, sshd, docker-registry), directly and
# through a slow link (30 ms round trip, 40 MB/s per connection), and compares rclone, restic and rustic.
# In: a data directory with `db1`, `db2` and `tree` (data.py creates them), the tools. Out: one JSON line per measurement;
# `--report` prints the results as a table for docs/benchmarks.md. Each run begins with an empty server.

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import measure

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LINKS = {"direct": None, "slow": ("15", "40")}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """A server, which is ended with its process group."""

    def __init__(self, argv, port, env=None, stdin=None):
        self.port = port
        self.child = subprocess.Popen(argv, env={**os.environ, **(env or {})}, stdin=stdin, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        self.end()
        raise RuntimeError(f"{argv[0]} does not answer")

    def end(self):
        os.killpg(self.child.pid, signal.SIGTERM)
        self.child.wait()


class Servers:
    def __init__(self, options):
        self.options, self.work, self.running = options, options.work, []

    def link(self, port, link):
        return port if LINKS[link] is None else self.slow(port, *LINKS[link])

    def slow(self, port, delay, rate=None):
        """Returns a port that forwards to `port` with a delay each way (ms) and a rate (MB/s per connection)."""
        listen = free_port()
        argv = [self.options.proxy, f"127.0.0.1:{listen}", f"127.0.0.1:{port}", "--delay-ms", delay, *(["--rate", rate] if rate else [])]
        self.running.append(Program(argv, listen, stdin=subprocess.PIPE))
        return listen

    def s3(self, link):
        port = free_port()
        self.running.append(Program([self.options.moto, "-H", "127.0.0.1", "-p", str(port)], port))
        auth = "Authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"
        subprocess.run(["curl", "-sf", "-X", "PUT", "-H", auth, f"http://127.0.0.1:{port}/bucket", "-o", "/dev/null"], check=True)
        port = self.link(port, link)
        return f"http://127.0.0.1:{port}"

    def ssh(self, link):
        keys = f"{self.work}/ssh"
        shutil.rmtree(keys, ignore_errors=True)
        os.makedirs(keys)
        os.makedirs("/run/sshd", exist_ok=True)
        for name in ("host", "client"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{keys}/{name}"], check=True)
        shutil.copy(f"{keys}/client.pub", f"{keys}/allowed")
        port = free_port()
        with open(f"{keys}/sshd", "w") as f:
            f.write(f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/allowed\n"
                    "UsePAM no\nStrictModes no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\nMaxStartups 100\n")
        self.running.append(Program(["/usr/sbin/sshd", "-D", "-f", f"{keys}/sshd"], port))
        port = self.link(port, link)
        with open(f"{keys}/config", "w") as f:
            f.write(f"Host bench\nHostName 127.0.0.1\nPort {port}\nUser root\nIdentityFile {keys}/client\nIdentitiesOnly yes\n"
                    "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")
        return port

    def registry(self, link):
        root, port = f"{self.work}/registry", free_port()
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        with open(f"{root}.yml", "w") as f:
            f.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
                    f"http: {{addr: 127.0.0.1:{port}}}\n")
        self.running.append(Program(["docker-registry", "serve", f"{root}.yml"], port))
        return self.link(port, link)

    def end(self):
        for program in reversed(self.running):
            program.end()
        self.running = []


class Bench:
    def __init__(self, options):
        self.options, self.work = options, options.work
        self.repo = f"{self.work}/repo"
        # rclone 1.60 fails if the environment names a bundle of certificates.
        self.env = {**{k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}, **KEYS, "XDG_CACHE_HOME": f"{self.work}/cache", "DVC_AUTHOR": "bench <bench@example.org>",
                    "RESTIC_PASSWORD": "x", "RUSTIC_PASSWORD": "x"}
        self.servers = Servers(options)

    def dvc(self, *words, **how):
        return self.run([self.options.dvc, *words], **how)

    def run(self, argv, check=False, cold=True, env=None):
        if cold:
            measure.drop_caches()
        out = f"{self.work}/out"
        timing = f"{self.work}/time"
        with open(out, "wb") as f, open(f"{self.work}/err", "wb") as e:
            begin = time.perf_counter()
            code = subprocess.run(["/usr/bin/time", "-o", timing, "-f", "%M %U %S", *argv], env={**self.env, **(env or {})},
                                  stdout=f, stderr=e, stdin=subprocess.DEVNULL).returncode
            wall = time.perf_counter() - begin
        if check and code:
            raise SystemExit(f"{' '.join(argv)}: {code}\n{open(f'{self.work}/err').read()[-2000:]}")
        peak, user, system = open(timing).read().split()[-3:]
        return {"ok": code == 0, "code": code, "wall": wall, "rss": int(peak) * 1024, "cpu": float(user) + float(system),
                "out": open(out, errors="replace").read(), "err": open(f"{self.work}/err", errors="replace").read()[-500:]}

    def record(self, tool, op, server, link, result, **more):
        row = {"tool": tool, "op": op, "server": server, "link": link, **{k: v for k, v in result.items() if k not in ("out", "err")}, **more}
        if not result["ok"]:
            row["error"] = result["err"]
        with open(self.options.results, "a") as f:
            f.write(json.dumps(row) + "\n")
        extra = "".join(f"  {k} {v}" for k, v in more.items())
        print(f"{op:12} {server:8} {link:6} {tool:8} {result['wall']:8.2f} s {result['rss'] / 2**20:6.0f} MiB"
              f"{'' if result['ok'] else '  FAILED ' + result['err']}{extra}", flush=True)

    # -- the data ---------------------------------------------------------------------------------------------------

    def commit(self, version):
        source = f"{self.options.data}/db{version}"
        if version == 1:
            shutil.rmtree(self.repo, ignore_errors=True)
            self.dvc("init", "-q", "--repo", self.repo, "-b", "db", check=True)
        live = f"{self.work}/live"
        subprocess.run(["rsync", "-a", "--delete", f"{source}/", f"{live}/"], check=True)
        before = measure.tree_bytes(f"{self.repo}/packs") + measure.tree_bytes(f"{self.repo}/index") if version > 1 else 0
        self.dvc("-C", live, "--repo", self.repo, "commit", "-q", "-b", "db", "-m", f"v{version}", check=True)
        return measure.tree_bytes(f"{self.repo}/packs") + measure.tree_bytes(f"{self.repo}/index") - before

    def place(self, server, link, name):
        """Returns the URL for dvc, and the target and options for rclone."""
        if server == "s3":
            endpoint = self.servers.s3(link)
            target = f":s3,provider=Other,access_key_id=key,secret_access_key=secret,endpoint='{endpoint}':bucket/rclone"
            return f"s3://bucket/{name}?endpoint={endpoint}", target, ["--s3-no-check-bucket"]
        if server == "ssh":
            port = self.servers.ssh(link)
            where = f"{self.work}/far"
            shutil.rmtree(where, ignore_errors=True)
            os.makedirs(where)
            target = f":sftp,host=127.0.0.1,port={port},user=root,key_file={self.work}/ssh/client:{where}/rclone"
            return f"sftp://bench{where}/{name}?config={self.work}/ssh/config", target, []
        port = self.servers.registry(link)
        return f"oci://127.0.0.1:{port}/{name}", None, []

    def rclone(self, source, target, options):
        return ["rclone", "copy", "--transfers", "16", "--checkers", "16", "--config", "/dev/null", *options, source, target]

    # -- the operations -----------------------------------------------------------------------------------------------

    def transfer(self, server, link, rivals):
        url, target, options = self.place(server, link, "dvc")
        self.commit(1)
        # Adding a remote probes once whether the store supports conditional writes.
        self.dvc("--repo", self.repo, "remote", "add", "origin", url, check=True)
        result = self.dvc("--repo", self.repo, "push", "origin", "--json")
        said = json.loads(result["out"] or "{}")
        self.record("dvc", "push-first", server, link, result, requests=said.get("requests"), packs=said.get("packs"), sent=said.get("bytes"))
        if target:
            result = self.run(self.rclone(f"{self.repo}/packs", f"{target}/packs", options))
            self.record("rclone", "push-first", server, link, result)
        clone = f"{self.work}/clone"
        shutil.rmtree(clone, ignore_errors=True)
        shutil.rmtree(f"{self.work}/cache", ignore_errors=True)
        result = self.dvc("clone", "-q", "--no-checkout", url, clone)
        self.record("dvc", "clone", server, link, result)
        if result["ok"]:
            result = self.dvc("-C", clone, "checkout", "-q", "db")
            self.record("dvc", "clone-checkout", server, link, result)
        shutil.rmtree(clone, ignore_errors=True)
        if target:
            result = self.run(self.rclone(f"{target}/packs", f"{self.work}/down", options))
            self.record("rclone", "clone", server, link, result)
            shutil.rmtree(f"{self.work}/down", ignore_errors=True)
        growth = self.commit(2)
        result = self.dvc("--repo", self.repo, "push", "origin", "--json")
        said = json.loads(result["out"] or "{}")
        own = said.get("packs", 0) or 0
        self.record("dvc", "push-next", server, link, result, growth=growth, sent=said.get("sent_bytes", said.get("bytes")),
                    requests=said.get("requests"), besides=(said.get("requests") or 0) - own)
        result = self.dvc("--repo", self.repo, "push", "origin", "--json")
        self.record("dvc", "push-nothing", server, link, result, requests=json.loads(result["out"] or "{}").get("requests"))
        self.servers.end()
        if rivals:
            self.rivals(server, link)

    def rivals(self, server, link):
        source = f"{self.options.data}/db1"
        if server == "s3":
            endpoint = self.servers.s3(link)
            restic = ["restic", "-q", "--no-cache", "-r", f"s3:{endpoint}/bucket/restic"]
            self.run([*restic, "init"], check=True)
            self.record("restic", "push-first", server, link, self.run([*restic, "backup", source]))
            self.servers.end()
            rustic = shutil.which("rustic", path=f"{self.options.peers}:{os.environ['PATH']}")
            if rustic:
                endpoint = self.servers.s3(link)
                env = {"RUSTIC_REPOSITORY": "opendal:s3", "RUSTIC_REPO_OPT_BUCKET": "bucket", "RUSTIC_REPO_OPT_ROOT": "/rustic",
                       "RUSTIC_REPO_OPT_ENDPOINT": endpoint, "RUSTIC_REPO_OPT_REGION": "us-east-1", "RUSTIC_NO_CACHE": "true",
                       "RUSTIC_REPO_OPT_ACCESS_KEY_ID": "key", "RUSTIC_REPO_OPT_SECRET_ACCESS_KEY": "secret"}
                begun = self.run([rustic, "init"], env=env)
                if begun["ok"]:
                    self.record("rustic", "push-first", server, link, self.run([rustic, "backup", source], env=env))
                else:
                    print("rustic cannot begin:", begun["err"])
                self.servers.end()
        elif server == "ssh":
            self.servers.ssh(link)
            where = f"{self.work}/far"
            shutil.rmtree(where, ignore_errors=True)
            os.makedirs(where)
            restic = ["restic", "-q", "--no-cache", "-o", f"sftp.command=ssh -F {self.work}/ssh/config bench -s sftp", "-r", f"sftp:bench:{where}/restic"]
            self.run([*restic, "init"], check=True)
            self.record("restic", "push-first", server, link, self.run([*restic, "backup", source]))
            self.servers.end()

    def lazy(self, link):
        """Measures a lazy clone of the tree of 170,000 files."""
        repo = f"{self.work}/treerepo"
        if not os.path.exists(repo):
            self.dvc("init", "-q", "--repo", repo, "-b", "tree", check=True)
            self.dvc("-C", f"{self.options.data}/tree", "--repo", repo, "commit", "-q", "-b", "tree", "-m", "tree", check=True)
        endpoint = self.servers.s3("direct")
        self.dvc("--repo", repo, "push", f"s3://bucket/tree?endpoint={endpoint}", "-q", check=True)
        port = self.servers.link(int(endpoint.rsplit(":", 1)[1]), link)
        url = f"s3://bucket/tree?endpoint=http://127.0.0.1:{port}"
        clone = f"{self.work}/lazy"
        for _ in range(self.options.runs):
            shutil.rmtree(clone, ignore_errors=True)
            shutil.rmtree(f"{self.work}/cache", ignore_errors=True)
            result = self.dvc("clone", "--lazy", url, clone, "--json")
            said = json.loads(result["out"] or "{}").get("fetched", {})
            self.record("dvc", "lazy-clone", "s3", link, result, requests=said.get("requests"))
        self.servers.end()


def report(path):
    rows = {}
    for line in open(path):
        row = json.loads(line)
        if row["ok"]:
            rows.setdefault((row["op"], row["server"], row["link"]), {}).setdefault(row["tool"], []).append(row)
    print("| operation | server | link | dvc | rclone | restic | rustic | dvc's peak |\n|---|---|---|---|---|---|---|---|")
    for (op, server, link), tools in rows.items():
        shown = {tool: statistics.median(r["wall"] for r in found) for tool, found in tools.items()}
        cells = " | ".join(f"{shown[t]:.2f} s" if t in shown else "" for t in ("dvc", "rclone", "restic", "rustic"))
        peak = max(r["rss"] for r in tools.get("dvc", [{"rss": 0}])) / 2**20
        print(f"| {op} | {server} | {link} | {cells} | {peak:.0f} MiB |")


def main():
    parser = argparse.ArgumentParser(description="Measure remotes; see the head of this file.")
    parser.add_argument("--data", default="/var/tmp/dvcbench", help="directory of data sets")
    parser.add_argument("--work", default="/var/tmp/dvcbench/remotes", help="directory of repositories and servers")
    parser.add_argument("--peers", default="/var/tmp/peers/bin", help="directory of the peers' programs")
    parser.add_argument("--dvc", default=f"{PROJECT}/target/release/dvc", help="the dvc to measure")
    parser.add_argument("--proxy", default=f"{PROJECT}/target/release/slow_proxy", help="the slow link")
    parser.add_argument("--moto", default=shutil.which("moto_server") or "moto_server", help="the S3 server")
    parser.add_argument("--results", default="remotes.jsonl", help="results file")
    parser.add_argument("--runs", type=int, default=3, help="runs of each operation (medians are reported)")
    parser.add_argument("--only", nargs="*", default=["s3", "ssh", "registry", "lazy"], help="servers to measure, and `lazy`")
    parser.add_argument("--links", nargs="*", default=list(LINKS), help="links to measure")
    parser.add_argument("--no-rivals", action="store_true", help="do not measure restic and rustic")
    parser.add_argument("--report", action="store_true", help="measure nothing: print the report from the results file")
    options = parser.parse_args()
    if options.report:
        return report(options.results)
    os.makedirs(options.work, exist_ok=True)
    bench = Bench(options)
    try:
        for link in options.links:
            if "lazy" in options.only:
                bench.lazy(link)
            for server in [s for s in ("s3", "ssh", "registry") if s in options.only]:
                for _ in range(options.runs):
                    bench.transfer(server, link, not options.no_rivals)
    finally:
        bench.servers.end()


if __name__ == "__main__":
    sys.exit(main())

# Measures one command: wall time, CPU time, peak memory, bytes read and written, and the load of other processes.
# In: argv, cwd, environment. Out: a plain dict for the results file. A failed command has ok=False and the end of
# its output; nothing is estimated.

import os
import re
import statistics
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def drop_caches():
    """Writes all dirty data to disk, then drops page cache, dentries and inodes."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    time.sleep(0.5)


def busy_seconds():
    """Returns the busy CPU seconds of the whole machine since boot, without idle and I/O wait."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _wait, irq, softirq = (int(x) for x in f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def wait_for_quiet(limit_seconds, window=3):
    """Waits until other processes use less than a tenth of a core during the window, or until the limit. Returns
    the number of busy cores at the end; `other_cpu` of a result shows the load during the run."""
    end, busy = time.time() + limit_seconds, None
    while busy is None or time.time() < end:
        before = busy_seconds()
        time.sleep(window)
        busy = (busy_seconds() - before) / window
        if busy < 0.1:
            break
        time.sleep(window / 1.5)
    return busy


def own_io():
    """Returns the bytes that all reaped children have read from and written to block devices."""
    with open("/proc/self/io") as f:
        fields = dict(line.split(": ") for line in f.read().splitlines())
    return int(fields["read_bytes"]), int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def run(argv, cwd=None, env=None, cold=False, repeat=1, ok_codes=(0,), quiet_wait=0, scratch="/tmp"):
    """Runs argv `repeat` times, each time with empty caches if `cold`. Returns the medians."""
    samples = []
    for _ in range(repeat):
        if quiet_wait:
            wait_for_quiet(quiet_wait)
        if cold:
            drop_caches()
            # Load time(1) itself into the cache, because it is not part of the command.
            subprocess.run(["/usr/bin/time", "-o", "/dev/null", "true"], check=True)
        sample = run_once(argv, cwd, env, ok_codes, scratch)
        if not sample["ok"]:
            return sample
        samples.append(sample)
    result = dict(samples[0])
    for key in ("wall", "cpu", "user", "sys", "rss", "read", "written", "other_cpu"):
        result[key] = statistics.median(s[key] for s in samples)
    result["rss"] = max(s["rss"] for s in samples)
    result["repeat"] = repeat
    return result


def run_once(argv, cwd, env, ok_codes, scratch):
    # time(1) reports the peak memory, because a child inherits the peak of the process that forks it.
    timing, output = f"{scratch}/rivals.{os.getpid()}.time", f"{scratch}/rivals.{os.getpid()}.stderr"
    wrapped = ["/usr/bin/time", "-o", timing, "-f", "%M", *argv]
    with open(output, "wb") as out:
        load, busy, (read, written), start = os.getloadavg()[0], busy_seconds(), own_io(), time.perf_counter()
        child = subprocess.Popen(wrapped, cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=out)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    read_after, written_after = own_io()
    cpu = usage.ru_utime + usage.ru_stime
    with open(output, errors="replace") as f:
        text = f.read()
    peak = None
    if os.path.exists(timing):
        with open(timing) as f:
            found = re.findall(r"^\d+$", f.read(), re.M)
        peak = int(found[-1]) * 1024 if found else None
        os.unlink(timing)
    os.unlink(output)
    ok = child.returncode in ok_codes and peak is not None
    result = {
        "ok": ok, "code": child.returncode, "wall": wall, "cpu": cpu, "user": usage.ru_utime, "sys": usage.ru_stime,
        "rss": peak, "read": read_after - read, "written": written_after - written, "load": load,
        "other_cpu": max(0.0, busy_seconds() - busy - cpu),
    }
    if not ok:
        result["error"] = text[-800:].strip()
    return result


def tree_bytes(path):
    """Returns the total length of all files below path: the apparent size of `du -b`, without directories."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


def machine():
    """Describes the machine for readers of the figures, without names and paths."""
    def first(path, pattern):
        with open(path) as f:
            found = re.search(pattern, f.read(), re.M)
        return found.group(1).strip() if found else "unknown"

    kernel = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    system = first("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')
    model = first("/proc/cpuinfo", r"^model name\s*:\s*(.*)$")
    memory = int(first("/proc/meminfo", r"^MemTotal:\s*(\d+)"))
    return {
        "cpu": f"{os.cpu_count()} x {model}",
        "memory": f"{memory / 2**20:.0f} GiB",
        "system": f"{system}, Linux {kernel}",
    }


def file_system(path):
    """Returns the type of the file system of path."""
    found = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", path], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"

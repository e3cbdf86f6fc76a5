# Runs one command and says what it cost: wall, CPU, peak memory, bytes read and written, and how busy the rest of
# the machine was meanwhile. In: argv, cwd, environment. Out: a plain dict, ready for the results file.
# A command that fails is returned with ok=False and the end of what it printed; nothing is ever estimated.

import os
import re
import statistics
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def drop_caches():
    """Empties page cache, dentries and inodes, after everything dirty is on disk."""
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    time.sleep(0.5)


def busy_seconds():
    """CPU seconds spent by the whole machine since boot (not idle, not waiting for disks)."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _wait, irq, softirq = (int(x) for x in f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def wait_for_quiet(limit_seconds, window=3):
    """Waits until others use less than a tenth of a core for the window; gives up silently after the limit
    (`other_cpu` in the result tells). Returns how many cores were busy when it ended."""
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
    """Bytes from and to block devices by the children reaped so far."""
    with open("/proc/self/io") as f:
        fields = dict(line.split(": ") for line in f.read().splitlines())
    return int(fields["read_bytes"]), int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def run(argv, cwd=None, env=None, cold=False, repeat=1, ok_codes=(0,), quiet_wait=0, scratch="/tmp"):
    """Runs argv `repeat` times (each time cold if asked for) and returns the medians as a dict."""
    samples = []
    for _ in range(repeat):
        if quiet_wait:
            wait_for_quiet(quiet_wait)
        if cold:
            drop_caches()
            # The stopwatch itself is not to be cold.
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
    # time(1) is the parent, not this interpreter: a child starts with the peak memory of whoever forked it
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
    """Sum of the lengths of all files below path (what `du -b` calls apparent size, without the directories)."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


def machine():
    """What a reader needs to judge the figures; no names, no paths."""
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
    """The type of the file system that holds path."""
    found = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", path], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"

"""What the daemon costs while nothing happens, how soon it serves, and how soon `labctl status` answers.

Measured on the demo's settings (the carousel on its simulator, inside the daemon) and on an empty settings file; the
goals are held against the demo's.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from labd.demo import config_path
from tests.bench.daemon import ROOT, Daemon
from tests.bench.raw_http import Caller
from tests.bench.report import Report, arguments, say, spread, work_folder

SETTLE_S = 5.0


def switches(pid: int) -> tuple[int, int]:
    """Voluntary and forced context switches of all threads; the voluntary ones are wake-ups."""
    voluntary = forced = 0
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in path.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                voluntary += int(line.split()[1])
            elif line.startswith("nonvoluntary_ctxt_switches"):
                forced += int(line.split()[1])
    return voluntary, forced


def cpu_s(process: psutil.Process) -> float:
    """Processor time of all threads so far; /proc counts nanoseconds where the scheduler tells them."""
    total = 0
    for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
        total += int(path.read_text().split()[0])
    if total:
        return total / 1e9
    times = process.cpu_times()
    return float(times.user + times.system)


def watch(daemon: Daemon, seconds: float) -> dict[str, Any]:
    """Memory, processor share and wake-ups of a daemon that is left alone."""
    process = daemon.usage()
    time.sleep(SETTLE_S)
    before, cpu_before, begin = switches(daemon.pid), cpu_s(process), time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - begin
    memory = process.memory_full_info()
    after = switches(daemon.pid)
    return {
        "rss_mb": memory.rss / 1e6, "uss_mb": memory.uss / 1e6, "threads": process.num_threads(),
        "cpu_percent": (cpu_s(process) - cpu_before) / took_s * 100,
        "wake_ups_per_s": (after[0] - before[0]) / took_s, "seconds": took_s, "start_to_ready_s": daemon.ready_s,
    }  # fmt: skip


def status_walls(daemon: Daemon, runs: int) -> list[float]:
    """Wall times of `labctl status`, the installed script where there is one."""
    script = Path(sys.executable).with_name("labctl")
    command = [str(script), "status"] if script.exists() else [sys.executable, "-m", "labctl", "status"]
    environ = {**os.environ, "LABD_HOST": f"unix:{daemon.socket}"}
    walls = []
    for _ in range(runs):
        begin = time.monotonic()
        subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, check=True, timeout=30)
        walls.append(time.monotonic() - begin)
    return walls


def python_walls(runs: int) -> list[float]:
    """Wall times of a Python that does nothing: the floor of every command."""
    walls = []
    for _ in range(runs):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], cwd=ROOT, check=True, timeout=30)
        walls.append(time.monotonic() - begin)
    return walls


def main() -> None:
    """Print the report."""
    given = arguments("idle")
    seconds, runs = (10.0, 9) if given.short else (60.0, 21)
    report = Report("idle", given.short)
    found = {}
    for name, settings in (("empty", ""), ("demo", config_path().read_text())):
        with work_folder(given.folder) as folder:
            ready = []
            daemon = Daemon(folder, settings, module="labd")
            for _ in range(2):
                daemon.start()
                ready.append(daemon.ready_s)
                daemon.end()
            with daemon:
                ready.append(daemon.ready_s)
                found[name] = watch(daemon, seconds)
                if name == "demo":
                    with Caller(daemon.socket) as caller:
                        caller.get("/api/v1/status")
                    python = python_walls(runs)
                    walls = status_walls(daemon, runs)
            found[name]["start_to_ready_s"] = statistics.median(ready)
            found[name]["start_to_ready_all_s"] = ready
            say(f"{name}: {found[name]}")
    demo = found["demo"]
    report.figures |= {
        **found, "labctl_status_ms": statistics.median(walls) * 1000, "labctl_status_spread": spread(walls),
        "bare_python_ms": statistics.median(python) * 1000,
    }  # fmt: skip
    report.ratios["labctl_status_to_bare_python"] = statistics.median(walls) / statistics.median(python)
    report.goal("rss_mb", demo["rss_mb"], at_most=60.0)
    report.goal("cpu_percent", demo["cpu_percent"], at_most=0.3)
    report.goal("start_to_ready_s", demo["start_to_ready_s"], at_most=1.0)
    report.goal("labctl_status_ms", statistics.median(walls) * 1000, at_most=150.0)
    report.print()


if __name__ == "__main__":
    main()

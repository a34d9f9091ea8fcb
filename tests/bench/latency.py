"""From the client's send to the first line of the task's body, on an idle daemon, over the Unix socket.

The unit is one commit of the floor: one row, sqlite3 alone, on the same disk, what a durable start costs at the very
least. The body answers `time.monotonic_ns`, and CLOCK_MONOTONIC is one clock for all processes of a host.

Why commits and requests alternate: a disk and a processor that were idle answer later than busy ones, and a
neighbour's load comes and goes within a second; so both are measured in the same rhythm, at the same time. Why the
transaction of 500 jobs is told as well: it is the other thing that could be called a commit of the floor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from tests.bench.daemon import Daemon
from tests.bench.floor import CommitMeter
from tests.bench.raw_http import JOBS_PATH, Caller, request
from tests.bench.report import Report, arguments, percentile, say, summary, work_folder

PAUSE_S = 0.005
WARM_UP = 50
SUBMIT = request("POST", JOBS_PATH, b'{"task":"test.stamp"}')
PING = request("GET", "/healthz")


def submit(caller: Caller) -> tuple[float, float]:
    """Seconds from send to the body's first line, and from send to the answer."""
    begin = time.monotonic_ns()
    caller.send(SUBMIT)
    status, body = caller.receive()
    answered = time.monotonic_ns()
    if status != 201:
        raise RuntimeError(f"a submission was answered {status}: {body.decode()}")
    job = caller.get(f"{JOBS_PATH}/{json.loads(body)['id']}?wait=30")
    return (job["result"] - begin) / 1e9, (answered - begin) / 1e9


def ping_s(caller: Caller) -> float:
    """Seconds of a round trip that touches no journal."""
    begin = time.monotonic()
    caller.send(PING)
    caller.receive()
    return time.monotonic() - begin


def main() -> None:
    """Print the report."""
    given = arguments("latency")
    count = 300 if given.short else 2000
    report = Report("latency", given.short)
    commits: list[float] = []
    groups: list[float] = []
    pings: list[float] = []
    starts: list[float] = []
    answers: list[float] = []
    with work_folder(given.folder) as folder, Daemon(folder) as daemon, Caller(daemon.socket) as caller:
        meter = CommitMeter(folder)
        for number in range(WARM_UP + count):
            time.sleep(PAUSE_S)
            commit_s = meter.commit_s()
            time.sleep(PAUSE_S)
            start_s, answer_s = submit(caller)
            time.sleep(PAUSE_S)
            ping = ping_s(caller)
            if number % 10 == 0:
                groups.append(meter.group_s())
            if number < WARM_UP:
                continue
            commits.append(commit_s)
            starts.append(start_s)
            answers.append(answer_s)
            pings.append(ping)
        meter.close()
        daemon_commit_s = _mean_commit_s(caller)
    unit_s = percentile(commits, 50)
    say(f"submit to start p50 {percentile(starts, 50) * 1000:.2f} ms, commit p50 {unit_s * 1000:.2f} ms")
    report.figures |= {
        "commit_ms": _ms(commits),
        "commit_of_500_ms": _ms(groups),
        "ping_ms": _ms(pings),
        "submit_to_start_ms": _ms(starts),
        "submit_to_answer_ms": _ms(answers),
        "daemon_commit_mean_ms": daemon_commit_s * 1000,
    }
    report.ratios = {
        "submit_to_start_p50_commits": percentile(starts, 50) / unit_s,
        "submit_to_start_p99_commits": percentile(starts, 99) / unit_s,
        "submit_to_start_p99_to_commit_p99": percentile(starts, 99) / percentile(commits, 99),
        "submit_to_start_p50_commits_of_500": percentile(starts, 50) / percentile(groups, 50),
        "submit_to_start_p99_commits_of_500": percentile(starts, 99) / percentile(groups, 50),
    }
    report.goal("submit_to_start_p50_commits", report.ratios["submit_to_start_p50_commits"], at_most=3.0)
    report.goal("submit_to_start_p99_commits", report.ratios["submit_to_start_p99_commits"], at_most=10.0)
    report.print()


def _ms(values_s: Sequence[float]) -> dict[str, float]:
    return summary([value * 1000 for value in values_s])


def _mean_commit_s(caller: Caller) -> float:
    """Mean length of the daemon's own commits, by its metrics."""
    found = {"commits_total": 0.0, "commit_seconds_total": 0.0}
    for line in caller.get("/metrics").splitlines():
        for name in found:
            if line.partition(" ")[0].endswith(name):
                found[name] = float(line.rpartition(" ")[2])
    return found["commit_seconds_total"] / max(found["commits_total"], 1.0)


if __name__ == "__main__":
    main()

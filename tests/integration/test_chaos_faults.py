"""Each harm to disk, power and clock against a small daemon: what it promises while it lasts, and that it gets well."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.acceptance.processes import toml
from tests.acceptance.waiting import eventually
from tests.bench.raw_http import Caller
from tests.chaos import disk_faults, disk_space
from tests.chaos.daemon import ChaosDaemon
from tests.chaos.port import Ending, Fault, Unable, World
from tests.chaos.power_loss import cut
from tests.chaos.shim import SYNC, WRITE
from tests.chaos.supply import shim_of

pytestmark = pytest.mark.timeout(300)  # nine daemons start, one after another
PANTRY = Path(__file__).resolve().parents[1] / "chaos" / "pantry"
JOBS, RESORT = "/api/v1/jobs", "/api/v1/resort"
HOUR_S = 3600.0
SLOW_MS = 4000


class Lab:
    """A small world: the carousel simulated, one worker for the tasks of a lab, and clients that remember."""

    def __init__(self, folder: Path, *names: str) -> None:
        daemon = ChaosDaemon(folder)
        text = 'log_level = "info"\n' + toml("tasks", folders=[str(PANTRY)], poll_s=0)
        text += toml("env.default", warm=1, size=2) + toml("env.default.variables", CHAOS_TRACE=str(folder / "trace"))
        text += toml("resort", driver="simulated", speed=50, acceleration=400)
        text += toml("resort.simulated", record=str(folder / "bus.jsonl"))
        daemon.configure(text)
        self.daemon, self.world = daemon, World(folder, daemon, {}, Random(7))
        self.faults: dict[str, Fault] = {fault.name: fault for fault in disk_faults.faults() if fault.name in names}
        self.acknowledged: dict[str, int] = {}
        self.refused: dict[str, tuple[int, Any]] = {}
        self._number = 0
        self._asks: list[threading.Thread] = []
        self._over = threading.Event()

    def begin(self) -> Lab:
        """The first start."""
        for fault in self.faults.values():
            fault.prepare(self.world)
        self.daemon.start()
        eventually(lambda: self.submit("first"), 30.0, "a worker that takes jobs")
        return self

    def ask(self, method: str, path: str, body: Any = None, timeout_s: float = 60.0) -> tuple[int, Any]:
        with Caller(self.daemon.socket, timeout_s) as caller:
            return caller.ask(method, path, body)

    def submit(self, key: str, task: str = "echo", **more: Any) -> int:
        """The id, or 0 where it was refused."""
        body = {"task": task, "args": {"key": key}, "idempotency_key": key, **more}
        status, answer = self.ask("POST", JOBS, body)
        if status in (200, 201):
            self.acknowledged[key] = answer["id"]
            return int(answer["id"])
        self.refused[key] = status, answer
        return 0

    def work(self) -> None:
        """Ask for jobs from two sides until `rest`, whatever the answers are."""
        self._over.clear()
        self._asks = [threading.Thread(target=self._submit_on, args=(side,)) for side in "ab"]
        for thread in self._asks:
            thread.start()

    def _submit_on(self, side: str) -> None:
        while not self._over.is_set():
            self._number += 1
            try:
                self.submit(f"{side}-{self._number}")
            except (OSError, ValueError):
                self._over.wait(0.02)  # the daemon is gone for now

    def rest(self) -> None:
        """No more."""
        self._over.set()
        for thread in self._asks:
            thread.join(30.0)

    def more(self, count: int, within_s: float = 60.0) -> None:
        """Until so many more are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) >= before + count, within_s, f"{count} more acknowledged jobs")

    def rows(self) -> dict[str, int]:
        """Ids by key, from the file."""
        opened = sqlite3.connect(f"file:{self.daemon.state / 'labd.db'}?mode=ro", uri=True, timeout=10.0)
        try:
            assert opened.execute("PRAGMA quick_check").fetchone() == ("ok",)
            return dict(opened.execute("SELECT idempotency_key, id FROM jobs WHERE idempotency_key IS NOT NULL"))
        finally:
            opened.close()

    def nothing_is_lost(self) -> None:
        """All that was acknowledged is in the file, nothing that was refused is."""
        rows = self.rows()
        lost = {key: job for key, job in dict(self.acknowledged).items() if rows.get(key) != job}
        assert lost == {}
        assert rows.keys() & (self.refused.keys() - self.acknowledged.keys()) == set()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"{RESORT}/status")[1]
        return found

    def job(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", f"{JOBS}/{job_id}")[1]
        return found

    def done(self, job_id: int, within_s: float = 60.0) -> dict[str, Any]:
        return eventually(lambda: (job := self.job(job_id))["state"] == "succeeded" and job, within_s, f"job {job_id}")

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.daemon.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def end(self) -> None:
        self.rest()
        try:
            shim_of(self.world).well()
            if disk_space.is_mounted(self.daemon.state):
                disk_space.resize(self.daemon.state, None)
            self.daemon.stop()
        finally:
            for fault in self.faults.values():
                if isinstance(fault, Ending):
                    fault.end(self.world)
        assert self.daemon.breaches == []
        assert self.daemon.orphans() == []


@pytest.fixture
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    found = Lab(tmp_path, *request.param)
    try:
        found.begin()
    except Unable as why:
        if os.environ.get("LABD_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(why))
    try:
        yield found
    finally:
        found.end()


def with_faults(*names: str) -> Any:
    return pytest.mark.parametrize("lab", [names], indirect=True, ids=["-".join(names)])


@with_faults("power_loss")
def test_after_a_power_loss_everything_acknowledged_is_there_and_the_stop_is_as_it_was(lab: Lab) -> None:
    fault = lab.faults["power_loss"]
    for is_latched in (True, False, False):
        if is_latched:
            assert lab.ask("POST", f"{RESORT}/stop", {"reason": "test"})[1]["latched_durably"]
        elif lab.status()["stop_latched"]:
            assert lab.ask("POST", f"{RESORT}/reset", {"by": "test", "reason": "test"})[0] == 200
        lab.work()
        lab.more(20)
        fault.strike(lab.world)
        lab.rest()
        fault.mend(lab.world)
        lab.nothing_is_lost()
        assert lab.status()["stop_latched"] is is_latched
    eventually(lambda: lab.submit("last"), 60.0, "a worker")
    assert lab.done(lab.acknowledged["last"])["result"] == "last"
    assert lab.world.notes == []


@with_faults("disk_full", "power_loss")
def test_a_full_disk_refuses_new_jobs_by_name_takes_a_stop_and_is_well_when_there_is_room(lab: Lab) -> None:
    pid = lab.daemon.pid
    lab.work()
    lab.more(5)
    disk_space.resize(lab.daemon.state, 0)
    eventually(lambda: lab.refused, 60.0, "a refusal")
    status, answer = next(iter(lab.refused.values()))
    assert (status, answer["code"]) == (507, "store_full")
    assert "free space, nothing was accepted" in answer["message"]
    stopped = lab.ask("POST", f"{RESORT}/stop", {"reason": "test"})
    assert stopped[0] == 200
    assert lab.status()["stop_latched"]
    disk_space.resize(lab.daemon.state, None)
    lab.more(5)
    eventually(lambda: lab.ask("POST", f"{RESORT}/stop", {})[1]["latched_durably"], 60.0, "a stop that lasts")
    cut(lab.world)
    lab.rest()
    assert lab.daemon.pid is None
    assert pid is not None
    lab.daemon.start()
    lab.nothing_is_lost()
    assert lab.status()["stop_latched"]


@with_faults("disk_read_only")
def test_a_disk_that_turns_read_only_is_told_and_a_daemon_does_not_start_on_one(lab: Lab) -> None:
    shim, pid = shim_of(lab.world), lab.daemon.pid
    lab.work()
    lab.more(5)
    shim.read_only(True)
    eventually(lambda: lab.refused, 60.0, "a refusal")
    status, answer = next(iter(lab.refused.values()))
    assert (status, answer["code"]) == (507, "store_full")
    assert "disk I/O error; the disk fails or is read-only, see `dmesg`, nothing was accepted" in answer["message"]
    told = [each["message"] for each in lab.ask("GET", "/api/v1/status")[1]["attention"]]
    assert (
        "the disk takes no writes (disk I/O error): no job is accepted; the disk fails or is read-only, see `dmesg`"
        in told
    )
    assert lab.ask("POST", f"{RESORT}/stop", {"reason": "test"})[0] == 200
    shim.read_only(False)
    lab.more(5)
    lab.rest()
    assert lab.daemon.pid == pid
    lab.daemon.kill()
    disk_space.refuses_to_start(lab.world)
    lab.daemon.start()
    lab.nothing_is_lost()
    assert lab.status()["stop_latched"]


@with_faults("disk_slow")
def test_on_a_slow_disk_a_stop_reaches_the_wire_and_questions_are_answered_at_once(lab: Lab) -> None:
    lab.ask("POST", f"{RESORT}/connect", {})
    eventually(lambda: "go_home" in lab.status()["allowed_actions"], 60.0, "a carousel that may move")
    shim_of(lab.world).slow(SLOW_MS, SLOW_MS, SYNC)
    lab.work()
    eventually(lambda: shim_of(lab.world).delays_made > 2, 10.0, "a slow sync")
    began = time.monotonic()
    for _ in range(10):
        lab.status()
    looked_s = (time.monotonic() - began) / 10
    began = time.monotonic()
    status, answer = lab.ask("POST", f"{RESORT}/stop", {"reason": "test"})
    stopped_s = time.monotonic() - began
    assert status == 200
    assert answer["confirmed"], answer
    assert looked_s < 1.0
    assert stopped_s < SLOW_MS / 1000 - 0.5, "the stop waited for the disk"
    shim_of(lab.world).well()
    lab.more(3)
    lab.rest()
    lab.nothing_is_lost()


@with_faults("disk_error", "power_loss")
def test_nothing_is_acknowledged_that_a_failed_sync_did_not_write(lab: Lab) -> None:
    shim = shim_of(lab.world)
    for ops, count in ((SYNC, 3), (WRITE, 5), (SYNC, 1000)):
        lab.work()
        lab.more(5)
        shim.fail(ops, after=7, count=count, match="labd.db")
        eventually(lambda: shim.errors_made >= min(count, 4), 60.0, "errors of the disk")  # noqa: B023 now, not later
        if count < 1000:
            lab.more(5)
        cut(lab.world)
        lab.rest()
        shim.well()
        lab.daemon.start()
        lab.nothing_is_lost()
    assert any(answer["code"] == "store_full" for _, answer in lab.refused.values())


@with_faults("clock_step")
def test_a_clock_that_jumps_and_back_is_told_and_no_run_is_lost_or_done_twice(lab: Lab) -> None:
    shim = shim_of(lab.world)
    beat = {"name": "beat", "task": "echo", "args": {"key": "beat"}, "interval_s": 1, "misfire": "latest"}
    assert lab.ask("POST", "/api/v1/schedules", beat)[0] in (200, 201)
    eventually(lambda: len(_beats(lab)) >= 2, 60.0, "two runs of a schedule")
    before_s = 0.0
    for by_s in (3 * HOUR_S, -2 * HOUR_S, -26 * HOUR_S):
        told = len(lab.log("clock.stepped"))
        shim.step_clock(by_s)
        lab.done(lab.submit(f"away-{by_s:.0f}"))
        steps = eventually(lambda: lab.log("clock.stepped")[told:], 60.0, "an event of the step")  # noqa: B023 now
        assert steps[0]["by_s"] == pytest.approx(by_s - before_s, abs=2.0)
        before_s = by_s
    waiting = lab.submit("behind", delay_s=0)
    lab.daemon.kill()
    lab.daemon.start()
    lab.done(waiting)
    shim.step_clock(0.0)
    lab.done(lab.submit("back"))
    before = len(_beats(lab))
    eventually(lambda: len(_beats(lab)) >= before + 2, 60.0, "the schedule going on")
    lab.nothing_is_lost()
    instants = _beats(lab)
    assert len(instants) == len(set(instants))


@with_faults("power_loss")
def test_the_usual_tool_that_sets_a_program_s_clock_shows_the_same(lab: Lab) -> None:
    library = faketime()
    if library is None:
        assert os.environ.get("LABD_REQUIRE_ALL") != "1", "libfaketime is not installed"
        pytest.skip("libfaketime is not installed")
    before = set(Path("/dev/shm").glob("*faketime_s*"))
    setting = lab.daemon.folder / "faketime"
    setting.write_text("+0")
    lab.daemon.stop()
    lab.daemon.environment = {
        "LD_PRELOAD": f"{library} {shim_of(lab.world).library}", "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip
    lab.daemon.start()
    setting.write_text("-3h")
    eventually(lambda: lab.log("clock.stepped"), 60.0, "an event of the step")
    assert lab.log("clock.stepped")[-1]["by_s"] == pytest.approx(-3 * HOUR_S, abs=2.0)
    lab.done(lab.submit("in-the-past"))
    cut(lab.world)
    lab.daemon.start()
    lab.nothing_is_lost()
    lab.done(lab.submit("later"))
    lab.daemon.stop()
    for left in set(Path("/dev/shm").glob("*faketime_s*")) - before:  # the killed process could not
        left.unlink()


def _beats(lab: Lab) -> list[str]:
    """Idempotency keys of the runs of the schedule: each names its instant."""
    return [key for key in lab.rows() if key.startswith("schedule:beat:")]


def faketime() -> str | None:
    """The library for programs with threads."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else None

"""What the crowd does, one function a phase; `crowd` says in which order and what it means."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.crowd_house import House, Patient, Press
from tests.bench.raw_http import JOBS_PATH
from tests.bench.report import say, summary

Figures = dict[str, Any]
IDLE_WITHIN_S = 300.0


@dataclass(frozen=True)
class Size:
    """How long and how many."""

    clients: int
    closed_s: float
    streams: int
    burst: int
    stuck: int
    rude_s: float
    flood_per_s: float
    stop_every_s: float
    quiet_stops: int


def long(minutes: float, streams: int, clients: int) -> Size:
    """For a final figure."""
    return Size(clients, minutes * 60, streams, 2000, 50, 20.0, 2000.0, 2.0, 20)


def short() -> Size:
    """For the suite: everything once."""
    return Size(10, 5.0, 200, 200, 10, 4.0, 800.0, 1.0, 2)


@contextmanager
def stops(house: House, size: Size, phase: str) -> Iterator[None]:
    """Press stop now and then while the block runs; at least once."""
    over = threading.Event()
    fault: list[BaseException] = []

    def press() -> None:
        try:
            house.press(phase)
            while not over.wait(size.stop_every_s):
                house.press(phase)
        except BaseException as found:
            fault.append(found)

    thread = threading.Thread(target=press, name="stops")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if fault:
        raise fault[0]


def quiet(house: House, size: Size) -> Figures:
    """Stops and nothing else."""
    for _ in range(size.quiet_stops):
        house.press("quiet")
    return house.usage()


def closed(house: House, size: Size) -> Figures:
    """As many as each door is said to bear, each as fast as it is answered."""
    before, begin = house.usage(), time.monotonic()
    helpers = house.clients("closed", size.clients)
    with stops(house, size, "closed"):
        _wait(size.closed_s)
    found = {name: helper.end() for name, helper in helpers.items()}
    after, took_s = house.usage(), time.monotonic() - begin
    for name, told in found.items():
        say(f"        {name}: {told['answers_per_s']:.0f}/s, submit p99 {told['ms']['submit']['99']:.1f} ms")
    return {
        "clients": found, "took_s": took_s, "before": before, "after": after,
        "daemon_cpu_share": (after["cpu_s"] - before["cpu_s"]) / took_s,
    }  # fmt: skip


def listeners(house: House, size: Size) -> Figures:
    """Streams on both doors; first what they cost at rest, then single events, then a flood of them."""
    _wait_until_idle(house)
    before = house.usage()
    counts = {"unix": size.streams // 2, "tls": size.streams - size.streams // 2}
    helpers = {name: house.helper("crowd_listeners", name, "--streams", count) for name, count in counts.items()}
    opened = {name: helper.line() for name, helper in helpers.items()}
    with_streams = house.usage()
    _wait(2.0)
    rest = house.usage()
    singles = _one_by_one(house)
    with stops(house, size, "listeners"):
        begin = time.monotonic()
        for _ in range(size.burst // 100):
            house.caller.post(JOBS_PATH, [{"task": "test.noop"}] * 100)
        burst_s = time.monotonic() - begin
    goal = house.caller.post(JOBS_PATH, {"task": "test.noop"})
    last = house.caller.get(f"{JOBS_PATH}/{goal['id']}?wait=30")["seq"]
    found = {name: helper.end(f"{last}\n") for name, helper in helpers.items()}
    say(f"        one event to {size.streams}: {singles['cpu_ms_per_event']:.1f} ms of processor time")
    return {
        "opened": opened, "streams": found, "burst_of_jobs": size.burst, "burst_s": burst_s,
        "uss_bytes_per_stream": (with_streams["uss_bytes"] - before["uss_bytes"]) / size.streams,
        "cpu_share_at_rest": (rest["cpu_s"] - with_streams["cpu_s"]) / 2.0, "single_events": singles,
    }  # fmt: skip


def _wait_until_idle(house: House) -> None:
    """The jobs of the phase before go on after its clients have left; what streams see must begin at rest."""
    deadline = time.monotonic() + IDLE_WITHIN_S
    while True:
        states = house.caller.get("/api/v1/jobs/span")["states"]
        if not states["running"] and not states["queued"]:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"jobs go on after {IDLE_WITHIN_S:.0f} s: {states}")
        _wait(0.2)


def _one_by_one(house: House) -> Figures:
    """What one event to all streams costs: jobs one at a time, three events each."""
    rounds = 20
    cpu_s = house.usage()["cpu_s"]
    begin = house.caller.get("/api/v1/jobs/span")
    job: Figures = {}
    seqs = []
    for _ in range(rounds):
        job = house.caller.post(JOBS_PATH, {"task": "test.noop"})
        job = house.caller.get(f"{JOBS_PATH}/{job['id']}?wait=30")
        seqs.append(job["seq"])
        _wait(0.1)
    events = seqs[-1] - seqs[0] + 3
    return {"events": events, "cpu_ms_per_event": (house.usage()["cpu_s"] - cpu_s) * 1000 / events, "span": begin}


def stuck(house: House, size: Size) -> Figures:
    """Clients of good manners alone, then beside stuck ones; the difference is what counts."""
    alone = house.clients("alone", 4)
    _wait(size.rude_s / 2)
    told_alone = {name: helper.end() for name, helper in alone.items()}
    before = house.usage()
    rude = {name: house.helper("crowd_rude", name, "stuck", "--count", size.stuck) for name in house.places}
    ready = {name: helper.line() for name, helper in rude.items()}
    helpers = house.clients("stuck", 4)
    with stops(house, size, "stuck"):
        _wait(size.rude_s)
    found = {name: helper.end() for name, helper in helpers.items()}
    with_stuck = house.usage()
    heard = {name: helper.end() for name, helper in rude.items()}
    slower = {name: found[name]["ms"]["submit"]["50"] / told_alone[name]["ms"]["submit"]["50"] for name in house.places}
    return {
        "stuck": ready, "alone": told_alone, "clients": found, "p50_to_alone": slower, "heard": heard,
        "uss_bytes_more": with_stuck["uss_bytes"] - before["uss_bytes"], "files": with_stuck["files"],
    }  # fmt: skip


def overload(house: House, size: Size) -> Figures:
    """New clients without end, lists of a thousand, long bodies: one after the other, stops in between."""
    found: Figures = {}
    for kind, words in {
        "flood": ("--per-s", size.flood_per_s), "lists": ("--count", 32), "bodies": ("--count", 40)
    }.items():  # fmt: skip
        before = house.usage()
        told = house.folder / f"told-{kind}"
        house.told.append(told)
        helper = house.helper("crowd_rude", "unix", kind, *words, "--told", told)
        helper.line()
        peak = _Peak(house)
        with stops(house, size, f"overload {kind}"), peak:
            _wait(size.rude_s)
        found[kind] = helper.end() | {
            "uss_bytes_more_at_most": peak.uss_bytes - before["uss_bytes"], "files_at_most": peak.files
        }  # fmt: skip
        say(f"        {kind}: {found[kind]['statuses']}")
        begin = time.monotonic()
        with Patient(house.daemon.socket) as caller:
            caller.post(JOBS_PATH, {"task": "test.noop"})
        found[kind]["well_again_s"] = time.monotonic() - begin
    return found


class _Peak(threading.Thread):
    """The most memory and files while a block runs."""

    def __init__(self, house: House) -> None:
        super().__init__(name="peak")
        self._house = house
        self._over = threading.Event()
        self.uss_bytes = 0.0
        self.files = 0.0

    def run(self) -> None:
        """Look ten times a second."""
        while True:
            usage = self._house.usage()
            self.uss_bytes, self.files = max(self.uss_bytes, usage["uss_bytes"]), max(self.files, usage["files"])
            if self._over.wait(0.1):
                return

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


PHASES: dict[str, Callable[[House, Size], Figures]] = {
    "quiet": quiet, "closed": closed, "listeners": listeners, "stuck": stuck, "overload": overload,
}  # fmt: skip
_never = threading.Event()


def _wait(seconds: float) -> None:
    _never.wait(seconds)


def stop_figures(pressed: list[Press], wire_ms: list[float]) -> Figures:
    """By phase, and by its parts where it has some: from the press to the wire, and to the answer."""
    found: Figures = {"unconfirmed": sum(not press.confirmed for press in pressed)}
    for phase in dict.fromkeys([*PHASES, *(press.phase for press in pressed)]):
        mine = [
            place for place, press in enumerate(pressed) if press.phase == phase or press.phase.startswith(f"{phase} ")
        ]
        if mine:
            found[phase] = {
                "wire_ms": summary([wire_ms[place] for place in mine]),
                "answer_ms": summary([pressed[place].answer_s * 1000 for place in mine]),
            }
    found["wire_ms_median"] = statistics.median(wire_ms) if wire_ms else None
    return found

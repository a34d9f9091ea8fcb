"""A daemon that dies or hangs in mid-move: the motor stops by itself, and the bus's own record says so."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from labctl import Client
from labd.errors import LabdError
from tests.acceptance.processes import SLOW, Bus, Daemon
from tests.acceptance.waiting import eventually

PERIOD_S = 0.5
SLACK_S = 0.35  # the motor's ramp and the 20 ms unit of its watchdog, on a busy machine
HANGING_SUPERVISOR = """
import asyncio, pathlib, sys
from labd.resort.drive import motion
hang = pathlib.Path(sys.argv.pop(1))

class Clock:
    def __init__(self, clock):
        self._clock = clock
    def __getattr__(self, name):
        return getattr(self._clock, name)
    async def sleep(self, seconds):
        while hang.exists():
            await self._clock.sleep(0.1)
        await self._clock.sleep(seconds)

init = motion.MotionSupervisor.__init__
motion.MotionSupervisor.__init__ = lambda self, bus, servo, clock, *rest: init(self, bus, servo, Clock(clock), *rest)
from labd.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def slow(daemons: Callable[..., Daemon], bus: Bus) -> Daemon:
    """A daemon whose moves take seconds."""
    return daemons(bus.settings(**SLOW)).start().ready()


@contextmanager
def polled(daemon: Daemon) -> Iterator[Callable[[], int]]:
    """Eight clients ask for the status as fast as they can; gives how often they were answered."""
    enough, counts = threading.Event(), [0] * 8

    def poll(number: int) -> None:
        while not enough.is_set():
            with Client(daemon.host, timeout_s=1.0) as client:
                try:
                    while not enough.is_set():
                        client.resort_status()
                        counts[number] += 1
                except (LabdError, OSError):
                    enough.wait(0.05)

    threads = [threading.Thread(target=poll, args=(number,), name=f"poller {number}") for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(counts)
    finally:
        enough.set()
        for thread in threads:
            thread.join(20.0)
    assert not any(thread.is_alive() for thread in threads)


def stopped_by_itself(bus: Bus) -> None:
    """Assert from the record: the last packet, the trip one period later, rest, and no packet in between."""
    trip = eventually(lambda: bus.lines("watchdog_tripped"), 5.0, "a trip of the motor's watchdog")[-1]
    eventually(lambda: bus.servo()["velocity"] == 0, 2.0, "a motor at rest")
    heard = [line["mono"] for line in bus.lines("frame") if line["direction"] == "rx" and line["mono"] <= trip["mono"]]
    assert PERIOD_S - 0.03 <= trip["mono"] - heard[-1] <= PERIOD_S + SLACK_S
    rest = next(line for line in bus.lines("at_rest", "move_ended") if line["mono"] >= trip["mono"])
    assert rest["mono"] - trip["mono"] <= SLACK_S


def test_killed_in_mid_move_the_motor_stops_and_a_person_decides(slow: Daemon, bus: Bus) -> None:
    job = slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    slow.kill()
    stopped_by_itself(bus)
    cut_at = bus.servo()["position"]
    assert 12 < abs(cut_at) < 2000
    known = bus.lines()[-1]["mono"]

    slow.start().ready()
    assert slow.job(job["id"])["state"] == "interrupted"
    assert {"watchdog_tripped", "interrupted"} <= {item["code"] for item in slow.client.status()["attention"]}
    kinds = [event["kind"] for event in slow.client.events(after=0, quiet_s=0.5)]
    assert "device.watchdog_tripped" in kinds and "job.interrupted" in kinds
    code, out, _ = slow.labctl("job", "why", job["id"])
    assert code == 0 and f"labctl job retry {job['id']}" in out
    assert bus.lines("move_started", after=known) == []  # nothing moved by itself
    assert abs(bus.servo()["position"] - cut_at) <= 2

    code, out, err = slow.labctl("job", "retry", job["id"])
    assert code == 0, err
    assert slow.ended(job["id"])["state"] == "succeeded"
    assert abs(abs(bus.servo()["position"]) - 2048) <= 12
    writes = bus.writes(after=known)
    first_move = bus.lines("move_started", after=known)[0]["mono"]
    names = [name for name, _, at in writes if at <= first_move + 0.01]
    profile = [max(i for i, name in enumerate(names) if name == wanted)
               for wanted in ("profile_velocity", "profile_acceleration")]  # fmt: skip
    goals = [i for i, name in enumerate(names) if name == "goal_position"]
    assert min(names.index("profile_velocity"), names.index("profile_acceleration")) < goals[0]
    assert max(profile) < goals[-1]


def test_hanging_in_mid_move_the_motor_stops_while_eight_clients_poll(slow: Daemon, bus: Bus) -> None:
    with polled(slow):
        job = slow.client.submit("resort.activate_hotel", {"hotel": "C"})
        bus.moving()
        slow.send(signal.SIGSTOP)
        stopped_by_itself(bus)
        known = bus.lines()[-1]["mono"]
        slow.send(signal.SIGCONT)
    ended = slow.ended(job["id"], 15.0)
    # which of the two it is depends on what it looks at first when it wakes up
    assert ended["state"] == "failed"
    assert ended["error"]["code"] in ("watchdog_tripped", "device_lost"), ended["error"]
    eventually(lambda: slow.resort()["watchdog"]["trips"] == 1, 5.0, "a report of the trip")
    assert "watchdog_tripped" in {item["code"] for item in slow.client.status()["attention"]}
    assert bus.lines("move_started", after=known) == []


def test_a_supervisor_that_hangs_in_a_living_daemon_stops_the_motor_while_eight_clients_poll(
    daemons: Callable[..., Daemon], bus: Bus
) -> None:
    daemon = daemons(bus.settings(**SLOW))
    launcher, hang = daemon.folder / "launcher.py", daemon.folder / "hang"
    launcher.write_text(HANGING_SUPERVISOR)
    daemon.run_instead = [sys.executable, str(launcher), str(hang), *daemon.command[daemon.command.index("run") :]]
    daemon.start().ready()
    with polled(daemon) as answers:
        daemon.client.submit("resort.activate_hotel", {"hotel": "C"})
        bus.moving()
        hang.touch()
        before = answers()
        stopped_by_itself(bus)
        assert answers() - before >= 8, "the daemon itself lives on and answers"
    assert daemon.labctl.json("resort", "stop")["confirmed"]  # a stop needs no supervisor
    assert not bus.servo()["torque"]


def test_a_queued_move_waits_for_a_person_after_a_kill(slow: Daemon, bus: Bus) -> None:
    first = slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    second = slow.client.submit("resort.activate_hotel", {"hotel": "B"})
    bus.moving()
    slow.kill()
    stopped_by_itself(bus)
    slow.start().ready()
    assert slow.job(first["id"])["state"] == "interrupted"
    held = slow.job(second["id"])
    assert held["state"] == "queued" and held["hold"], held
    assert f"labctl job release {second['id']}" in slow.labctl.ok("job", "why", second["id"])
    slow.labctl.ok("job", "release", second["id"])
    assert slow.ended(second["id"])["state"] == "succeeded"

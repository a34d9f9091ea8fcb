"""The port goes away and comes back; the bus runs on in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.acceptance.processes import SLOW, Bus, Daemon
from tests.acceptance.waiting import eventually


def test_unplugged_is_lost_within_a_second_and_back_within_three(carousel: Daemon, bus: Bus) -> None:
    carousel.labctl.ok("queue", "pause", "standard")
    job = carousel.client.submit("resort.activate_hotel", {"hotel": "B"})
    bus.do("unplug")
    gone_at = time.monotonic()
    eventually(lambda: carousel.resort()["state"] == "lost", 1.0, "the loss")
    assert time.monotonic() - gone_at < 1.0
    assert carousel.labctl("resort", "position")[0] == 4
    assert carousel.labctl("resort", "activate", "A")[0] == 4
    bus.do("plug")
    eventually(lambda: carousel.resort()["state"] == "ready", 3.0, "the return")
    carousel.ready()

    carousel.labctl.ok("queue", "resume", "standard")
    code, out, _ = carousel.labctl("job", "wait", job["id"])
    assert code == 6 and "release" in carousel.labctl.ok("job", "why", job["id"]), out
    assert bus.servo()["moves"] == 0
    carousel.labctl.ok("job", "release", job["id"])
    assert carousel.ended(job["id"])["state"] == "succeeded"
    assert bus.servo()["moves"] == 1


def test_unplugged_in_mid_move_the_move_fails_and_nothing_moves_on_return(
    daemons: Callable[..., Daemon], bus: Bus
) -> None:
    daemon = daemons(bus.settings(**SLOW)).start().ready()
    job = daemon.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    bus.do("unplug")
    ended = daemon.ended(job["id"], 3.0)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "device_lost")
    eventually(lambda: bus.servo()["velocity"] == 0, 2.0, "a motor stopped by its own watchdog")
    assert bus.servo()["watchdog_trips"] == 1
    bus.do("plug")
    known = bus.lines()[-1]["mono"]
    daemon.ready()
    assert bus.lines("move_started", after=known) == []
    assert "watchdog_tripped" in {item["code"] for item in daemon.client.status()["attention"]}
    daemon.labctl.ok("resort", "speed", "50")
    daemon.labctl.ok("resort", "activate", "C")


def test_a_daemon_that_starts_without_its_motor_serves_and_finds_it_later(
    daemons: Callable[..., Daemon], bus: Bus
) -> None:
    bus.do("unplug")
    daemon = daemons(bus.settings()).start()
    assert daemon.labctl.json("resort", "status")["connected"] is False
    assert daemon.labctl("resort", "activate", "A")[0] == 4
    bus.do("plug")
    daemon.ready()
    daemon.labctl.ok("resort", "activate", "B")

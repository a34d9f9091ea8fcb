"""SIGTERM drains, a second one ends at once, SIGHUP reloads a whole file or nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.acceptance.processes import SLOW, Bus, Daemon, toml
from tests.acceptance.waiting import eventually

EMPTY = ""


def test_a_drain_lets_repeatable_work_finish_and_refuses_new_work(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("engine", drain_s=10.0), test_wing=True).start()
    job = daemon.client.submit("test.sleep", {"duration_s": 1.5})
    waiting = daemon.client.submit("test.sleep", {"duration_s": 0.1}, delay_s=600)
    eventually(lambda: daemon.job(job["id"])["state"] == "running", 5.0)
    daemon.send(signal.SIGTERM)
    eventually(lambda: daemon.client.status()["state"] == "draining", 2.0)
    assert daemon.labctl("job", "submit", "test.noop")[0] == 4
    assert daemon.wait() == 0
    assert not daemon.socket.exists()
    daemon.start()
    ended = daemon.job(job["id"])
    assert (ended["state"], ended["attempt"], ended["result"]) == ("succeeded", 1, 1)
    assert daemon.job(waiting["id"])["state"] == "queued"


def test_repeatable_work_cut_by_the_end_of_the_drain_runs_again(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("engine", drain_s=0.3), test_wing=True).start()
    job = daemon.client.submit("test.sleep", {"duration_s": 3.0})
    eventually(lambda: daemon.job(job["id"])["state"] == "running", 5.0)
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    daemon.start()
    assert daemon.ended(job["id"])["state"] == "succeeded"


def test_a_move_longer_than_the_drain_is_held_confirmed_and_interrupted(
    daemons: Callable[..., Daemon], bus: Bus
) -> None:
    daemon = daemons(bus.settings(**SLOW) + toml("engine", drain_s=0.5)).start().ready()
    job = daemon.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    servo = bus.servo()
    assert (servo["velocity"], servo["watchdog"], servo["watchdog_trips"]) == (0, 0, 0)
    assert servo["torque"], "torque stays on across the end of labd"
    assert abs(servo["goal"] - servo["position"]) <= 2 and abs(servo["position"]) < 2000
    known = bus.lines()[-1]["mono"]
    daemon.start().ready()
    assert daemon.job(job["id"])["state"] == "interrupted"
    assert bus.lines("move_started", "torque", after=known) == []
    code, _, _ = daemon.labctl("job", "wait", job["id"])
    assert code == 6


def test_a_second_sigterm_ends_at_once(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("engine", drain_s=60.0), test_wing=True).start()
    job = daemon.client.submit("test.physical", {"duration_s": 30.0})
    eventually(lambda: daemon.job(job["id"])["state"] == "running", 5.0)
    daemon.send(signal.SIGTERM)
    eventually(lambda: daemon.client.status()["state"] == "draining", 2.0)
    daemon.send(signal.SIGTERM)
    assert daemon.wait(3.0) == 1
    daemon.start()
    assert daemon.job(job["id"])["state"] == "interrupted"


def test_sighup_applies_queues_and_access_and_refuses_a_faulty_file_whole(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(EMPTY, test_wing=True).start()
    queues = {queue["name"]: queue for queue in daemon.client.queues()}
    assert queues["standard"]["concurrency"] == 4
    daemon.configure(
        '[queue.standard]\nconcurrency = 1\n[queue.extra]\npriority = 3\n[access]\nusers = { nobody = ["read"] }\n'
    )
    daemon.send(signal.SIGHUP)
    eventually(lambda: daemon.events("settings.reloaded"), 5.0)
    queues = {queue["name"]: queue for queue in daemon.client.queues()}
    assert (queues["standard"]["concurrency"], queues["extra"]["priority"]) == (1, 3)
    assert "access.users.nobody" in str(daemon.events("settings.reloaded")[-1]["changed"])

    daemon.configure("[queue.standard]\nconcurrency = 9\n[queue.extra]\npriority = 99\n")
    daemon.send(signal.SIGHUP)
    refusals = eventually(lambda: daemon.events("settings.refused"), 5.0)
    assert "queue.extra.priority" in str(refusals)
    queues = {queue["name"]: queue for queue in daemon.client.queues()}
    assert (queues["standard"]["concurrency"], queues["extra"]["priority"]) == (1, 3)
    job = daemon.client.submit("test.noop")
    assert daemon.ended(job["id"])["state"] == "succeeded"

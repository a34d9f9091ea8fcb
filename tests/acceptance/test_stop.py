"""`labctl resort stop`: in every state of the queue, the disk and the daemon."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.processes import SLOW, Bus, Daemon
from tests.acceptance.waiting import eventually

ANSWER_S = 1.0


@pytest.fixture
def slow(daemons: Callable[..., Daemon], bus: Bus) -> Daemon:
    """A daemon whose moves take seconds."""
    return daemons(bus.settings(**SLOW)).start().ready()


@pytest.fixture
def mounts() -> Iterator[Callable[..., None]]:
    """Mounts that are gone after the test."""
    with ExitStack() as ends:

        def mount(*words: str) -> None:
            subprocess.run(["mount", *words], check=True, capture_output=True)
            ends.callback(subprocess.run, ["umount", "--lazy", words[-1]], check=False, capture_output=True)

        yield mount


def can_mount(folder: Path) -> bool:
    """Whether this user may mount here."""
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
    return done.returncode == 0 and subprocess.run(["umount", folder], check=False).returncode == 0


def stop(daemon: Daemon, *words: str) -> dict[str, Any]:
    """Press stop; what it answered."""
    answer: dict[str, Any] = daemon.labctl.json("resort", "stop", *words)
    assert answer["confirmed"] and answer["latched"], answer
    return answer


def refused(daemon: Daemon) -> str:
    """Motion is refused with exit code 4; the message."""
    code, out, err = daemon.labctl("resort", "activate", "A")
    assert code == 4, (code, out, err)
    return err


def reset(daemon: Daemon) -> None:
    """End the stop by name."""
    daemon.labctl.ok("resort", "reset", "--by", "ada", "--reason", "it is free")


def at_rest_without_torque(bus: Bus) -> None:
    """From the bus itself."""
    servo = eventually(lambda: (s := bus.servo())["velocity"] == 0 and s, 2.0, "a motor at rest")
    assert not servo["torque"]


def test_stop_ends_a_move_although_its_queue_is_paused(slow: Daemon, bus: Bus) -> None:
    job = slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    slow.labctl.ok("queue", "pause", "standard", "--reason", "lunch")
    answer = stop(slow, "--reason", "a hand in there")
    at_rest_without_torque(bus)
    assert answer["latched_durably"] is True
    assert job["id"] in answer["cancelled_jobs"]
    ended = slow.ended(job["id"])
    assert ended["state"] in ("cancelled", "failed") and ended["error"]["code"] == "stop_latched"
    off = next(at for name, value, at in reversed(bus.writes()) if (name, value) == ("torque_enable", 0))
    assert bus.lines("move_started", after=off) == []


def test_stop_cancels_two_hundred_queued_motions(slow: Daemon, bus: Bus) -> None:
    hotels = [{"task": "resort.activate_hotel", "args": {"hotel": "ABCD"[number % 4]}} for number in range(2, 202)]
    jobs = slow.client.submit_many(hotels)
    bus.moving()
    answer = stop(slow)
    at_rest_without_torque(bus)
    assert set(answer["cancelled_jobs"]) == {job["id"] for job in jobs}
    eventually(lambda: slow.client.status()["jobs"]["queued"] == 0, 5.0)
    ended = slow.client.jobs(limit=500)["jobs"]
    assert {job["state"] for job in ended if job["task"] == "resort.activate_hotel"} <= {"cancelled", "failed"}
    assert len(bus.lines("move_started")) == 1


def test_stop_stays_latched_over_kill_and_restart_until_a_reset_by_name(slow: Daemon, bus: Bus) -> None:
    slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    stop(slow, "--reason", "smoke")
    slow.kill()
    known = bus.lines()[-1]["mono"]
    slow.start()
    assert "smoke" in refused(slow)
    status = slow.labctl.json("resort", "status")
    assert status["stop_latched"] and status["latch"]["reason"] == "smoke"
    eventually(lambda: slow.resort()["stop_confirmed"], 5.0, "a confirmed stop after the restart")
    assert not bus.servo()["torque"]
    assert slow.labctl("resort", "reset", "--reason", "no name")[0] == 2
    assert slow.labctl("resort", "reset", "--by", "ada")[0] == 2
    refused(slow)
    assert bus.lines("move_started", after=known) == []
    reset(slow)
    slow.ready()
    slow.labctl.ok("resort", "activate", "C")
    entries = slow.client.audit()["entries"]
    assert [e["details"]["by"] for e in entries if e["action"] == "resort.reset"] == ["ada"]


def test_stop_with_a_full_disk_says_that_a_power_cut_would_not_be_survived(
    daemons: Callable[..., Daemon], bus: Bus, mounts: Callable[..., None]
) -> None:
    daemon = daemons(bus.settings(**SLOW))
    daemon.state.mkdir()
    if can_mount(daemon.state):
        mounts("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(daemon.state))
    daemon.start().ready()
    daemon.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    freed = fill(daemon)
    code, _, err = eventually(lambda: (told := daemon.labctl("job", "submit", "resort.go_home"))[0] and told, 10.0)
    assert code == 4 and "takes no more writes" in err
    status = daemon.labctl.json("status")
    assert status["state"] == "store_full" and status["store"]["full"] is True
    assert daemon.labctl("job", "list")[0] == 0
    answer = stop(daemon)
    at_rest_without_torque(bus)
    assert answer["latched_durably"] is False
    assert "a power cut would not be survived" in answer["note"] or "in memory only" in answer["note"]
    refused(daemon)
    freed()
    eventually(lambda: daemon.client.status()["state"] == "serving", 15.0, "recovery without a restart")
    eventually(lambda: daemon.resort()["latch"]["durable"], 15.0, "a latch on disk")
    daemon.kill()
    for file in daemon.runtime.glob("*.stop-latched"):
        file.unlink()  # as a power cut would
    daemon.start()
    refused(daemon)


def fill(daemon: Daemon) -> Callable[[], None]:
    """Let the daemon's disk take no more; the answer gives the room back."""
    if daemon.state.is_mount():
        ballast = daemon.state / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        return ballast.unlink
    process = psutil.Process(daemon.pid)
    hard = process.rlimit(resource.RLIMIT_FSIZE)[1]
    process.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    return lambda: process.rlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_stop_when_no_file_can_grow_says_what_it_is_worth(slow: Daemon, bus: Bus) -> None:
    slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    process = psutil.Process(slow.pid)
    hard = process.rlimit(resource.RLIMIT_FSIZE)[1]
    process.rlimit(resource.RLIMIT_FSIZE, (0, hard))  # its log file cannot grow either
    code, _, err = slow.labctl("job", "submit", "resort.get_motor_health")
    assert code == 4 and "takes no more writes" in err, err
    answer = stop(slow)
    at_rest_without_torque(bus)
    assert answer["latched_durably"] is False and "in memory only" in answer["note"], answer
    process.rlimit(resource.RLIMIT_FSIZE, (hard, hard))
    eventually(lambda: slow.resort()["latch"]["durable"], 15.0, "a latch on disk")
    slow.labctl.ok("task", "run", "resort.get_motor_health")
    slow.kill()
    slow.start()
    refused(slow)


def test_stop_with_a_read_only_state_folder(slow: Daemon, bus: Bus, mounts: Callable[..., None]) -> None:
    slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    if can_mount(slow.state):
        mounts("--bind", str(slow.state), str(slow.state))
        subprocess.run(["mount", "-o", "remount,bind,ro", slow.state], check=True, capture_output=True)
    else:
        slow.state.chmod(0o500)
    with pytest.raises(OSError, match=r"Read-only|denied"):
        (slow.state / "x").touch()
    answer = stop(slow)
    at_rest_without_torque(bus)
    refused(slow)
    slow.kill()
    subprocess.run(["umount", "--lazy", slow.state], check=False, capture_output=True)
    slow.state.chmod(0o700)
    if answer["latched_durably"]:
        for file in slow.runtime.glob("*.stop-latched"):
            file.unlink()  # as a power cut would
    else:
        assert "a power cut would not be survived" in answer["note"]
    slow.start()
    refused(slow)


def not_stopped_within_a_second(daemon: Daemon) -> str:
    """What is told when nobody answers; the best of three, since the machine may be busy with something else."""
    took_s = []
    for _ in range(3):
        code, out, err = daemon.labctl("resort", "stop")
        assert (code, out) == (3, ""), (code, out, err)
        took_s.append(daemon.labctl.took_s)
        if took_s[-1] < ANSWER_S:
            return err
    raise AssertionError(f"no answer within {ANSWER_S:g} s, but after {took_s}")


def test_stop_with_a_dead_daemon_answers_within_a_second_and_names_the_dead_man(slow: Daemon, bus: Bus) -> None:
    slow.labctl.ok("resort", "connect")
    slow.kill()
    told = not_stopped_within_a_second(slow)
    for words in ("NOT STOPPED BY LABD", "within 0.5 s", "CUT POWER", "cut power, or `labctl resort stop --direct`"):
        assert words in told


def test_stop_with_a_hanging_daemon_answers_within_a_second(slow: Daemon, bus: Bus) -> None:
    slow.labctl.ok("resort", "status")
    slow.send(signal.SIGSTOP)
    told = not_stopped_within_a_second(slow)
    slow.send(signal.SIGCONT)
    for words in ("labd hangs, no answer", "within 0.5 s", "CUT POWER"):
        assert words in told


def test_stop_direct_opens_the_port_that_nobody_holds(slow: Daemon, bus: Bus) -> None:
    slow.labctl.ok("resort", "status")
    assert bus.servo()["torque"]
    slow.kill()
    code, out, err = slow.labctl("resort", "stop", "--direct")
    assert code == 0, err
    assert "STOPPED DIRECTLY" in out and not bus.servo()["torque"]
    slow.start()
    refused(slow)  # the daemon finds the stop that came while it was dead
    assert not bus.servo()["torque"]


def test_stop_direct_is_refused_while_a_hanging_daemon_holds_the_port(slow: Daemon, bus: Bus) -> None:
    slow.labctl.ok("resort", "status")
    slow.send(signal.SIGSTOP)
    code, out, err = slow.labctl("resort", "stop", "--direct")
    slow.send(signal.SIGCONT)
    assert code == 3 and "CUT POWER" in out + err, (code, out, err)
    assert "STOPPED DIRECTLY" not in out


def test_hold_stops_a_move_and_keeps_the_torque(slow: Daemon, bus: Bus) -> None:
    job = slow.client.submit("resort.activate_hotel", {"hotel": "C"})
    bus.moving()
    slow.labctl.ok("resort", "hold")
    servo = eventually(lambda: (s := bus.servo())["velocity"] == 0 and s, 2.0, "a motor at rest")
    assert servo["torque"]
    assert slow.ended(job["id"])["state"] != "succeeded"
    assert slow.resort()["stop_latched"] is False

"""sd_notify over real datagram sockets, inherited listeners, and the rule that feeds the watchdog."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from labd.errors import SettingsFault, StoreDamaged, StoreFull
from labd.systemd import Notifier, Watchdog, listen_sockets
from tests.conftest import requires_program
from tests.fakes.service_manager import ServiceManager, service_manager


class HandClock:
    """Sleeps end when the test says."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()

    def wall(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.begun.put_nowait((delay_s, future))
        await future


def notifier_for(manager: ServiceManager, **variables: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.address, **variables})


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_messages_arrive_whole_and_from_the_main_process(state_dir: Path, kind: str) -> None:
    address = str(state_dir / "notify") if kind == "path" else f"@labd-test-{secrets.token_hex(8)}"
    with service_manager(address) as manager:
        notifier = notifier_for(manager)
        notifier.ready("serving on two\nlisteners")
        notice = manager.receive()
        assert notice.fields == {"READY": "1", "STATUS": "serving on two listeners"}
        assert notice.pid == os.getpid()
        notifier.stopping()
        assert manager.receive().fields == {"STOPPING": "1"}
        notifier.extend_timeout(2.5)
        assert manager.receive().fields == {"EXTEND_TIMEOUT_USEC": "2500000"}
        notifier.watchdog()
        assert manager.receive().fields == {"WATCHDOG": "1"}
        notifier.status("idle")
        assert manager.receive().fields == {"STATUS": "idle"}


def test_a_reload_tells_its_monotonic_time_in_the_same_datagram(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager:
        notifier = notifier_for(manager)
        before_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        fields = manager.receive().fields
        after_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert set(fields) == {"RELOADING", "MONOTONIC_USEC"}
        assert before_us <= int(fields["MONOTONIC_USEC"]) <= after_us


def test_without_a_manager_nothing_happens() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": ""}):
        notifier = Notifier(dict(environ))
        assert not notifier.managed
        notifier.ready()
        notifier.watchdog()


def test_a_full_queue_neither_blocks_nor_loses_ready(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager:
        notifier = notifier_for(manager)
        taken = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
            try:
                while taken < 100_000:
                    other.sendto(b"STATUS=x", manager.address)
                    taken += 1
            except BlockingIOError:
                pass
        notifier.ready()
        notifier.status("stale")
        notifier.watchdog()
        for _ in range(taken):
            assert manager.receive().fields == {"STATUS": "x"}
        assert manager.silent()
        notifier.watchdog()
        assert manager.receive().fields == {"READY": "1"}
        assert manager.receive().fields == {"WATCHDOG": "1"}
        assert manager.silent()


def test_a_manager_that_is_gone_is_survived(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager:
        notifier = notifier_for(manager)
    notifier.ready()
    (state_dir / "notify").unlink()
    with service_manager(state_dir / "notify") as manager:
        notifier.status("back")
        assert manager.receive().fields == {"READY": "1"}
        assert manager.receive().fields == {"STATUS": "back"}


def test_children_inherit_neither_variables_nor_descriptors(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state_dir / "labd.sock"))
        listener.listen()
        fd = os.dup(listener.fileno())
        os.set_inheritable(fd, True)
        environ = {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": "6000000",
            "WATCHDOG_PID": str(os.getpid()),
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "labd.socket",
            "PATH": os.environ["PATH"],
        }
        Notifier(environ).ready()
        (inherited,) = listen_sockets(environ, first_fd=fd)
        assert listen_sockets(environ, first_fd=fd) == []
        report = "import json, os; print(json.dumps([sorted(os.environ), os.listdir('/proc/self/fd')]))"
        child = subprocess.run(
            [sys.executable, "-I", "-c", report], env=environ, close_fds=False, capture_output=True, check=True
        )
        names, descriptors = json.loads(child.stdout)
        assert not [name for name in names if name.startswith(("NOTIFY", "WATCHDOG", "LISTEN"))]
        assert str(fd) not in descriptors
        assert inherited.name == "labd.socket"
        assert inherited.socket.getsockname() == str(state_dir / "labd.sock")
        inherited.socket.close()


def test_sockets_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert listen_sockets(environ) == []
    assert environ == {}


def test_a_descriptor_that_does_not_listen_is_refused_by_name() -> None:
    first, second = socket.socketpair()
    with second:
        fd = first.detach()
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "labd"}
        with pytest.raises(SettingsFault, match=rf"systemd socket labd \(descriptor {fd}\) is no listening stream"):
            listen_sockets(environ, first_fd=fd)
    with pytest.raises(SettingsFault, match="Bad file descriptor"):
        listen_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}, first_fd=fd)


def test_the_tool_systemd_socket_activate_hands_over_a_listener(state_dir: Path) -> None:
    tool = requires_program("systemd-socket-activate", "apt-get install systemd")
    path = state_dir / "labd.sock"
    program = (
        "import os; from labd.systemd import listen_sockets\n"
        "(one,) = listen_sockets(os.environ)\n"
        "one.socket.setblocking(True)\n"
        "peer, _ = one.socket.accept(); peer.sendall(one.name.encode()); peer.close()"
    )
    command = [tool, "-l", str(path), "--fdname=labd.socket", sys.executable, "-c", program]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    ) as activated:
        assert activated.stderr is not None
        assert b"Listening" in activated.stderr.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(path))
            assert client.recv(100) == b"labd.socket"
        assert activated.wait(10) == 0


def test_the_double_closes_descriptors_so_the_real_systemd_notify_passes_its_barrier(state_dir: Path) -> None:
    tool = requires_program("systemd-notify", "apt-get install systemd")
    with service_manager(state_dir / "notify") as manager:
        environ = {**os.environ, "NOTIFY_SOCKET": manager.address}
        with subprocess.Popen([tool, "--ready", "--status=hello"], env=environ, stderr=subprocess.PIPE) as sent:
            assert manager.receive().fields == {"READY": "1", "STATUS": "hello"}
            barrier = manager.receive()
            assert barrier.fields == {"BARRIER": "1"}
            assert barrier.descriptors == 1
            assert sent.wait(10) == 0


# --- watchdog --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_period_is_taken_only_if_meant_for_this_process(
    variables: dict[str, str], watchdog_s: float | None
) -> None:
    assert Notifier(dict(variables)).watchdog_s == watchdog_s


async def answers() -> None:
    return None


async def full() -> None:
    raise StoreFull("no space left on the disk")


async def damaged() -> None:
    raise StoreDamaged("labd.db: database disk image is malformed")


async def hangs() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize(
    ("probe", "fields"),
    [
        (answers, {"WATCHDOG": "1"}),
        (full, {"WATCHDOG": "1"}),
        (damaged, {"STATUS": "watchdog not fed: labd.db: database disk image is malformed"}),
        (hangs, {"STATUS": "watchdog not fed: the journal has not answered within 2 s"}),
    ],
)
async def test_the_watchdog_is_fed_only_while_the_journal_answers(
    state_dir: Path, probe: Callable[[], Awaitable[None]], fields: dict[str, str]
) -> None:
    with service_manager(state_dir / "notify") as manager:
        clock = HandClock()
        watchdog = Watchdog(notifier_for(manager, WATCHDOG_USEC="6000000"), probe, clock)
        feeding = asyncio.ensure_future(watchdog.feed(2.0))
        _, limit = await clock.begun.get()
        if probe is hangs:
            limit.set_result(None)
        assert await feeding is ("WATCHDOG" in fields)
        assert manager.receive().fields == fields
        assert manager.silent()


async def test_it_is_fed_again_when_the_journal_answers_again(state_dir: Path) -> None:
    probes = iter([damaged, answers])
    with service_manager(state_dir / "notify") as manager:
        notifier = notifier_for(manager, WATCHDOG_USEC="6000000")
        watchdog = Watchdog(notifier, lambda: next(probes)(), HandClock())
        assert not await watchdog.feed(2.0)
        assert await watchdog.feed(2.0)
        assert manager.receive().fields["STATUS"].startswith("watchdog not fed")
        assert manager.receive().fields == {"STATUS": "serving"}
        assert manager.receive().fields == {"WATCHDOG": "1"}


async def test_it_runs_three_times_a_period_until_cancelled(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager:
        clock = HandClock()
        running = asyncio.ensure_future(Watchdog(notifier_for(manager, WATCHDOG_USEC="6000000"), answers, clock).run())
        for _ in range(3):
            limit_s, _ = await clock.begun.get()
            wait_s, waiting = await clock.begun.get()
            assert (limit_s, wait_s) == (2.0, 2.0)
            assert manager.receive().fields == {"WATCHDOG": "1"}
            assert manager.silent()
            waiting.set_result(None)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_without_a_watchdog_the_rule_ends_at_once(state_dir: Path) -> None:
    with service_manager(state_dir / "notify") as manager:
        await Watchdog(notifier_for(manager), hangs, HandClock()).run()
        assert manager.silent()


async def test_an_unexpected_fault_of_the_probe_ends_the_feeding(state_dir: Path) -> None:
    async def breaks() -> None:
        raise ZeroDivisionError

    with service_manager(state_dir / "notify") as manager:
        with pytest.raises(ZeroDivisionError):
            await Watchdog(notifier_for(manager, WATCHDOG_USEC="6000000"), breaks, HandClock()).run()
        assert manager.silent()

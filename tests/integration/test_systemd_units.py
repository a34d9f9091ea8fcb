"""The unit files: read by systemd's own tools without a word, within the exposure goal, and the daemon runs under them.

No service manager runs here. What is proved: systemd-analyze, systemd-sysusers and systemd-tmpfiles accept the files;
the system-call and address-family rules, loaded through libseccomp, let the daemon work.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import requires, requires_program
from tests.fakes import seccomp_exec
from tests.fakes.service_manager import Notice, ServiceManager, service_manager

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib" / "systemd"
EXPOSURE_AT_MOST = 2.0


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [str(part) for part in command], capture_output=True, text=True, timeout=50, **{"check": False, **options}
    )


def render(folder: Path, variants: bool = False) -> list[Path]:
    """Copies of both units whose programs exist on this machine; with all commented variants if asked."""
    copies = []
    for name in ("labd.service", "labd.socket"):
        text = (CONTRIB / name).read_text()
        text = text.replace("/opt/labd/bin/labd", sys.executable)
        text = text.replace("/bin/kill", shutil.which("kill") or sys.executable)
        if variants:
            text = text.replace("\n#X ", "\n")
        copies.append(folder / name)
        copies[-1].write_text(text)
    return copies


# --- lint ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("variants", [False, True], ids=["as shipped", "every variant on"])
def test_verify_says_nothing_at_all(state_dir: Path, variants: bool) -> None:
    tool = requires_program("systemd-analyze", "apt-get install systemd")
    verified = run(tool, "verify", *render(state_dir, variants))
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)


def test_verify_speaks_up_when_a_line_is_wrong(state_dir: Path) -> None:
    tool = requires_program("systemd-analyze", "apt-get install systemd")
    service, _ = render(state_dir)
    service.write_text(service.read_text().replace("WatchdogSec=30", "WatchdogSec=soon"))
    assert "Failed to parse sec value, ignoring: soon" in run(tool, "verify", service).stderr


def test_the_exposure_is_two_or_better(state_dir: Path) -> None:
    tool = requires_program("systemd-analyze", "apt-get install systemd")
    service, _ = render(state_dir)
    rated = run(tool, "security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST * 10:g}", service)
    found = re.search(r"Overall exposure level for labd\.service: ([0-9.]+)", rated.stdout)
    assert found, rated.stdout + rated.stderr
    assert float(found[1]) <= EXPOSURE_AT_MOST
    assert (rated.stderr, rated.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("Type", ["notify"]),
        ("KillMode", ["mixed"]),
        ("WatchdogSec", ["30"]),
        ("RestartPreventExitStatus", ["78"]),
        ("SupplementaryGroups", ["dialout"]),
        ("DeviceAllow", ["char-ttyUSB rw", "char-ttyACM rw"]),
        ("RuntimeDirectoryPreserve", ["yes"]),  # the stop latch's file
        ("PrivateUsers", []),  # would blind SO_PEERCRED
        ("PrivateDevices", []),  # would take the serial ports away
        ("IPAddressDeny", []),  # would cut robots and databases off
        ("MemoryDenyWriteExecute", []),  # would break a JVM
    ],
)
def test_lines_that_other_parts_of_labd_rely_on(key: str, values: list[str]) -> None:
    assert seccomp_exec.values_of(CONTRIB / "labd.service", key) == values


def test_the_socket_stands_outside_of_the_runtime_directory() -> None:
    (listen,) = seccomp_exec.values_of(CONTRIB / "labd.socket", "ListenStream")
    (runtime,) = seccomp_exec.values_of(CONTRIB / "labd.service", "RuntimeDirectory")
    assert not Path(listen).is_relative_to(f"/run/{runtime}")


def test_sysusers_and_tmpfiles_make_user_and_folders(state_dir: Path) -> None:
    requires("root", os.geteuid() == 0, "folders get owners")
    sysusers = requires_program("systemd-sysusers", "apt-get install systemd")
    tmpfiles = requires_program("systemd-tmpfiles", "apt-get install systemd")
    (state_dir / "etc").mkdir()
    made = run(sysusers, f"--root={state_dir}", CONTRIB / "sysusers.d" / "labd.conf")
    assert made.returncode == 0, made.stderr
    (user,) = [line.split(":") for line in (state_dir / "etc/passwd").read_text().splitlines() if "labd:" in line]
    groups = {line.split(":")[0]: line.split(":") for line in (state_dir / "etc/group").read_text().splitlines()}
    assert user[5] == "/var/lib/labd"
    assert user[6].endswith("nologin")
    assert groups["dialout"][3] == "labd"
    made = run(tmpfiles, "--create", f"--root={state_dir}", CONTRIB / "tmpfiles.d" / "labd.conf")
    assert (made.stderr, made.returncode) == ("", 0)
    found = {
        str(folder.relative_to(state_dir)): (folder.stat().st_mode & 0o7777, folder.stat().st_uid)
        for folder in (state_dir / part for part in ("etc/labd", "etc/labd/secrets", "run/labd", "var/lib/labd"))
    }
    labd = int(user[2])
    assert found == {
        "etc/labd": (0o755, 0),
        "etc/labd/secrets": (0o700, 0),
        "run/labd": (0o755, labd),
        "var/lib/labd": (0o700, labd),
    }


def test_udev_rules_are_whole_and_set_what_a_bus_needs() -> None:
    text = (CONTRIB / "udev" / "60-labd.rules").read_text()
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    part = re.compile(r'[A-Z]+(\{[A-Za-z_]+\})?(==|!=|=|\+=)"[^"]*"')
    for rule in rules:
        assert all(part.fullmatch(piece) for piece in rule.split(", ")), rule
    assert any('ATTR{latency_timer}="1"' in rule and 'DRIVER=="ftdi_sio"' in rule for rule in rules)
    assert any('GROUP="dialout"' in rule and 'TAG+="systemd"' in rule for rule in rules)


# --- function --------------------------------------------------------------------------------------------------------
def launcher(*program: str | Path) -> list[str | Path]:
    """The command that runs a program under the rules of labd.service."""
    requires_program("systemd-analyze", "apt-get install systemd")
    requires("libseccomp", seccomp_exec.library() is not None, "apt-get install libseccomp2")
    return [sys.executable, ROOT / "tests/fakes/seccomp_exec.py", CONTRIB / "labd.service", *program]


def test_the_rules_are_in_force_for_the_program_and_its_children() -> None:
    program = (
        "import errno, os, socket, subprocess, sys\n"
        "def refusal(call):\n"
        "    try: call()\n"
        "    except OSError as fault: return errno.errorcode[fault.errno]\n"
        "here = [refusal(lambda: os.chown('/', 0, 0)), refusal(lambda: os.nice(1)),\n"
        "        refusal(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))]\n"
        "print(here)\n"
        "if len(sys.argv) < 2: subprocess.run([sys.executable, '-c', open('/proc/self/cmdline').read()"
        ".split('\\0')[2], 'child'], check=True)\n"
    )
    answered = run(*launcher(sys.executable, "-c", program))
    assert answered.stdout.splitlines() == ["['EPERM', 'EPERM', 'EAFNOSUPPORT']"] * 2, answered.stderr


PARTS_OF_THE_DAEMON = """
import asyncio, fcntl, os, pathlib, pty, signal, socket, sqlite3, subprocess, sys, termios, threading, tty

folder = pathlib.Path(sys.argv[1])

def store():
    database = sqlite3.connect(folder / "labd.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE job (id INTEGER PRIMARY KEY)")
    with database:
        database.execute("INSERT INTO job VALUES (1)")
    database.close()

def serial_port():
    bus, port = pty.openpty()
    tty.setraw(port)
    again = os.open(os.ttyname(port), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.ioctl(again, termios.TIOCEXCL)
    termios.tcflush(again, termios.TCIOFLUSH)
    os.write(bus, b"ping")
    assert os.read(again, 4) == b"ping"

def door():
    path = str(folder / "labd.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind(path)
        os.chmod(path, 0o660)
        listener.listen()
        caller.connect(path)
        peer, _ = listener.accept()
        assert len(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)) == 12
        assert isinstance(peer.getsockopt(socket.SOL_SOCKET, 59, 64), bytes)
        peer.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.getsockname()

async def loop():
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: None)
    await asyncio.to_thread(store)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(6 * 7)", stdout=subprocess.PIPE)
    out, _ = await child.communicate()
    assert (out, child.returncode) == (b"42\\n", 0)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
    child.terminate()
    await child.wait()

owner = threading.Thread(target=serial_port)
owner.start()
owner.join()
door()
asyncio.run(loop())
print("all parts work")
"""


def test_the_parts_of_a_daemon_work_under_the_rules(state_dir: Path) -> None:
    answered = run(*launcher(sys.executable, "-W", "error", "-c", PARTS_OF_THE_DAEMON, state_dir))
    assert (answered.stdout, answered.stderr) == ("all parts work\n", "")


def ask(door: Path, method: str, path: str, body: object = None) -> tuple[int, object]:
    """One request over the daemon's socket."""
    with contextlib.closing(SocketConnection(door)) as connection:
        connection.request(
            method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if "json" in answer.headers["Content-Type"] else content.decode()


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=40)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(40)
        self.sock.connect(str(self._path))


def until(manager: ServiceManager, field: str) -> Notice:
    """The next datagram with that field."""
    while field not in (notice := manager.receive(30)).fields:
        pass
    return notice


def falls_silent(manager: ServiceManager, for_s: float) -> bool:
    """Whether there comes a time of that length without a datagram; what is already under way is read first."""
    for _ in range(100):
        try:
            manager.receive(for_s)
        except TimeoutError:
            return True
    return False


@contextlib.contextmanager
def daemon_under_the_rules(
    folder: Path, manager: ServiceManager, wrapped_in: tuple[str | Path, ...] = (), **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`labd run` on the demo's settings, started as the unit would start it; its socket is `run/labd.sock`."""
    program = launcher(sys.executable, "-m", "labd", "run", "--config", ROOT / "etc/labd.demo.toml")
    places = {"STATE_DIRECTORY": str(folder / "state"), "RUNTIME_DIRECTORY": str(folder / "run")}
    for place in places.values():
        Path(place).mkdir()
    environ = {**os.environ, **places, "NOTIFY_SOCKET": manager.address, **variables}
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([*wrapped_in, *program], stderr=log, stdout=log, env=environ, cwd=ROOT)
        try:
            yield running
        except BaseException:
            print((folder / "log").read_text())
            raise
        finally:
            if running.poll() is None:
                running.kill()
            running.wait(10)


def turn_the_carousel(door: Path) -> None:
    """Connect and move, as jobs."""
    for task, args in (("resort.connect", {}), ("resort.move_to_angle", {"degrees": 20})):
        status, job = ask(door, "POST", "/api/v1/jobs", {"task": task, "args": args})
        assert status == 201, job
        assert isinstance(job, dict)
        _, job = ask(door, "GET", f"/api/v1/jobs/{job['id']}?wait=30")
        assert isinstance(job, dict)
        assert job["state"] == "succeeded", job


def test_the_daemon_moves_the_carousel_under_the_rules(state_dir: Path) -> None:
    door = state_dir / "run" / "labd.sock"
    with (
        service_manager(state_dir / "notify") as manager,
        daemon_under_the_rules(state_dir, manager, WATCHDOG_USEC="3000000") as running,
    ):
        ready = until(manager, "READY")
        assert ready.pid == running.pid
        assert until(manager, "WATCHDOG").pid == running.pid
        assert ask(door, "GET", "/healthz") == (200, "ok")
        turn_the_carousel(door)
        labctl = launcher(sys.executable, "-m", "labctl", "--host", f"unix:{door}", "--json", "resort", "status")
        told = json.loads(run(*labctl, cwd=ROOT).stdout)
        assert told["simulated"]
        assert abs(told["position_deg"] - 20) < 1
        running.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC" in until(manager, "RELOADING").fields
        until(manager, "READY")
        running.terminate()
        until(manager, "STOPPING")
        assert running.wait(30) == 0


READ_ONLY_HOST = """
mount --make-rprivate /
mount --bind "$0" "$0"
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def test_it_needs_no_capability_and_writes_only_to_its_own_folders(state_dir: Path) -> None:
    """Emulates ProtectSystem=strict, CapabilityBoundingSet= and NoNewPrivileges= by hand; needs root to make them."""
    if os.geteuid() != 0 or run("unshare", "-m", "true").returncode or not shutil.which("setpriv"):
        pytest.skip("requires mount namespaces (root with CAP_SYS_ADMIN) and setpriv; beyond what CI must have")
    wrapped_in = ("unshare", "-m", "sh", "-ec", READ_ONLY_HOST, state_dir)
    with (
        service_manager(state_dir / "notify") as manager,
        daemon_under_the_rules(state_dir, manager, wrapped_in) as running,
    ):
        until(manager, "READY")
        status = Path(f"/proc/{running.pid}/status").read_text()
        assert re.search(r"^CapBnd:\s0+$", status, re.MULTILINE), status
        assert re.search(r"^CapEff:\s0+$", status, re.MULTILINE), status
        assert "Seccomp:\t2" in status
        turn_the_carousel(state_dir / "run" / "labd.sock")
        running.terminate()
        assert running.wait(30) == 0


def test_the_daemon_serves_on_the_socket_that_systemd_opened(state_dir: Path) -> None:
    tool = requires_program("systemd-socket-activate", "apt-get install systemd")
    door = state_dir / "outside.sock"
    (name,) = seccomp_exec.values_of(CONTRIB / "labd.socket", "FileDescriptorName")
    command = [tool, "-l", door, f"--fdname={name}", sys.executable, "-m", "labd", "run"]
    command += ["--config", ROOT / "etc/labd.demo.toml", "--state", state_dir / "state"]
    with (state_dir / "log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, cwd=ROOT)
        try:
            assert running.stderr is not None
            assert b"Listening" in running.stderr.readline()
            assert ask(door, "GET", "/healthz") == (200, "ok")  # waits in the backlog until the daemon serves
            running.terminate()
            _, told = running.communicate(timeout=30)
            assert running.returncode == 0, told
        finally:
            running.kill()
            running.wait(10)
    assert door.is_socket()  # it belongs to systemd, so the daemon leaves it


def test_a_daemon_that_hangs_is_no_longer_fed(state_dir: Path) -> None:
    with (
        service_manager(state_dir / "notify") as manager,
        daemon_under_the_rules(state_dir, manager, WATCHDOG_USEC="600000") as running,
    ):
        until(manager, "READY")
        until(manager, "WATCHDOG")
        running.send_signal(signal.SIGSTOP)
        assert falls_silent(manager, 0.7)  # longer than the period: the manager would have ended it
        running.send_signal(signal.SIGCONT)
        until(manager, "WATCHDOG")


def test_faulty_settings_end_with_the_code_that_prevents_restarts(state_dir: Path) -> None:
    (state_dir / "labd.toml").write_text("[api]\nlisten = 7\n")
    command = [sys.executable, "-m", "labd", "run", "--config", state_dir / "labd.toml", "--state", state_dir / "state"]
    ended = run(*command, cwd=ROOT)
    (code,) = seccomp_exec.values_of(CONTRIB / "labd.service", "RestartPreventExitStatus")
    assert (ended.returncode, int(code)) == (os.EX_CONFIG, os.EX_CONFIG), ended.stderr


@pytest.mark.slow
def test_the_whole_demo_with_its_child_processes_works_under_the_rules() -> None:
    toured = run(*launcher(sys.executable, "-m", "labd", "demo", "--exit"), cwd=ROOT)
    assert toured.returncode == 0, toured.stdout + toured.stderr
    assert "every step succeeded" in toured.stdout + toured.stderr

"""What every test stands on: a clean environment, short folders, named skips, and a look at what was left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

REQUIRE_ALL = os.environ.get("LABD_REQUIRE_ALL") == "1"
OURS = (
    "LABD_",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "LISTEN_",
)

ROBOT_URL = os.environ.get("LABD_TEST_OT2_URL")  # a real robot server, or one in simulation
NEO4J_URL = os.environ.get("LABD_TEST_NEO4J_URL")  # an empty Enterprise server: bolt://user:password@host:port
NEO4J_JARS = os.environ.get("LABD_TEST_NEO4J_JARS")  # a folder of jars as tests/data/neo4j_community/pom.xml names them
_PYZ = os.environ.get("LABD_TEST_PYZ")  # the file that `.ci/pyz.py` builds
PYZ = Path(_PYZ) if _PYZ else None
MONGO_URL = os.environ.get("LABD_TEST_MONGO_URL", "")  # a MongoDB with rights to make and drop databases

for _name in [name for name in os.environ if name.startswith(OURS)]:
    del os.environ[_name]  # also for fixtures of wide scope and for children


def requires(name: str, present: bool, why: str = "") -> None:
    """Skip the test by name where a server or tool is absent; with LABD_REQUIRE_ALL=1 (CI) that is a failure.

    Args:
        name: What is needed, such as `systemd-analyze`.
        present: Whether it is there.
        why: How to get it.
    """
    if present:
        return
    reason = f"requires {name}" + (f": {why}" if why else "")
    if REQUIRE_ALL:
        pytest.fail(f"{reason} (LABD_REQUIRE_ALL=1)", pytrace=False)
    pytest.skip(reason)


def requires_program(program: str, why: str = "") -> str:
    """Path of a program, or a skip by name."""
    path = shutil.which(program)
    requires(program, path is not None, why)
    return path or ""


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """An empty folder with a short path: a Unix socket's path takes 107 bytes, `tmp_path` easily has more."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a child process or an open listening port behind."""
    myself = psutil.Process()
    before = {child.pid for child in myself.children()}
    ports = _listening(myself)
    yield
    left = [child for child in myself.children() if child.pid not in before]
    alive = psutil.wait_procs(left, timeout=2)[1] if left else []
    names = [_name_of(child) for child in alive]
    for child in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    assert not names, f"the test left child processes: {', '.join(names)}"
    opened = _listening(myself) - ports
    assert not opened, f"the test left listening ports: {sorted(opened)}"


def _listening(process: psutil.Process) -> set[str]:
    found = set()
    for connection in process.net_connections(kind="inet"):
        if connection.status == psutil.CONN_LISTEN:
            found.add(f"{connection.laddr.ip}:{connection.laddr.port}")
    return found


def _name_of(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline()[:4])}"
    except psutil.Error:
        return str(process.pid)

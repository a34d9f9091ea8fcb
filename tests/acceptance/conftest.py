"""Daemons, virtual buses and `labctl` as real processes; whatever a test leaves running fails it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import FAST, Bus, Daemon, script, toml


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if any(script(name)[0] == sys.executable for name in ("labd", "labctl")):
        terminalreporter.write_line("acceptance: no scripts beside the interpreter, python -m was run instead")


@pytest.fixture
def daemons(state_dir: Path) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons that are not yet started; all are ended after the test."""
    with ExitStack() as ends:

        def make(settings: str = "", *, folder: Path | None = None, test_wing: bool = False) -> Daemon:
            daemon = Daemon(folder or state_dir, settings, test_wing)
            ends.callback(daemon.end)
            return daemon

        yield make


@pytest.fixture
def bus(state_dir: Path) -> Iterator[Bus]:
    """A virtual bus that runs until the test is over."""
    bus = Bus(state_dir)
    try:
        yield bus.start()
    finally:
        bus.end()


@pytest.fixture
def carousel(daemons: Callable[..., Daemon], bus: Bus) -> Daemon:
    """A daemon on that bus, ready to move fast."""
    return daemons(bus.settings()).start().ready()


@pytest.fixture(scope="module")
def served() -> Iterator[Daemon]:
    """One daemon for tests that leave it as it was: a simulated carousel, the test wing, no device."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    daemon = Daemon(folder, toml("resort", driver="simulated", **FAST), test_wing=True)
    try:
        yield daemon.start().ready()
    finally:
        daemon.end()
        shutil.rmtree(folder, ignore_errors=True)

"""The places where files arrive, each started once for the tests of a module."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labd.ingest import remote_sources
from tests.fakes.object_stores import LABS, Lab, ServedLab
from tests.fakes.source_rig import NAMES
from tests.fakes.store_door import StoreDoor


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All labs; with a door those that are reached over the wire."""
    is_free = not any(mark.args[0] == "source_server" for mark in metafunc.definition.iter_markers("parametrize"))
    if "source_server" in metafunc.fixturenames and is_free:
        is_wired = "store_door" in metafunc.fixturenames
        names = [name for name, kind in LABS.items() if not is_wired or issubclass(kind, ServedLab)]
        metafunc.parametrize("source_server", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def source_server(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="labd-") as folder:
        lab = LABS[request.param](Path(folder))
        if isinstance(lab, ServedLab):
            try:
                yield lab.start()
            finally:
                lab.stop()
        else:
            yield lab


@pytest.fixture
def source_lab(source_server: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    source_server.prefix = f"t-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    yield source_server
    remote_sources._open.clear()


@pytest.fixture
def filled_lab(source_lab: Lab) -> Lab:
    for name in NAMES:
        source_lab.put(name, b"" if "empty" in name else name.encode())
    return source_lab


@pytest.fixture
def store_door(source_lab: Lab) -> Iterator[StoreDoor]:
    assert isinstance(source_lab, ServedLab)
    door = StoreDoor(source_lab.endpoint, keeps_host=source_lab.kind != "gs")
    yield door
    door.close()


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything above 1,000 bytes is a large file, read in pieces of as much."""
    for module in ("remote_files", "remote_local", "remote_objects"):
        monkeypatch.setattr(f"labd.ingest.{module}.SMALL_BYTES", 1000)

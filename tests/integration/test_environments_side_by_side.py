"""What cannot live in one process lives in one daemon: opentrons, the newest pyarrow, pydantic 1 and pydantic 2.

opentrons wants numpy < 2 and jsonschema < 4.18, pyarrow is used with numpy >= 2, and no process has two pydantics. The
tasks meet while all four run, so they were there at the same time. Three environments are made as a user makes them,
`labctl env sync`, from uv's cache where that has the packages; the one with opentrons is shared with the tests of the
OT-2 wing.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from labd.engine import interpreters
from tests.acceptance.processes import Daemon, toml
from tests.conftest import requires
from tests.fakes import opentrons_env

MEET_S = 60.0
REQUIRES = {
    "arrow": ["pyarrow", "numpy>=2"],
    "old_models": ["pydantic<2"],
    "new_models": ["pydantic>=2,<3"],
}
TASKS = '''
import os
import sys
import time

from labd import task


def met(meeting):
    """Wait until all four are here."""
    open(os.path.join(meeting, str(os.getpid())), "w").close()
    until = time.monotonic() + MEET_S
    while len(os.listdir(meeting)) < 4:
        if time.monotonic() > until:
            raise TimeoutError(f"only {os.listdir(meeting)} came")
        time.sleep(0.01)


def seen(meeting, **versions):
    met(meeting)
    return {"prefix": sys.prefix, "pid": os.getpid(), **versions}


@task(env="robot")
def transfer(meeting: str):
    import jsonschema
    import numpy
    import opentrons
    import opentrons.simulate
    return seen(
        meeting, opentrons=opentrons.__version__, numpy=numpy.__version__, jsonschema=jsonschema.__version__,
        total=int(numpy.arange(4).sum()),
    )


@task(env="arrow")
def table(meeting: str):
    import numpy
    import pyarrow
    column = pyarrow.array(numpy.arange(4))
    return seen(meeting, pyarrow=pyarrow.__version__, numpy=numpy.__version__, total=int(column.to_numpy().sum()))


@task(env="old_models")
def old_model(meeting: str):
    import pydantic

    class Well(pydantic.BaseModel):
        volume_ul: float

    return seen(meeting, pydantic=pydantic.VERSION, **Well(volume_ul="3").dict())


@task(env="new_models")
def new_model(meeting: str):
    import pydantic

    class Well(pydantic.BaseModel):
        volume_ul: float

    return seen(meeting, pydantic=pydantic.VERSION, **Well(volume_ul="3").model_dump())
'''.replace("MEET_S", str(MEET_S))


def settings(folder: Path) -> str:
    """Four environments; one is there, three are to be made for this interpreter's version."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    tables = [toml("tasks", folders=[str(folder)], poll_s=0)]
    tables += [toml(f"env.{name}", python=version, requires=wanted, grace_s=1.0) for name, wanted in REQUIRES.items()]
    return "".join([*tables, toml("env.robot", python=str(opentrons_env.interpreter()), grace_s=1.0)])


def uv_cache() -> str:
    """Where uv keeps what it has fetched, whatever HOME the daemon has."""
    kept = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return os.environ.get("UV_CACHE_DIR") or str(Path(kept) / "uv")


def major(version: str) -> tuple[int, ...]:
    """The first two numbers."""
    return tuple(int(part) for part in version.split(".")[:2])


@pytest.mark.timeout(1200)
def test_what_cannot_share_a_process_shares_a_daemon(state_dir: Path) -> None:
    requires("uv", interpreters.find_uv(os.environ) is not None, "pip install uv")
    folder, meeting = state_dir / "tasks.d", state_dir / "meeting"
    folder.mkdir()
    meeting.mkdir()
    (folder / "versions.py").write_text(TASKS)
    daemon = Daemon(state_dir, settings(folder))
    daemon.env["UV_CACHE_DIR"] = uv_cache()
    daemon.start()
    try:
        with ThreadPoolExecutor(len(REQUIRES)) as beside:
            made = beside.map(lambda name: daemon.labctl("env", "sync", name, timeout_s=900.0), REQUIRES)
        for name, (code, out, err) in zip(REQUIRES, made, strict=True):
            requires(f"environment {name} ({', '.join(REQUIRES[name])})", code == 0, (out + err)[-500:])
        found = run_together(daemon, meeting, ["transfer", "table", "old_model", "new_model"])
        loaded = {name for part in psutil.Process(daemon.pid).memory_maps() for name in Path(part.path).parts}
    finally:
        daemon.end()

    robot, arrow, old, new = found
    assert major(robot["opentrons"]) == (9, 0)
    assert major(robot["numpy"]) < (2,) <= major(arrow["numpy"])
    assert major(robot["jsonschema"]) < (4, 18)
    assert major(arrow["pyarrow"]) >= (20,)
    assert (robot["total"], arrow["total"]) == (6, 6)
    assert (major(old["pydantic"])[0], major(new["pydantic"])[0]) == (1, 2)
    assert old["volume_ul"] == new["volume_ul"] == 3.0
    assert len({one["pid"] for one in found}) == len({one["prefix"] for one in found}) == 4
    assert not loaded & {"numpy", "pyarrow", "pydantic_core", "opentrons"}, "none of it is in the daemon"


def run_together(daemon: Daemon, meeting: Path, tasks: list[str]) -> list[dict[str, Any]]:
    """The results of one job of each task."""
    jobs = [daemon.client.submit(task, {"meeting": str(meeting)}) for task in tasks]
    ended = [daemon.ended(job["id"], within_s=2 * MEET_S) for job in jobs]
    for job in ended:
        assert job["state"] == "succeeded", f"{job['task']}: {job['error']}"
    return [job["result"] for job in ended]

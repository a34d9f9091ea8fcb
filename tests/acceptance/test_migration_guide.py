"""What the migration guide shows runs as it stands there, with the import line changed: tasks, calls and tests."""

from __future__ import annotations

import importlib.util
import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labctl import Client, OrchestratorClient
from labd.errors import TaskFailed
from tests.acceptance.test_device_file import free_port, serving

GUIDE = """
from labd import DeviceServer, flow, get_run_logger, task
from labd import task as prefect_task
from functools import lru_cache
import logging

logger = logging.getLogger(__name__)

@task
def mix_color(R: int, Y: int, B: int, mix_well: str):
    return f"Mixed RGB({R},{Y},{B}) in {mix_well}"

@prefect_task
def prepare_reagents():
    return "Reagents ready"

@flow
def color_mixing_workflow(colors: dict):
    get_run_logger().info("mixing")
    reagents = prepare_reagents()  # a plain call
    return {"reagents": reagents, "colors": colors}

attempts = []

@task
def unreliable_task():
    max_retries = 3
    for attempt in range(max_retries):
        try:
            attempts.append(attempt)
            if attempt < max_retries - 1:
                raise ConnectionError("not yet")
            return "Success"
        except Exception as e:
            if attempt < max_retries - 1:
                continue
            raise e

@task(retries=2, retry_delay_seconds=0)
def always_fails():
    raise RuntimeError("as it does")

@task
def stateful_workflow():
    state = {"step": 1, "data": {"wells": ["A1"]}}
    return state

@task
@lru_cache(maxsize=128)
def cached_computation(params: str):
    return params.upper()

@task
def monitored_task():
    logger.info("Task started")
    result = 4
    logger.info(f"Task completed: {result}")
    return result

if "PORT".isdigit():
    DeviceServer(port=int("PORT")).run()
"""

CALLS: list[tuple[str, dict[str, Any], Any]] = [
    ("mix_color", {"R": 100, "Y": 50, "B": 30, "mix_well": "A1"}, "Mixed RGB(100,50,30) in A1"),
    ("color_mixing_workflow", {"colors": {"R": 1}}, {"reagents": "Reagents ready", "colors": {"R": 1}}),
    ("unreliable_task", {}, "Success"),
    ("stateful_workflow", {}, {"step": 1, "data": {"wells": ["A1"]}}),
    ("cached_computation", {"params": "x"}, "X"),
    ("monitored_task", {}, 4),
]


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """The guide's tasks behind `DeviceServer().run()`: URL, token, socket."""
    port = free_port()
    with serving(folder, GUIDE.replace("PORT", str(port))) as state:
        yield f"http://127.0.0.1:{port}", (state / "token").read_text().strip(), state / "run" / "labd.sock"


def test_the_guides_tasks_run_over_http(state_dir: Path) -> None:
    with served(state_dir) as (url, token, socket):
        with OrchestratorClient(url, token=token) as client:
            for name, args, result in CALLS:
                assert client.execute_task(name, **args) == result, name
            with pytest.raises(TaskFailed, match="as it does"):
                client.execute_task("always_fails")
        body = json.dumps({"R": 100, "Y": 50, "B": 30, "mix_well": "A1"}).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/execute/mix_color", body, headers)
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.status == 200
            assert json.load(response)["status"] == "success"
        with Client(f"unix:{socket}") as local:
            jobs = {job["task"]: job for job in local.jobs()["jobs"]}
            lines = local.logs(jobs["color_mixing_workflow"]["id"])["lines"]
        assert any("mixing" in line["text"] for line in lines)
        assert jobs["always_fails"]["attempt"] == 3


def test_the_guides_functions_are_tested_as_plain_functions(state_dir: Path) -> None:
    file = state_dir / "guide.py"
    file.write_text(GUIDE)
    spec = importlib.util.spec_from_file_location("guide", file)
    assert spec is not None
    assert spec.loader is not None
    guide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(guide)
    began = time.monotonic()
    assert "Mixed RGB(100,50,30)" in guide.mix_color(100, 50, 30, "A1")
    for name, args, result in CALLS:
        if name != "color_mixing_workflow":  # its logger belongs to a job
            assert getattr(guide, name)(**args) == result, name
    assert time.monotonic() - began < 1.0

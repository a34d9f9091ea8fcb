"""What the migration guide shows runs as it stands there, with the import line changed: tasks, calls and tests.

Both columns of the guide: what it shows for Prefect and what it shows in its place. Not here: FastAPI's `TestClient`,
which needs an `app` object in the test's own process (the same request is sent over HTTP), and the shell commands.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labctl import Client, MQTTOrchestratorClient, OrchestratorClient
from labd.errors import TaskFailed
from tests.acceptance.processes import Daemon, toml
from tests.acceptance.test_device_file import free_port, serving
from tests.fakes import opentrons_env
from tests.fakes.broker import PASSWORDS, Broker

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


PREFECT = """
from labd import flow, task as prefect_task  # from prefect import flow, task as prefect_task
from labd import get_run_logger              # from prefect import get_run_logger
from labd import task, task_input_hash       # from prefect.tasks import task_input_hash
from datetime import timedelta

@prefect_task
def prepare_reagents():
    return "Reagents ready"

@flow
def color_mixing_workflow(colors: dict):
    reagents = prepare_reagents()
    return [reagents, colors]

@task(retries=3, retry_delay_seconds=5)
def unreliable_task():
    # Task with automatic retries
    pass

@task(cache_key_fn=task_input_hash, cache_expiration=timedelta(hours=1))
def cached(well: str):
    return well

@flow
def stateful_workflow():
    logger = get_run_logger()
    logger.info("state is kept")

@task
def step1_task():
    return 1

@task
def step2_task(first):
    return first + 1

@task
def final_task(first, second):
    return [first, second]

@task
def complex_workflow():
    step1_result = step1_task()
    step2_result = step2_task(step1_result)
    return final_task(step1_result, step2_result)
"""
WITH_OPENTRONS = """
from labd import task
import opentrons.execute
import opentrons.simulate

print("No pydantic conflicts!")

@task(env="ot2")
def mix_colors(r: int, g: int, b: int):
    return f"Mixed RGB({r},{g},{b})"
"""
OVER_MQTT = """
from labd import MQTTDeviceServer, mqtt_task

@mqtt_task
def color_mixing_workflow(colors: dict):
    return colors

server = MQTTDeviceServer("127.0.0.1:PORT", device_id="ot2-device-001", username="labd", users=["alice"])
server.start()
"""


def with_tasks(daemons: Callable[..., Daemon], folder: Path, text: str, more: str = "") -> Daemon:
    """A daemon whose one task file has this text."""
    tasks = folder / "tasks.d"
    tasks.mkdir()
    (tasks / "guide.py").write_text(text)
    return daemons(toml("tasks", folders=[str(tasks)], poll_s=0) + more).start()


def test_the_guides_prefect_code_runs_with_its_imports_changed(daemons: Callable[..., Daemon], state_dir: Path) -> None:
    daemon = with_tasks(daemons, state_dir, PREFECT)
    with OrchestratorClient(daemon.host) as client:
        assert client.execute_task("color_mixing_workflow", colors={"R": 1}) == ["Reagents ready", {"R": 1}]
        assert client.execute_task("unreliable_task") is None
        assert client.execute_task("complex_workflow") == [1, 2]
        assert [client.execute_task("cached", well="A1") for _ in range(2)] == ["A1", "A1"]
        assert client.execute_task("stateful_workflow") is None
    assert daemon.client.task("unreliable_task")["max_attempts"] == 4
    assert daemon.client.jobs(task="cached")["jobs"][0]["cached_from"] is not None
    [job] = daemon.client.jobs(task="stateful_workflow")["jobs"]
    assert "state is kept" in daemon.labctl.ok("job", "logs", job["id"])


@pytest.mark.timeout(1000)  # the environment is made once
def test_the_guides_ot2_tasks_import_opentrons_where_the_daemon_has_none(
    daemons: Callable[..., Daemon], state_dir: Path
) -> None:
    python = str(opentrons_env.interpreter())
    daemon = with_tasks(daemons, state_dir, WITH_OPENTRONS, toml("env.ot2", python=python))
    with OrchestratorClient(daemon.host) as client:
        assert client.execute_task("mix_colors", r=100, g=50, b=30) == "Mixed RGB(100,50,30)"


def test_the_guides_workflow_runs_over_mqtt(state_dir: Path) -> None:
    broker = asyncio.run(Broker(state_dir / "broker").start())
    password = PASSWORDS["alice"]
    try:
        with (
            serving(state_dir, OVER_MQTT.replace("PORT", str(broker.port)), MQTT_PASSWORD=PASSWORDS["labd"]),
            MQTTOrchestratorClient(
                f"127.0.0.1:{broker.port}", "ot2-device-001", username="alice", password=password
            ) as client,
        ):
            assert client.execute_task("color_mixing_workflow", colors={"R": 1}) == {"R": 1}
    finally:
        broker.stop()

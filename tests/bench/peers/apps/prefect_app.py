"""Prefect 3 against its own server: deployments (`PEERS_KIND=flows`) or background tasks (`PEERS_KIND=tasks`)."""

from __future__ import annotations

import os
import time

import bodies
import httpx
from prefect import flow, serve, task
from prefect.task_worker import serve as serve_background_tasks

FLOWS = os.environ.get("PEERS_KIND") == "flows"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_http = httpx.Client(base_url=os.environ["PREFECT_API_URL"] + "/", timeout=60)
_deployments: dict = {}


@flow(name="noop", log_prints=False)
def noop_flow() -> None:
    """Nothing."""


@flow(name="stamp")
def stamp_flow() -> None:
    """When it began."""
    bodies.stamp()


@flow(name="hold")
def hold_flow(seconds: float) -> None:
    """Takes its time."""
    bodies.hold(seconds)


@task
def noop() -> None:
    """Nothing."""


@task
def stamp() -> None:
    """When it began."""
    bodies.stamp()


@task
def hold(seconds: float) -> None:
    """Takes its time."""
    bodies.hold(seconds)


def serve_flows() -> None:
    """One process that starts a process for every run."""
    serve(noop_flow.to_deployment("peers"), stamp_flow.to_deployment("peers"), hold_flow.to_deployment("peers"))


def serve_tasks() -> None:
    """One process that runs background tasks."""
    serve_background_tasks(noop, stamp, hold)


def _run(name, **parameters):
    """One run of a deployment by the REST API, which costs less than its client."""
    if name not in _deployments:
        answer = _http.get(f"deployments/name/{name}/peers")
        answer.raise_for_status()
        _deployments[name] = answer.json()["id"]
    answer = _http.post(f"deployments/{_deployments[name]}/create_flow_run", json={"parameters": parameters})
    answer.raise_for_status()
    return answer.json()["id"]


def enqueue(count):
    """One by one: it has no call for many."""
    for _ in range(count):
        enqueue_one()


def enqueue_one():
    """One."""
    return _run("noop") if FLOWS else noop.delay()


def done():
    """Runs whose success is recorded."""
    kind = "flow_runs" if FLOWS else "task_runs"
    answer = _http.post(f"{kind}/count", json={kind: {"state": {"type": {"any_": ["COMPLETED"]}}}})
    answer.raise_for_status()
    return answer.json()


def submit_stamp():
    """One stamp."""
    return _run("stamp") if FLOWS else stamp.delay().task_run_id


def submit_hold(seconds):
    """One long one."""
    return _run("hold", seconds=seconds) if FLOWS else hold.delay(seconds).task_run_id


def state(handle):
    """As recorded."""
    answer = _http.get(f"{'flow_runs' if FLOWS else 'task_runs'}/{handle}")
    return answer.json().get("state_type") if answer.status_code == 200 else f"HTTP {answer.status_code}"


def calls(count):
    """Task calls in one flow, one after the other and submitted, until the server has all of them."""

    @flow(name="caller")
    def one_by_one() -> None:
        for _ in range(count):
            noop()

    @flow(name="submitter")
    def submitted() -> None:
        for future in [noop.submit() for _ in range(count)]:
            future.wait()

    found = {}
    for name, work in (("one_by_one_per_s", one_by_one), ("submitted_per_s", submitted)):
        before, begin = _recorded(), time.monotonic()
        work()
        while _recorded() < before + count and time.monotonic() < begin + 120:
            time.sleep(0.02)
        found[name] = count / (time.monotonic() - begin)
    return found


def _recorded():
    answer = _http.post("task_runs/count", json={"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
    return answer.json()

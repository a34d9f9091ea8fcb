"""Environments as a lab has them: one on another host over ssh, one whose tasks move simulators only.

The other host is a real sshd on a loopback port; labd, labctl, ssh and the workers are processes as a user runs them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.fakes.ssh_host import SshHost, ssh_host

TASKS = """
import os
import time
from labd import consume, log, progress, task


@task(env="robot")
def place(well: str):
    log(f"looking at {well}")
    return {"well": well, "connection": os.environ["SSH_CONNECTION"], "pid": os.getpid()}


@task(env="robot")
def waits():
    progress(1, text=str(os.getpid()))
    time.sleep(300)


@task(env="robot", effect="physical")
def moves():
    progress(1, text=str(os.getpid()))
    time.sleep(300)


@task(consumes={"red": "R", "white": 5})
def mix_with_stock(R: float):
    consume(red=R)
    return "mixed"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("ssh") / "host") as one:
        yield one


@pytest.fixture
def lab(state_dir: Path, daemons: Callable[..., Daemon], host: SshHost) -> Daemon:
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "robot.py").write_text(TASKS)
    given = msgspec.to_builtins(host.environment())
    plain = msgspec.to_builtins(type(host.environment())(python="/x"))
    robot = {key: value for key, value in given.items() if value != plain[key]}
    tables = [toml("tasks", folders=[str(folder)], poll_s=0.1), toml("env.default", simulated=True)]
    tables.append(toml("env.robot", **robot))
    return daemons("".join([*tables, toml("engine", drain_s=1.0)])).start()


def pid_of(daemon: Daemon, job_id: int) -> int:
    """Process of the body, which it told with its progress."""
    return int(str(eventually(lambda: (daemon.job(job_id)["progress"] or {}).get("text"), 15.0, f"job {job_id}")))


def gone(pid: int) -> None:
    eventually(lambda: not psutil.pid_exists(pid), 10.0, f"the end of process {pid}")


def test_a_task_runs_on_the_other_host_and_is_seen_as_any_other(lab: Daemon) -> None:
    job = lab.labctl.json("task", "run", "place", "well=B2")
    assert job["result"]["well"] == "B2"
    assert "127.0.0.1" in job["result"]["connection"]
    assert job["simulated"] is False
    assert "looking at B2" in lab.labctl.ok("job", "logs", job["id"])
    listed = {one["name"]: one for one in lab.labctl.json("env", "list")["environments"]}
    assert (listed["robot"]["state"], listed["robot"]["workers"], listed["robot"]["tasks"]) == ("ready", 1, 3)
    assert "@127.0.0.1" in listed["robot"]["python"]
    waiting = lab.client.submit("waits")["id"]
    pid = pid_of(lab, waiting)
    lab.labctl.ok("job", "cancel", waiting)
    assert lab.ended(waiting)["state"] == "cancelled"
    assert psutil.pid_exists(pid), "a worker that followed its cancel is kept"


def test_a_lost_connection_interrupts_what_moved_there_until_a_person_decides(lab: Daemon, host: SshHost) -> None:
    job = lab.client.submit("moves")["id"]
    pid = pid_of(lab, job)
    host.signal_connections(signal.SIGKILL)
    ended = lab.ended(job)
    assert ended["state"] == "interrupted"
    assert "is out of reach: ssh to " in ended["error"]["message"]
    gone(pid)
    assert lab.labctl.json("task", "run", "place", "well=B3")["result"]["well"] == "B3"


def test_a_killed_daemon_leaves_no_worker_on_the_other_host_and_the_states_of_the_design(lab: Daemon) -> None:
    moving, waiting = lab.client.submit("moves")["id"], lab.client.submit("waits")["id"]
    pids = [pid_of(lab, moving), pid_of(lab, waiting)]
    lab.kill()
    for pid in pids:
        gone(pid)
    lab.start()
    assert lab.job(moving)["state"] == "interrupted"
    again = pid_of(lab, waiting)
    assert again not in pids
    lab.client.cancel(waiting)
    assert lab.ended(waiting)["state"] == "cancelled"


def test_what_a_task_takes_and_that_its_environment_is_simulated_are_shown(lab: Daemon) -> None:
    task = lab.labctl.json("task", "show", "mix-with-stock/mix-with-stock")
    assert task["name"] == "mix_with_stock"
    assert task["consumes"] == {"red": "R", "white": 5}
    assert task["aliases"] == ["mix-with-stock", "mix-with-stock/mix-with-stock"]
    assert "consumes" in lab.labctl.ok("task", "show", "mix_with_stock")
    job = lab.labctl.json("task", "run", "mix-with-stock", "R=120")
    assert (job["task"], job["result"], job["simulated"]) == ("mix_with_stock", "mixed", True)
    listed = {one["name"]: one["simulated"] for one in lab.labctl.json("env", "list")["environments"]}
    assert listed == {"default": True, "robot": False}

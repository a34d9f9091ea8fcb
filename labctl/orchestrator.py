"""One-liners for scripts, as the systems before labd had them.

    from labctl import orchestrator

    run = orchestrator.activate_hotel("A")
    state = orchestrator.wait(run)
    print(state.type)                      # COMPLETED, FAILED, CANCELLED or CRASHED

The daemon is found as `labctl` finds it (`LABD_HOST`, the chosen host, the usual sockets), or named once with `use`.
`emergency_stop` is never queued: what it returns has already happened.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from labctl.client import ENDED, Client
from labctl.outcome import result_of
from labctl.refusals import error_of

_TYPES = {
    "succeeded": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
    "interrupted": "CRASHED",
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "waiting": "PAUSED",
    "cancelling": "CANCELLING",
}


class State:
    """How a run stands; `type` and `name` use the words of the systems before."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = dict(job)
        self.type = _TYPES.get(str(job["state"]), str(job["state"]).upper())
        self.name = self.type.capitalize()
        error = job.get("error") or {}
        self.message = str(error.get("message", ""))

    def result(self, raise_on_failure: bool = True) -> Any:
        """What the task returned.

        Raises:
            LabdError: The run did not complete; the class of its error's code. With `raise_on_failure=False` the error
                is returned instead.
        """
        if self.is_completed():
            return self.job.get("result")
        error = self.job.get("error") or {}
        code = {"cancelled": "job_cancelled", "interrupted": "job_interrupted"}.get(self.job["state"], "task_failed")
        message = self.message or f"job {self.job['id']} {self.job['task']}: {self.job['state']}"
        fault = error_of(str(error.get("code") or code), message, {**error.get("details", {}), "job": self.job["id"]})
        if raise_on_failure:
            raise fault
        return fault

    def is_completed(self) -> bool:
        """The run did what was asked."""
        return self.type == "COMPLETED"

    def is_failed(self) -> bool:
        """The run failed."""
        return self.type == "FAILED"

    def is_cancelled(self) -> bool:
        """Somebody cancelled the run."""
        return self.type == "CANCELLED"

    def is_crashed(self) -> bool:
        """The daemon died or drained in the middle of a physical run."""
        return self.type == "CRASHED"

    def is_final(self) -> bool:
        """The run has ended."""
        return self.job["state"] in ENDED

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})" if self.message else f"{self.name}()"


class Run:
    """A job that was asked for."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        self.job = dict(job)
        self.id = job["id"]
        self.task = str(job["task"])
        self.name = f"{self.task} {self.id}"

    @property
    def state(self) -> State:
        """How it stood when it was last looked at; `wait` looks again."""
        return State(self.job)

    def __repr__(self) -> str:
        return f"Run(id={self.id}, task={self.task!r}, state={self.state.name!r})"


class _Held(threading.local):
    """One client a thread."""

    host: str | None = None
    client: Client | None = None


_held = _Held()
_host: list[str | None] = [None]


def use(host: str | None) -> None:
    """Name the daemon for all later calls of this program; None goes back to the usual search."""
    _host[0] = host


def close() -> None:
    """Close this thread's connection; the next call opens another."""
    if _held.client is not None:
        _held.client.close()
        _held.client = None


def connect(device: str | None = None, configure: bool = False) -> Run:
    """Open the motor; moves nothing."""
    return _run("resort.connect", device=device, configure=configure or None)


def disconnect(device: str | None = None) -> Run:
    """Release the torque on purpose and close the motor."""
    return _run("resort.disconnect", device=device)


def activate_hotel(hotel: str, device: str | None = None) -> Run:
    """Turn a hotel to the front."""
    return _run("resort.activate_hotel", hotel=hotel, device=device)


def move_to_angle(degrees: float, device: str | None = None) -> Run:
    """Turn to an angle."""
    return _run("resort.move_to_angle", degrees=degrees, device=device)


def go_home(device: str | None = None) -> Run:
    """Turn to the home position."""
    return _run("resort.go_home", device=device)


def set_speed(speed: float, device: str | None = None) -> Run:
    """Set the speed of later moves."""
    return _run("resort.set_speed", speed=speed, device=device)


def get_current_position(device: str | None = None) -> Run:
    """Where the carousel stands: `wait(run).result()`."""
    return _run("resort.get_current_position", device=device)


def get_motor_health(device: str | None = None) -> Run:
    """How the motor is: `wait(run).result()`."""
    return _run("resort.get_motor_health", device=device)


def emergency_stop(device: str | None = None, reason: str | None = None) -> Run:
    """Torque off now, latched until a reset by name; the run that comes back has ended.

    Raises:
        DaemonUnreachable: Nobody answers: cut power.
    """
    answer = client().resort_stop(device, reason)
    error = None
    if not answer.get("confirmed"):
        error = {"code": "stop_unconfirmed", "message": answer.get("note") or "torque off could not be read back"}
    return Run(
        {
            "id": answer.get("job"),
            "task": "resort.emergency_stop",
            "state": "failed" if error else "succeeded",
            "result": answer,
            "error": error,
        }
    )


def submit(task: str, **args: Any) -> Run:
    """Ask for any task; arguments that are None are left out."""
    return _run(task, **args)


def wait(run: Run | int, timeout_s: float | None = None) -> State:
    """The state of a run when it has ended, or as it is when `timeout_s` is over."""
    if isinstance(run, Run):
        if not run.state.is_final():
            run.job = client().wait(run.id, timeout_s)
        return run.state
    return State(client().wait(run, timeout_s))


class OrchestratorClient:
    """A daemon by its address, for scripts that run a task and want its result.

    with OrchestratorClient("http://ot2-device:8000") as client:
        result = client.execute_task("mix_color", R=120, Y=50, B=80)

    Nothing is sent before the first task; leaving the block closes the connection. `AsyncOrchestratorClient` is the
    same for programs on asyncio.

    Args:
        timeout_s: How long to wait for the end of a task; the job goes on after that. None: until it has ended.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout_s: float | None = None) -> None:
        self._client = Client(url, token=token)
        self._timeout_s = timeout_s

    def __enter__(self) -> OrchestratorClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._client.close()

    def execute_task(self, task_name: str, /, **args: Any) -> Any:
        """Run a task, follow it to its end, and return its result.

        Raises:
            LabdError: The class of the code with which it was refused or failed.
            TaskTimeout: It has not ended within `timeout_s`; it goes on.
            DaemonUnreachable: The daemon was away for two minutes; a job that it took goes on when it is back.
        """
        job = self._client.submit(task_name, args)
        return result_of(job if job["state"] in ENDED else self._client.follow(job["id"], self._timeout_s))

    def list_tasks(self) -> list[dict[str, Any]]:
        """All tasks that can be asked for."""
        return self._client.tasks()

    def health(self) -> str:
        """`ok` as long as the daemon serves."""
        return self._client.health()


def client() -> Client:
    """This thread's client; made with the first call."""
    if _held.client is None or _held.host != _host[0]:
        close()
        _held.host, _held.client = _host[0], Client(_host[0])
        atexit.unregister(close)
        atexit.register(close)
    return _held.client


def _run(task: str, **args: Any) -> Run:
    return Run(client().submit(task, {name: value for name, value in args.items() if value is not None}))

"""`/api/v1/environments`, and what people do with task files: look again, pin, unpin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from labd.api.endpoint import Call, Endpoint
from labd.clock import Clock, iso
from labd.engine.registry import TaskSpec
from labd.engine.worker_messages import Fault
from labd.engine.worker_tasks import PoolView, ReloadReport, WorkerTasks
from labd.errors import BadRequest

if TYPE_CHECKING:
    from labd.engine.engine import Engine


class PinView(msgspec.Struct):
    """A task that runs one code only."""

    task: str
    sha256: str
    file: str
    commit: str | None
    by: str
    at: str | None


class EnvironmentList(msgspec.Struct):
    """All environments by name, what is wrong with task files, and the pins."""

    environments: list[PoolView]
    faults: list[Fault]
    pins: list[PinView]


class Unpinned(msgspec.Struct):
    """Whether there was a pin."""

    task: str
    was_pinned: bool


class Sync(msgspec.Struct):
    """`fresh`: make it anew even if nothing changed."""

    fresh: bool = False


def endpoints(engine: Engine, workers: WorkerTasks, clock: Clock) -> list[Endpoint]:
    """Routes of environments and task files."""

    def pins() -> list[PinView]:
        return [
            PinView(name, pin.sha256, pin.file, pin.commit, pin.by, iso(pin.at)) for name, pin in workers.pins.all()
        ]

    def worker_task(call: Call) -> tuple[str, dict[str, Any]]:
        spec = engine.registry.find(call.path["name"])
        if not isinstance(spec, TaskSpec) or spec.code is None:
            raise BadRequest(f"{spec.name} comes from no task file that can be used now, so there is no code to pin")
        return spec.name, spec.code

    async def show(call: Call) -> EnvironmentList:
        return EnvironmentList(await workers.views(), workers.faults, pins())

    async def sync(call: Call) -> PoolView:
        view = await workers.sync(call.path["name"], call.body.fresh if call.body is not None else False)
        engine.audit(call.caller, "environment.sync", call.path["name"], {"state": view.state, "folder": view.folder})
        return view

    async def reload(call: Call) -> ReloadReport:
        return await workers.reload(call.caller)

    async def pin(call: Call) -> PinView:
        name, code = worker_task(call)
        made = await workers.pins.pin(name, code, call.caller, clock.wall())
        engine.audit(call.caller, "task.pin", name, {"sha256": made.sha256, "file": made.file})
        return PinView(name, made.sha256, made.file, made.commit, made.by, iso(made.at))

    async def unpin(call: Call) -> Unpinned:
        name = call.path["name"]
        was_pinned = await workers.pins.unpin(name)
        if was_pinned:
            engine.audit(call.caller, "task.unpin", name, {})
        else:
            engine.registry.find(name)
        return Unpinned(name, was_pinned)

    tags = ("tasks",)
    return [
        Endpoint(
            "GET", "/api/v1/environments", show, "read", "Environments, faulty task files and pins",
            answer=EnvironmentList, tags=tags,
        ),
        Endpoint(
            "POST", "/api/v1/environments/{name}/sync", sync, "admin", "Make an environment; answers when it is made",
            body=Sync, answer=PoolView, tags=tags, errors=("unknown_environment", "environment_off", "conflict"),
        ),
        Endpoint(
            "POST", "/api/v1/tasks/reload", reload, "operate", "Look at the task files again", answer=ReloadReport,
            tags=tags,
        ),
        Endpoint(
            "POST", "/api/v1/tasks/{name}/pin", pin, "operate", "Let a task run the code of now only", answer=PinView,
            tags=tags, errors=("unknown_task", "bad_request"),
        ),
        Endpoint(
            "POST", "/api/v1/tasks/{name}/unpin", unpin, "operate", "Let a task run whatever its file holds",
            answer=Unpinned, tags=tags, errors=("unknown_task",),
        ),
    ]  # fmt: skip

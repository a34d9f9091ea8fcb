"""`/api/v1/tasks`: what can be asked for, with the schema of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from labd.api.endpoint import Call, Endpoint
from labd.engine.registry import Registry, StopSpec, TaskSpec

if TYPE_CHECKING:
    from labd.engine.engine import Engine


class TaskView(msgspec.Struct):
    """One task; `stop` says that the name means stop and never queues, `code` which file a worker runs, `consumes`
    what it takes from stock: reservoir or colour -> argument, or microlitres. `idempotency` is the template of the key
    of jobs that bring none, `retry_delay_s` the wait before the second try of a task that has one.
    """

    name: str
    aliases: tuple[str, ...]
    description: str
    wing: str
    queue: str
    priority: int | None
    effect: str
    max_attempts: int
    timeout_s: float | None
    resources: tuple[str, ...]
    stop: bool
    schema: dict[str, Any]
    code: dict[str, Any] | None = None
    consumes: dict[str, str | float] | None = None
    retry_delay_s: float | None = None
    tags: tuple[str, ...] = ()
    idempotency: str | None = None
    cached: bool = False
    cache_ttl_s: float | None = None


class TaskList(msgspec.Struct):
    """All tasks, by name."""

    tasks: list[TaskView]


def task_view(registry: Registry, spec: TaskSpec | StopSpec) -> TaskView:
    """The task as on the wire."""
    if isinstance(spec, StopSpec):
        return TaskView(
            spec.name,
            spec.aliases,
            spec.description,
            spec.wing,
            "",
            None,
            "physical",
            1,
            None,
            (),
            True,
            {"type": "object"},
        )
    resources = spec.resources if isinstance(spec.resources, tuple) else ()
    return TaskView(
        spec.name,
        spec.aliases,
        spec.description,
        spec.wing,
        spec.queue,
        spec.priority,
        spec.effect,
        spec.max_attempts,
        spec.timeout_s,
        resources,
        False,
        registry.schema(spec),
        spec.code,
        None if spec.consumes is None else dict(spec.consumes),
        spec.retry_delay_s if spec.max_attempts > 1 else None,
        spec.tags,
        spec.idempotency,
        spec.cached,
        spec.cache_ttl_s,
    )


def all_tasks(registry: Registry) -> list[TaskView]:
    """All tasks and stops, by name."""
    specs: list[TaskSpec | StopSpec] = [*registry.tasks(), *registry.stops()]
    return [task_view(registry, spec) for spec in sorted(specs, key=lambda spec: spec.name)]


def endpoints(engine: Engine) -> list[Endpoint]:
    """Routes of the tasks."""

    async def list_tasks(call: Call) -> TaskList:
        return TaskList(all_tasks(engine.registry))

    async def show(call: Call) -> TaskView:
        return task_view(engine.registry, engine.registry.find(call.path["name"]))

    return [
        Endpoint("GET", "/api/v1/tasks", list_tasks, "read", "All tasks", answer=TaskList, tags=("tasks",)),
        Endpoint(
            "GET",
            "/api/v1/tasks/{name:.+}",
            show,
            "read",
            "One task by name or alias",
            answer=TaskView,
            tags=("tasks",),
            errors=("unknown_task",),
        ),
    ]

"""From what a worker tells of a task to the engine's own `TaskSpec`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from labd.engine.job import Effect
from labd.engine.parameters import arguments_type
from labd.engine.registry import InlineFunction, JobContext, TaskSpec
from labd.engine.worker_messages import FoundTask
from labd.errors import EnvironmentOff, Refused, TaskOff

ORIGIN = "task files"


def spec_of(
    task: FoundTask, code: dict[str, Any], function: InlineFunction, precheck: Callable[[dict[str, Any]], None],
    *, is_simulated: bool,
) -> TaskSpec:  # fmt: skip
    """The task with its policy; what the decorator leaves out has the engine's default.

    Args:
        is_simulated: The settings say that its environment has simulators only.
    """
    policy = task.policy
    return TaskSpec(
        task.name,
        function,
        task.description or "",
        queue=policy.queue or "standard",
        priority=policy.priority,
        max_attempts=(policy.retries or 0) + 1,
        retry_delay_s=5.0 if policy.retry_delay_s is None else policy.retry_delay_s,
        backoff=policy.backoff or "exponential",
        timeout_s=policy.timeout_s,
        effect=cast("Effect", policy.effect or "repeatable"),
        resources=tuple(policy.resources or ()),
        precheck=precheck,
        tags=tuple(policy.tags or ()),
        arguments=arguments_type(task.name, task.parameters),
        origin=ORIGIN,
        code=code,
        idempotency=policy.idempotency or None,
        cached=bool(policy.cache_key),
        cache_ttl_s=policy.cache_ttl_s,
        consumes=policy.consumes or None,
        simulated=_always if is_simulated else None,
    )


def _always(args: dict[str, Any]) -> bool:
    return True


def off_spec(name: str, reason: str, *, is_environment: bool) -> TaskSpec:
    """A task that is known and cannot be run: submissions are refused, queued jobs fail, both with the reason."""

    def refusal() -> Refused:
        kind = EnvironmentOff if is_environment else TaskOff
        return kind(f"{name} is off: {reason}", task=name)

    def precheck(args: dict[str, Any]) -> None:
        raise refusal()

    async def function(ctx: JobContext) -> None:
        raise refusal()

    return TaskSpec(
        name,
        function,
        f"off: {reason}",
        precheck=precheck,
        arguments=msgspec.defstruct("Arguments", []),
        origin=ORIGIN,
    )

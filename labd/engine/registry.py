"""The tasks that labd knows, their policy and the schema of their arguments.

Why msgspec types for arguments: one definition checks a submission, names the wrong field, and gives the JSON schema
that the forms and OpenAPI show.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_type_hints

import msgspec

from labd.engine import storable
from labd.engine.job import Caller, Effect, Job
from labd.engine.steps import Step
from labd.errors import InvalidArguments, UnknownTask


class JobContext(Protocol):
    """What a running task of a wing may ask of the engine."""

    job: Job
    caller: Caller
    steps: list[Step]

    def log(self, message: str, level: str = "info") -> None:
        """One line in the job's log."""
        ...

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """How far the job is; shown live, kept in the job."""
        ...

    async def consume(self, volumes_ul: Mapping[str, float], step: str) -> None:
        """Debit stock right before it is used; on disk when it returns, the same step again changes nothing.

        Args:
            volumes_ul: Microlitres by reservoir, colour or `device/slot/well`; negative where it comes back.
        """
        ...


InlineFunction = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A named function with its policy.

    Args:
        name: `<wing>.<verb_noun>`.
        function: `async def f(ctx: JobContext, **args)`; its annotations are the schema of the arguments. When it is
            cancelled it must bring its device to rest before it lets the cancellation through.
        queue: Default queue.
        priority: 0 (first) to 9; None takes the queue's.
        max_attempts: Tries in all.
        retry_delay_s: Wait before the second try; doubles with `backoff="exponential"`.
        timeout_s: Limit of one attempt.
        effect: `physical` jobs are never repeated by labd itself.
        resources: Names of what only so many jobs may use at once, or a function of the arguments.
        precheck: Called with the arguments at submission; raises `Refused` where the job could not be right now.
        simulated: Tells from the arguments whether the job runs on a simulator.
        expires_in_s: How long a physical job may wait; None takes the settings' figure.
        arguments: The schema, where the function's own annotations do not say it (tasks of workers).
        origin: Who offers the task, such as a wing or an environment; `Registry.replace_origin` swaps them whole.
        idempotency: Template of the key of jobs that bring none, such as `restock-{color}`.
        cached: The same arguments to the same code give the recorded result; repeatable tasks only.
        cache_ttl_s: How long a recorded result counts; None for ever.
        consumes: What a job takes from stock: reservoir or colour -> name of an argument, or microlitres.
        needs: The same where it takes more to find it out; microlitres by name, None where it is not known.
        code: Which code runs, such as `{"file", "sha256", "commit"}`; recorded in every job.
    """

    name: str
    function: InlineFunction
    description: str = ""
    queue: str = "standard"
    priority: int | None = None
    max_attempts: int = 1
    retry_delay_s: float = 5.0
    backoff: str = "exponential"
    timeout_s: float | None = None
    effect: Effect = "repeatable"
    resources: tuple[str, ...] | Callable[[dict[str, Any]], tuple[str, ...]] = ()
    precheck: Callable[[dict[str, Any]], None] | None = None
    simulated: Callable[[dict[str, Any]], bool] | None = None
    expires_in_s: float | None = None
    tags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    wing: str = ""
    arguments: type[msgspec.Struct] | None = None
    origin: str = ""
    code: dict[str, Any] | None = None
    idempotency: str | None = None
    cached: bool = False
    cache_ttl_s: float | None = None
    consumes: Mapping[str, str | float] | None = None
    needs: Callable[[dict[str, Any]], Awaitable[dict[str, float] | None]] | None = None

    @property
    def takes_stock(self) -> bool:
        """Whether its jobs may draw from a reservoir."""
        return self.consumes is not None or self.needs is not None

    def __post_init__(self) -> None:
        if self.cached and self.effect == "physical":
            raise ValueError(
                f"task {self.name} is physical; what moved once must not be skipped, so it is never cached"
            )


@dataclass(frozen=True, slots=True)
class StopSpec:
    """A name that means stop: it takes the stop lane at whatever door it comes in, and is no job in a queue.

    `function(args, caller)` must put the torque-off on the wire before it awaits anything else.
    """

    name: str
    function: Callable[[dict[str, Any], Caller], Awaitable[Any]]
    description: str = ""
    aliases: tuple[str, ...] = ()
    wing: str = ""


class Registry:
    """Tasks by name and alias."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskSpec] = {}
        self._stops: dict[str, StopSpec] = {}
        self._aliases: dict[str, str] = {}
        self._schemas: dict[str, type[msgspec.Struct]] = {}

    def add(self, spec: TaskSpec | StopSpec) -> None:
        """Make a task known; its name and aliases must be new."""
        for name in (spec.name, *spec.aliases):
            if name in self._tasks or name in self._stops or name in self._aliases:
                raise ValueError(f"task name {name} is taken twice")
        if isinstance(spec, StopSpec):
            self._stops[spec.name] = spec
        else:
            self._tasks[spec.name] = spec
            self._schemas[spec.name] = spec.arguments or _arguments_of(spec)
        for alias in spec.aliases:
            self._aliases[alias] = spec.name

    def replace_origin(self, origin: str, specs: list[TaskSpec]) -> None:
        """Swap all tasks of one origin for others, whole or not at all.

        Raises:
            ValueError: A name is taken by another origin, or twice; nothing has changed then.
        """
        old = [spec for spec in self._tasks.values() if spec.origin == origin]
        for spec in old:
            self._remove(spec)
        added: list[TaskSpec] = []
        try:
            for spec in specs:
                self.add(spec)
                added.append(spec)
        except ValueError:
            for spec in added:
                self._remove(spec)
            for spec in old:
                self.add(spec)
            raise

    def _remove(self, spec: TaskSpec) -> None:
        del self._tasks[spec.name], self._schemas[spec.name]
        for alias in spec.aliases:
            del self._aliases[alias]

    def find(self, name: str) -> TaskSpec | StopSpec:
        """The task of this name or alias.

        Raises:
            UnknownTask: With the nearest names.
        """
        spec: TaskSpec | StopSpec | None = self._tasks.get(name)
        if spec is not None:
            return spec
        canonical = self._aliases.get(name, name)
        spec = self._tasks.get(canonical) or self._stops.get(canonical)
        if spec is None:
            near = difflib.get_close_matches(name, [*self._tasks, *self._stops, *self._aliases], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else "; `labctl task list` shows all"
            raise UnknownTask(f"no task is named {name}{hint}", task=name, near=near)
        return spec

    def is_stop(self, name: str) -> bool:
        """Whether a name or alias means stop; costs two looks into tables, whatever the name."""
        return self._aliases.get(name, name) in self._stops

    def tasks(self) -> list[TaskSpec]:
        """All tasks, by name."""
        return [self._tasks[name] for name in sorted(self._tasks)]

    def stops(self) -> list[StopSpec]:
        """All names that mean stop."""
        return [self._stops[name] for name in sorted(self._stops)]

    def check_args(self, spec: TaskSpec, args: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the task takes them: checked, converted and with the defaults left to the function.

        Raises:
            InvalidArguments: Names the argument and the limit it breaks.
        """
        problem = storable.fault_of(args) if args else None
        if problem is not None:
            raise InvalidArguments(
                f"{spec.name}: its arguments cannot be kept: {problem}", task=spec.name, problem=problem
            )
        try:
            msgspec.convert(args, self._schemas[spec.name], strict=True)
        except msgspec.ValidationError as fault:
            raise InvalidArguments(
                f"{spec.name}: {_plain(fault, args)}; `labctl task show {spec.name}` shows the arguments",
                task=spec.name,
                problem=str(fault),
            ) from None
        return args

    def values(self, spec: TaskSpec, args: dict[str, Any]) -> dict[str, Any]:
        """Checked arguments with the defaults filled in."""
        filled: dict[str, Any] = msgspec.to_builtins(msgspec.convert(args, self._schemas[spec.name]))
        return filled

    def key_of(self, spec: TaskSpec, args: dict[str, Any]) -> str:
        """The idempotency key that the task's template gives for these arguments, defaults included.

        Raises:
            InvalidArguments: The template names what the task does not take.
        """
        values = self.values(spec, args)
        try:
            return f"{spec.name}:{(spec.idempotency or '').format_map(values)}"
        except (KeyError, IndexError, ValueError, AttributeError) as fault:
            raise InvalidArguments(
                f"{spec.name}: its idempotency template {spec.idempotency!r} does not fit its arguments: {fault!r}",
                task=spec.name,
            ) from fault

    def schema(self, spec: TaskSpec) -> dict[str, Any]:
        """JSON schema of the task's arguments."""
        document = msgspec.json.schema(self._schemas[spec.name])
        definitions = document.pop("$defs", {})
        own: dict[str, Any] = definitions.pop(self._schemas[spec.name].__name__, document)
        if definitions:
            own["$defs"] = definitions
        return own


def _plain(fault: msgspec.ValidationError, args: dict[str, Any]) -> str:
    """msgspec's message with the argument and its value in front: `$.speed` -> `argument speed = 9999`."""
    text, _, path = str(fault).partition(" - at `$.")
    name = path.rstrip("`")
    if not name:
        return text
    given = f" = {args[name]!r:.80}" if name in args else ""
    return f"argument {name}{given}: {text}"


def _arguments_of(spec: TaskSpec) -> type[msgspec.Struct]:
    hints = get_type_hints(spec.function, include_extras=True)
    fields: list[Any] = []
    parameters = list(inspect.signature(spec.function).parameters.values())
    for parameter in parameters[1:]:
        kind = hints.get(parameter.name, Any)
        if parameter.default is inspect.Parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, parameter.default))
    return msgspec.defstruct(
        "Arguments_" + spec.name.replace(".", "_"), fields, kw_only=True, forbid_unknown_fields=True
    )

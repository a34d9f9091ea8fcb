"""What task files offer, as the engine takes it: specs of tasks that can be used, refusals for those that cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labd.engine.registry import Registry, StopSpec, TaskSpec
from labd.engine.task_files import DEFAULT, Source
from labd.engine.task_loading import Loaded
from labd.engine.task_pins import TaskPins
from labd.engine.task_specs import ORIGIN, off_spec, spec_of
from labd.engine.worker_messages import Fault, FoundTask
from labd.engine.worker_run import WorkerRuns
from labd.errors import LabdError, UnknownTask


@dataclass(slots=True)
class Catalogue:
    """The tasks by name, what is wrong with which file, and why which environment is off."""

    specs: dict[str, TaskSpec] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    off: dict[str, str] = field(default_factory=dict)


def catalogue(
    sources: list[Source], loaded: Mapping[str, Loaded], registry: Registry, runs: WorkerRuns, pins: TaskPins
) -> Catalogue:
    """Everything that the files offer; a name that is taken is a fault of the later file."""
    found = Catalogue(faults=[Fault(source.place, source.problem) for source in sources if source.problem is not None])
    for name, one in sorted(loaded.items()):
        if one.off is not None:
            found.off[name] = one.off
        found.faults += one.faults
        for task in one.tasks:
            if (task.policy.env or DEFAULT) == name:
                _take(task, name, sources, registry, runs, pins, found)
    for source in sources:
        _take_off(source, loaded, registry, found)
    return found


def _take(
    task: FoundTask, environment: str, sources: list[Source], registry: Registry, runs: WorkerRuns, pins: TaskPins,
    found: Catalogue,
) -> None:  # fmt: skip
    if _is_taken(task.name, registry, found.specs):
        other = found.specs[task.name].code if task.name in found.specs else None
        where = f"in {other['file']}" if other else "by a wing"
        found.faults.append(
            Fault(task.file, f"task {task.name} is already defined {where}; give it a name=", task.line)
        )
        return
    source = source_of(task, sources)
    commit = None if source is None else source.commit
    code = {"file": task.file, "sha256": task.sha256, "commit": commit, "environment": environment}
    try:
        function = runs.function(environment, task, code)
        found.specs[task.name] = spec_of(task, code, function, pins.precheck(task.name, task.sha256))
    except (TypeError, ValueError, LabdError) as fault:
        found.faults.append(Fault(task.file, f"task {task.name}: {fault}", task.line))


def _take_off(source: Source, loaded: Mapping[str, Loaded], registry: Registry, found: Catalogue) -> None:
    """Tasks that the text of a file names and that cannot be used: known, and refused with the reason."""
    for environment, names in (source.names or {}).items():
        there = loaded.get(environment)
        off = None if there is None else there.off
        reason = off
        if reason is None:
            fault = next((fault for fault in found.faults if fault.file == source.place), None)
            reason = None if fault is None else f"{fault.file}:{fault.line or 0}: {fault.message}"
        if reason is None:
            continue
        for name in names:
            if not _is_taken(name, registry, found.specs):
                found.specs[name] = off_spec(name, reason, is_environment=off is not None)


def _is_taken(name: str, registry: Registry, specs: Mapping[str, TaskSpec]) -> bool:
    if name in specs:
        return True
    try:
        there = registry.find(name)
    except UnknownTask:
        return False
    return isinstance(there, StopSpec) or there.origin != ORIGIN


def source_of(task: FoundTask, sources: list[Source]) -> Source | None:
    """The file or the module that a task came from."""
    for source in sources:
        if source.place == task.file:
            return source
        if source.is_module and f"/{source.place.replace('.', '/')}" in task.file:
            return source
    return None

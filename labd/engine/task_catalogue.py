"""What task files offer, as the engine takes it: specs of tasks that can be used, refusals for those that cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from labd.engine.registry import Registry, StopSpec, TaskSpec
from labd.engine.task_files import DEFAULT, Source
from labd.engine.task_loading import Loaded
from labd.engine.task_pins import TaskPins
from labd.engine.task_specs import ORIGIN, off_spec, spec_of
from labd.engine.worker_messages import Fault, FoundTask
from labd.engine.worker_run import WorkerRuns
from labd.errors import LabdError


@dataclass(slots=True)
class Catalogue:
    """The tasks by name, what is wrong with which file, and why which environment is off.

    `taken` are the names and aliases of everybody else's tasks.
    """

    taken: frozenset[str] = frozenset()
    specs: dict[str, TaskSpec] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    off: dict[str, str] = field(default_factory=dict)


def catalogue(
    sources: list[Source], loaded: Mapping[str, Loaded], commits: Mapping[str, str | None], registry: Registry,
    runs: WorkerRuns, pins: TaskPins,
) -> Catalogue:  # fmt: skip
    """Everything that the files offer; a name that is taken is a fault of the later file.

    Args:
        commits: Of files that belong to modules.
    """
    faults = [Fault(source.place, source.problem) for source in sources if source.problem is not None]
    found = Catalogue(_taken(registry), faults=faults)
    for name, one in sorted(loaded.items()):
        if one.off is not None:
            found.off[name] = one.off
        found.faults += one.faults
        for task in one.tasks:
            if (task.policy.env or DEFAULT) == name:
                source = source_of(task, sources)
                commit = source.commit if source is not None and not source.is_module else commits.get(task.file)
                _take(task, one, commit, runs, pins, found)
    for source in sources:
        _take_off(source, loaded, found)
    _answer_to_prefect(found)
    return found


def _taken(registry: Registry) -> frozenset[str]:
    others: list[TaskSpec | StopSpec] = [*registry.stops(), *(one for one in registry.tasks() if one.origin != ORIGIN)]
    return frozenset(name for one in others for name in (one.name, *one.aliases))


def _answer_to_prefect(found: Catalogue) -> None:
    """Prefect names a flow with dashes, and its deployment `flow/deployment`; who has neither name gives way."""
    used = {*found.taken, *found.specs}
    for name, spec in sorted(found.specs.items()):
        dashed = name.replace("_", "-")
        aliases = tuple(dict.fromkeys(alias for alias in (dashed, f"{dashed}/{dashed}") if alias not in used))
        used.update(aliases)
        found.specs[name] = replace(spec, aliases=aliases)


def _take(
    task: FoundTask, there: Loaded, commit: str | None, runs: WorkerRuns, pins: TaskPins, found: Catalogue
) -> None:
    if task.name in found.taken or task.name in found.specs:
        other = found.specs[task.name].code if task.name in found.specs else None
        where = f"in {other['file']}" if other else "by a wing"
        found.faults.append(
            Fault(task.file, f"task {task.name} is already defined {where}; give it a name=", task.line)
        )
        return
    code = {"file": task.file, "sha256": task.sha256, "commit": commit, "environment": there.environment}
    is_simulated = there.outfit is not None and there.outfit.settings.simulated
    try:
        function = runs.function(there.environment, task, code)
        precheck = pins.precheck(task.name, task.sha256)
        found.specs[task.name] = spec_of(task, code, function, precheck, is_simulated=is_simulated)
    except (TypeError, ValueError, LabdError) as fault:
        found.faults.append(Fault(task.file, f"task {task.name}: {fault}", task.line))


def _take_off(source: Source, loaded: Mapping[str, Loaded], found: Catalogue) -> None:
    """Tasks that the text of a file names and that cannot be used: known, and refused with the reason."""
    for environment, names in (source.names or {}).items():
        there = loaded.get(environment)
        off = None if there is None else there.off
        faults = [fault for fault in found.faults if fault.file == source.place]
        if off is None and not faults:
            continue
        for name in names:
            if name not in found.taken and name not in found.specs:
                reason = _own_fault(name, faults) if off is None else off
                found.specs[name] = off_spec(name, reason, is_environment=off is not None)


def _own_fault(name: str, faults: list[Fault]) -> str:
    """Why a task of a file cannot be used: its own fault if it has one, else what is wrong with the file."""
    fault = next((fault for fault in faults if fault.message.startswith(f"task {name}: ")), faults[0])
    return f"{fault.file}:{fault.line or 0}: {fault.message}"


def source_of(task: FoundTask, sources: list[Source]) -> Source | None:
    """The file or the module that a task came from."""
    for source in sources:
        if source.place == task.file:
            return source
        if source.is_module and f"/{source.place.replace('.', '/')}" in task.file:
            return source
    return None

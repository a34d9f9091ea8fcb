"""Whether each environment has what its task files import: all of what is missing at once, then the import itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from labd.engine import task_files
from labd.engine.environments import Environments
from labd.engine.task_files import DEFAULT, Source
from labd.engine.task_loading import TaskLoader
from labd.engine.worker_start import Outfit
from labd.errors import EnvironmentOff
from labd.settings_types import TasksSettings

LOOK_S = 60.0
# Runs in the environment's own interpreter, which may be as old as 3.8 and has nothing of labd.
LOOK = """
import importlib.util, json, sys
sys.path[:0] = [LEND]
sys.path += FOLDERS
missing = []
for name in NAMES:
    try:
        found = name in sys.modules or name in sys.builtin_module_names or importlib.util.find_spec(name)
    except Exception:
        found = True
    if not found:
        missing.append(name)
print(json.dumps(missing))
"""


class CheckReport(msgspec.Struct):
    """One environment; `problems` is empty where all is well."""

    name: str
    files: int
    tasks: int
    problems: list[str]


async def check(
    environments: Environments, settings: TasksSettings, lend: Path, work: Path, environ: Mapping[str, str]
) -> list[CheckReport]:
    """Look at every environment that the settings or the task files name."""
    sources = task_files.read(task_files.folders(settings.folders, environ), settings.modules)
    loader = TaskLoader(environments, lend, work, work, environ)
    names = {*environments.settings, *(name for source in sources for name in source.environments)}
    reports = []
    for name in sorted(names):
        there = [source for source in sources if name in source.environments]
        reports.append(await _check_one(loader, name, there, lend))
    return reports


async def _check_one(loader: TaskLoader, name: str, sources: list[Source], lend: Path) -> CheckReport:
    problems = [f"{source.place}: {source.problem}" for source in sources if source.problem is not None]
    sources = [source for source in sources if source.problem is None]
    if not sources:
        view = None if name not in loader.environments.settings else loader.environments.view(name)
        if view is not None and view.state in ("missing", "faulty"):
            problems.append(view.reason)
        return CheckReport(name, 0, 0, problems)
    loaded = await loader.load(name, sources)
    if loaded.off is not None or loaded.outfit is None:
        return CheckReport(name, len(sources), 0, [*problems, loaded.off or "it cannot be started"])
    if loaded.worker is not None:
        await loaded.worker.process.close(1.0)
    try:
        there = loaded.outfit.settings.ssh is not None  # what is missing there, importing the files has told
        missing = [] if there else await _missing(name, loaded.outfit, sources, lend)
    except (OSError, ValueError, TimeoutError, EnvironmentOff) as fault:
        problems.append(f"its interpreter could not be asked for modules: {fault}")
        missing = []
    for module in missing:
        users = ", ".join(Path(source.place).name for source in sources if module in _imports(source, name))
        problems.append(
            f"module {module} is missing (imported by {users}); add its package to requires of [env.{name}]"
        )
    named = {f"No module named '{module}'" for module in missing}
    problems += [
        f"{fault.file}:{fault.line or 0}: {fault.message}"
        for fault in loaded.faults
        if not any(text in fault.message for text in named)
    ]
    own = [task for task in loaded.tasks if (task.policy.env or DEFAULT) == name]
    return CheckReport(name, len(sources), len(own), problems)


def _imports(source: Source, environment: str) -> frozenset[str]:
    return (source.imports or {}).get(environment, frozenset())


async def _missing(environment: str, outfit: Outfit, sources: list[Source], lend: Path) -> list[str]:
    folders = sorted({str(Path(source.place).parent) for source in sources if not source.is_module})
    names = sorted({name for source in sources for name in _imports(source, environment)})
    head = f"LEND, FOLDERS, NAMES = {str(lend)!r}, {folders!r}, {names!r}\n"
    process = await asyncio.create_subprocess_exec(
        *outfit.python, "-X", "utf8", "-c", head + LOOK, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, env=dict(outfit.variables), cwd=outfit.folder,
    )  # fmt: skip
    try:
        async with asyncio.timeout(LOOK_S):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    found: list[str] = json.loads(out)
    return found

"""Starts one worker and lets it read the task files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from labd.engine.worker_messages import Message
from labd.engine.worker_output import JobOutput
from labd.engine.worker_parcel import ParcelTooLarge, parcel
from labd.engine.worker_process import WorkerGone, WorkerProcess
from labd.engine.worker_remote import RemoteWorker
from labd.settings_types import EnvironmentSettings


class StartFailed(Exception):
    """A worker did not start or could not read its task files; the text says why.

    Args:
        by_signal: Something ended it; the next one may well start.
    """

    def __init__(self, text: str, by_signal: bool = False) -> None:
        super().__init__(text)
        self.by_signal = by_signal


@dataclass(frozen=True, slots=True)
class Outfit:
    """What the workers of a pool are started with; another outfit is another generation.

    `stamp` changes with the content of the files and of the environment.
    """

    python: tuple[str, ...]
    lend: Path
    folder: Path
    variables: Mapping[str, str]
    files: tuple[str, ...]
    modules: tuple[str, ...]
    settings: EnvironmentSettings
    stamp: str = ""


@dataclass(eq=False, slots=True)
class Worker:
    """A started process and what it has loaded.

    `lent` counts the jobs that have it, `depth` says how many may, `answered` is the process's count of a moment ago.
    """

    process: WorkerProcess
    outfit: Outfit
    loaded: Message
    digests: dict[str, str]
    free_since: float = 0.0
    lent: int = 0
    depth: int = 1
    answered: int = 0


async def start_worker(outfit: Outfit, on_end: Callable[[WorkerProcess], None]) -> Worker:
    """Start a process, and let it read the task files.

    Raises:
        StartFailed: With the last lines it wrote.
    """
    settings = outfit.settings
    subject = outfit.python[0] if settings.ssh is None else f"{outfit.python[0]} on {settings.ssh}"
    lines: list[str] = []
    output = JobOutput(lambda level, text: lines.append(text))
    limit_s = settings.start_timeout_s
    process = await _process(outfit, on_end)
    try:
        ready = await process.ask(None, limit_s, output)
        process.python_version = ready.python
        request = {"type": "load", "files": list(outfit.files), "modules": list(outfit.modules)}
        loaded = await process.ask(request, limit_s, JobOutput(lambda level, text: lines.append(text)))
    except WorkerGone as fault:
        await process.end_now()  # it may have lost its way, and not its life
        raise StartFailed(_with_lines(f"{subject} {fault}", lines), by_signal=fault.by_signal) from fault
    except TimeoutError:
        await process.end_now()
        raise StartFailed(_with_lines(f"{subject} was not ready within {limit_s:g} s", lines)) from None
    except BaseException:
        await process.end_now()
        raise
    digests = {task.name: task.sha256 for task in loaded.tasks or []}
    return Worker(process, outfit, loaded, digests)


async def _process(outfit: Outfit, on_end: Callable[[WorkerProcess], None]) -> WorkerProcess:
    """The process here, or behind ssh."""
    settings = outfit.settings
    if settings.ssh is None:
        try:
            return WorkerProcess(
                list(outfit.python), outfit.lend, outfit.variables, outfit.folder, settings.memory_mib * 2**20, on_end
            )
        except OSError as fault:
            raise StartFailed(f"{outfit.python[0]} cannot be started: {fault.strerror}") from fault
    try:
        content = await asyncio.to_thread(parcel, outfit.lend, outfit.files)
    except (OSError, ParcelTooLarge) as fault:
        raise StartFailed(f"nothing can be sent to {settings.ssh}: {fault}") from fault
    try:
        return RemoteWorker(settings, outfit.lend, content, outfit.variables, outfit.folder, on_end)
    except OSError as fault:
        raise StartFailed(f"{settings.ssh_command} cannot be started: {fault.strerror}") from fault


def _with_lines(text: str, lines: list[str]) -> str:
    return f"{text}; its last lines: {' | '.join(lines[-5:])}" if lines else text

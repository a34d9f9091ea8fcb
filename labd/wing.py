"""What `app.py` asks of a wing, and what it lends to one.

A wing is found through the entry-point group `labd.wings`; the entry point is an object that satisfies `WingFactory`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from labd.clock import Clock
from labd.engine.engine import Engine
from labd.engine.registry import StopSpec, TaskSpec
from labd.engine.schema import Schema
from labd.engine.worker_start import Worker
from labd.settings import Problems


class WorkerOf(Protocol):
    """Starts workers for wings."""

    def __call__(self, name: str, module: str, memory_mib: int | None = None) -> Awaitable[Worker]:
        """A worker of an environment that belongs to the caller; raises `EnvironmentOff`."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What a wing may use of the daemon."""

    engine: Engine
    state_dir: Path
    runtime_dir: Path
    clock: Clock
    random: Random
    python_of: Callable[[str], Path] | None = None
    """The interpreter of an environment by its name; blocks, raises `EnvironmentOff`. None before there are any."""
    worker_of: WorkerOf | None = None
    """A worker of an environment for the wing alone, with a module loaded; raises `EnvironmentOff`."""


class Wing(Protocol):
    """One wing at work."""

    async def start(self) -> None:
        """Open what the wing owns; a device that is not there is no error, it is shown as not connected."""
        ...

    async def drain(self) -> None:
        """Bring every device to rest, confirmed; called when the drain time is over."""
        ...

    async def stop(self) -> None:
        """Close everything; a second call does nothing."""
        ...

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """The tasks of the wing."""
        ...

    def endpoints(self) -> list[Any]:
        """`labd.api.endpoint.Endpoint` values, complete paths."""
        ...

    def change(self, settings: Any) -> list[str]:
        """Put changed settings of this wing in force where that can be done while it works; never fails.

        Returns:
            The dotted keys, such as `resort.device`, that differ from what is in force and need a restart.
        """
        ...

    def status(self) -> dict[str, Any]:
        """`{"devices": [{"name", "state", "since", "simulated", ...}], "attention": [{"code", "message"}]}`."""
        ...


class WingFactory(Protocol):
    """How a wing is found, checked and built."""

    name: str
    extra: str
    modules: tuple[str, ...]
    schema: Schema | None
    """Its own tables in the journal's file, None if it has none."""

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Any:
        """The wing's frozen settings from its table of `labd.toml`; faults go into `problems`, none are raised."""
        ...

    def build(self, settings: Any, host: Host) -> Wing:
        """The wing, not yet started."""
        ...

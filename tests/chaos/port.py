"""What the parts of the chaos test agree on: the daemon under test, the parties outside it, faults and witnesses.

A round is: the workload runs; one fault strikes; it is taken back; the daemon (restarted where it died) is asked again
for what it never answered; when all is at rest, every witness holds the promises against what the workload knows.

Where they come from: `parties.parties(folder, graph="neo4j")` -> dict[str, Party] by name (`graph="embedded"`: without
the server), each with `settings()`; their texts together are all the tables of `labd.toml` that the five wings, MQTT
and MongoDB need. `witnesses.witnesses()` -> list[Witness]. What the workload feeds goes through the parties, since they
keep what was fed: `carousel.next_goal_deg()`, `robot.next_protocol()`, `objects.put()`, `neo4j.lay_down()`.
`disk_faults.faults()` -> list[Fault], new ones for one world, each `prepare`d in this order before the daemon's first
start; those that are `Ending` (mounts) get an `end` after its last, before the folder is removed.
The broker's requests come from a `Watching` witness of its own, with no help of the workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol, runtime_checkable


class Party(Protocol):
    """Something outside the daemon that it needs: a carousel, a robot, a broker, a store.

    It runs as a process or in a thread of its own, keeps its address and what it holds while it is away, and outlives
    every daemon.
    """

    name: str

    def start(self) -> None:
        """Begin; returns when it answers."""

    def settings(self) -> str:
        """The tables of `labd.toml` by which the daemon finds it."""

    def away(self) -> None:
        """Unreachable from now on, as if somebody pulled its cable or killed it."""

    def back(self) -> None:
        """Reachable again, at the same address, with what it held."""

    def end(self) -> None:
        """End it and what it started."""


class DaemonUnderTest(Protocol):
    """The daemon as its outside sees it: a process, a state folder, an address.

    Args:
        environment: Variables that its next start gets besides the usual ones, such as a preloaded library.
    """

    state: Path
    socket: Path
    pid: int | None
    environment: dict[str, str]

    def start(self) -> None:
        """Begin and wait until it says that it is ready."""

    def begin(self, after_s: float) -> None:
        """Begin, and be killed after so long, ready or not."""

    def kill(self) -> None:
        """SIGKILL to the daemon alone, and wait until it is gone; its workers are left to find out."""

    def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""

    def signal(self, number: int) -> None:
        """Any other signal, without waiting."""

    def children(self) -> list[int]:
        """Process ids below it, at any depth."""


@dataclass(slots=True)
class World:
    """All that a fault may reach.

    Attributes:
        folder: Everything of this run; `folder / "state"` is the daemon's state folder, or where it is mounted.
        parties: By name: carousel, robot, broker, mongodb, neo4j, objects.
        dice: The one source of chance; its seed is printed.
    """

    folder: Path
    daemon: DaemonUnderTest
    parties: Mapping[str, Party]
    dice: Random
    notes: list[str] = field(default_factory=list)


class Fault(Protocol):
    """One kind of harm.

    Attributes:
        name: As it is printed and chosen: `kill_daemon`, `power_loss`, `disk_full`, ...
        ends_daemon: Whether the daemon may be dead afterwards; then it is started again by `mend`.
    """

    name: str
    ends_daemon: bool

    def prepare(self, world: World) -> None:
        """Before the daemon's first start: variables, mounts. Raises `Unable` where this host cannot do it."""

    def strike(self, world: World) -> str:
        """Do the harm; tells in a few words what was done, for the record."""

    def mend(self, world: World) -> None:
        """Take it back; the daemon is up and answers afterwards."""


@runtime_checkable
class Ending(Fault, Protocol):
    """A fault that leaves something behind, such as a mount."""

    def end(self, world: World) -> None:
        """After the daemon's last end and before the folder is removed; a second call does nothing."""


class Unable(Exception):
    """This host cannot do that harm; its text says what is missing."""


class Witness(Protocol):
    """Holds one promise, from files, from what a simulator counted or from the tables themselves; never by labd's word.

    Attributes:
        name: The promise, in a few words.
    """

    name: str

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """Every breach, each a sentence with its numbers; empty if the promise holds.

        Args:
            told: What the workload was answered so far, see `workload.Told`. `told["at_rest"]` is true where nothing
                is under way or owed any more; only then what must arrive in the end is held to have arrived.
        """


@runtime_checkable
class Watching(Witness, Protocol):
    """A witness that also looks, or asks, all the time between `begin` and `end`."""

    def begin(self, world: World) -> None:
        """After the daemon's first start, and again when work goes on after a rest."""

    def end(self) -> None:
        """Before each rest, with the daemon and all parties up: nothing new is asked; returns when all is answered."""

"""Who takes part: all faults, all witnesses and all parties, found in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.checker_files import Audit, Latch, WholeDatabase
from tests.chaos.checker_jobs import Jobs, Schedule
from tests.chaos.checker_leaks import Leaks, Litter, Orphans
from tests.chaos.checker_stock import Stock
from tests.chaos.disk_faults import faults as faults_below
from tests.chaos.faults import plain_faults
from tests.chaos.parties import parties
from tests.chaos.port import Fault, Party, Witness, World
from tests.chaos.witnesses import witnesses as of_parties
from tests.chaos.world import TRACE


def parties_of(folder: Path, seed: int) -> dict[str, Party]:
    """Not started yet; a graph server and labd's own graph store in turns."""
    return parties(folder, graph="neo4j" if seed % 2 else "embedded")


def faults(world: World, chosen: Sequence[str] = ()) -> list[Fault]:
    """All, or those of these names.

    Raises:
        SystemExit: There is none of a name; says which there are.
    """
    every = {fault.name: fault for fault in (*plain_faults(world), *faults_below())}
    strange = [name for name in chosen if name not in every]
    if strange:
        raise SystemExit(f"there is no fault {', '.join(strange)}; there are {', '.join(sorted(every))}")
    return [fault for name, fault in every.items() if not chosen or name in chosen]


def witnesses(world: World) -> tuple[list[Witness], list[Witness]]:
    """Those that look after every round, and those that look when all is at rest."""
    trace = world.folder / TRACE
    carousel = world.parties.get("carousel")
    record: Path = getattr(carousel, "record", world.folder / "bus.jsonl")
    cheap: list[Witness] = [Jobs(trace), Latch(record), Audit(), Orphans()]
    thorough: list[Witness] = [Schedule(), Stock(trace), WholeDatabase(), Leaks(), Litter()]
    return cheap, [*thorough, *of_parties()]

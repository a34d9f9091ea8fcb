"""Everything outside the daemon, by name; one world has one of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tests.chaos.party_broker import BrokerParty
from tests.chaos.party_carousel import Carousel
from tests.chaos.party_objects import Objects
from tests.chaos.port import Party


def parties(folder: Path, graph: Literal["neo4j", "embedded"] = "neo4j") -> dict[str, Party]:
    """Not started yet; each keeps its files in a folder of its own below `folder`.

    Args:
        graph: `embedded` leaves the server out: its settings are then labd's own graph store.
    """
    made: list[Party] = [Carousel(folder / "carousel"), BrokerParty(folder / "broker"), Objects(folder / "objects")]
    return {one.name: one for one in made}

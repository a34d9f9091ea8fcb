"""Everything outside the daemon, by name; one world has one of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tests.chaos.party_broker import BrokerParty
from tests.chaos.party_carousel import Carousel
from tests.chaos.party_mongodb import MongoParty
from tests.chaos.party_neo4j import Neo4j, Share
from tests.chaos.party_objects import Objects
from tests.chaos.party_robot import Robot
from tests.chaos.port import Party


def parties(folder: Path, graph: Literal["neo4j", "embedded"] = "neo4j") -> dict[str, Party]:
    """Not started yet; each keeps its files in a folder of its own below `folder`.

    Args:
        graph: `embedded` for labd's own graph store: there is then the party `share`, the folder of snapshots, in the
            place of `neo4j`, which has that folder too.
    """
    share = Neo4j(folder / "neo4j") if graph == "neo4j" else Share(folder / "share")
    made: list[Party] = [
        Carousel(folder / "carousel"), Robot(folder / "robot"), BrokerParty(folder / "broker"),
        MongoParty(folder / "mongodb"), share, Objects(folder / "objects"),
    ]  # fmt: skip
    return {one.name: one for one in made}

"""A reader that asks by alias all the time, and what the store holds against the footers of the parquet files.

Why the reader goes past the cable: what is counted are failures of the alias, not the absence of the server. With
labd's own graph store the reader is somebody who follows the alias on disk; a look during which the daemon died or
was started does not count, since a power loss rebuilds the disk under it.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import neo4j
import pyarrow.parquet as pq

from tests.chaos.party_neo4j import Neo4j, Share
from tests.chaos.port import World

EVERY_S = 0.02
END_S = 10.0
SHOWN = 5
COUNT_NODES = "MATCH (n) RETURN count(n)"
COUNT_RELATIONSHIPS = "MATCH ()-[r]->() RETURN count(r)"


class Alias:
    """Satisfies `Watching`."""

    name = "an alias leads to one whole snapshot at every look"

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._found: list[str] = []
        self._served: set[str] = set()
        self._footers: dict[tuple[str, str], tuple[int, int]] = {}
        self.figures: Counter[str] = Counter()

    def begin(self, world: World) -> None:
        """Read all the time."""
        share = share_of(world)
        self._ended.clear()
        self._thread = threading.Thread(target=self._read, args=(share, world), name="alias-reader", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Read no more; a second call does nothing."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(END_S)
            self._thread = None

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """What the reader met; at rest also each alias' counts against the newest snapshot's footers."""
        found, self._found = self._found[:SHOWN], []
        if not told["at_rest"]:
            return found
        share = share_of(world)
        for customer, laid in told["snapshots"].items():
            newest = laid[-1]["timestamp"]
            due = self._footer(share.base, customer, newest)
            if isinstance(share, Neo4j):
                target = share.catalogue.aliases.get(customer)
                graph = share.catalogue.databases.get(target or "")
                there = None if graph is None else (graph.nodes, graph.relationships)
            else:
                target, there = counts_on_disk(world.daemon.state / "snapshots", customer)
            if target is None or not target.endswith(f"-v{newest}"):
                found.append(f"{customer}: the newest snapshot is {newest}, the alias leads to {target}")
            elif there != due:
                found.append(f"{customer}: {target} has {there} nodes and relationships, the footers of {newest} {due}")
        return found

    def _read(self, share: Share, world: World) -> None:
        try:
            self._follow(share, world)
        except Exception as fault:  # a reader that ended has not seen that the alias holds
            self._found.append(f"the reader ended: {type(fault).__name__}: {fault}")

    def _follow(self, share: Share, world: World) -> None:
        if isinstance(share, Neo4j):
            with neo4j.GraphDatabase.driver(
                f"bolt://127.0.0.1:{share.bolt_port}", auth=(share.catalogue.user, share.catalogue.password),
                notifications_min_severity="OFF",
            ) as driver:  # fmt: skip
                self._until_ended(share, self._over_bolt(share, driver))
        else:
            self._until_ended(share, self._on_disk(world))

    def _until_ended(self, share: Share, once: Callable[[str], str]) -> None:
        while not self._ended.wait(EVERY_S):
            customers = [path.name for path in share.base.iterdir()] if share.base.exists() else []
            for customer in customers:
                problem = once(customer)
                self.figures["looks"] += 1
                if problem:
                    self.figures["failures"] += 1
                    self._found.append(f"{customer}: {problem}")

    def _over_bolt(self, share: Neo4j, driver: neo4j.Driver) -> Callable[[str], str]:
        def once(customer: str) -> str:
            try:
                with driver.session(database=customer) as session:
                    nodes = session.run(COUNT_NODES).single(strict=True)[0]
            except neo4j.exceptions.DriverError:  # no server; what it is to answer for is what it says when it is there
                return ""
            except neo4j.exceptions.Neo4jError as fault:
                return f"the alias does not resolve: {fault.message}" if customer in self._served else ""
            self._served.add(customer)
            known = self._known(share.base, customer)
            return "" if nodes in known else f"{nodes} nodes are served, the snapshots have {sorted(known)}"

        return once

    def _on_disk(self, world: World) -> Callable[[str], str]:
        root = world.daemon.state / "snapshots"

        def once(customer: str) -> str:
            before = world.daemon.pid
            target = _alias(root, customer)
            if target is not None and not (root / "graphs" / target / "graph.lbug").is_file():
                again = _alias(root, customer)  # switched, and the old one dropped, between the two looks
                problem = f"the alias leads to {target}, which is not there" if again == target else ""
            elif target is None and customer in self._served:
                problem = "the alias is not there any more"
            else:
                problem = ""
            if target is not None:
                self._served.add(customer)
            return problem if before is not None and before == world.daemon.pid else ""

        return once

    def _known(self, base: Path, customer: str) -> set[int]:
        with contextlib.suppress(OSError):
            for path in (base / customer).iterdir():
                if (path / "_SUCCESS").exists():
                    self._footer(base, customer, path.name)
        return {nodes for (owner, _), (nodes, _) in self._footers.items() if owner == customer}

    def _footer(self, base: Path, customer: str, timestamp: str) -> tuple[int, int]:
        """Nodes and relationships of a snapshot, which never changes once it has its marker."""
        key = customer, timestamp
        if key not in self._footers:
            folder = base / customer / timestamp
            self._footers[key] = _rows(folder / "nodes"), _rows(folder / "relationships")
        return self._footers[key]


def share_of(world: World) -> Share:
    """The graph's party."""
    party: Any = world.parties.get("neo4j") or world.parties["share"]
    found: Share = party
    return found


def _rows(folder: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in folder.rglob("*.parquet"))


def _alias(root: Path, customer: str) -> str | None:
    try:
        return (root / "aliases" / customer).read_text().strip() or None
    except OSError:
        return None


def counts_on_disk(root: Path, customer: str) -> tuple[str | None, tuple[int, int] | None]:
    """What the alias leads to, and the counts of a copy of it."""
    import ladybug

    target = _alias(root, customer)
    if target is None or not (root / "graphs" / target / "graph.lbug").is_file():
        return target, None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "graph.lbug"
        shutil.copy(root / "graphs" / target / "graph.lbug", copy)
        with ladybug.Database(str(copy), read_only=True) as database, ladybug.Connection(database) as connection:
            nodes, relationships = (
                connection.execute(statement).get_next()[0] for statement in (COUNT_NODES, COUNT_RELATIONSHIPS)
            )
        return target, (nodes, relationships)

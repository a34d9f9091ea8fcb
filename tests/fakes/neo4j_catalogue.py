"""What the emulated Neo4j server knows: databases, aliases, imports, tokens, and the faults that a test wishes for.

Shared by the Bolt and the Flight server, each with its own thread, so every method holds one lock.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


class Refusal(Exception):
    """A failure as Bolt tells it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Faults:
    """What goes wrong; the counted ones go wrong so often.

    Args:
        drop_at: (part of a statement, how often): the connection is cut before it is carried out.
        drop_after: As `drop_at`, but carried out first: its answer is lost.
        slow_s: Part of a statement -> seconds before its answer.
        creation_message: What `statusMessage` says of a database whose creation fails behind the answer.
        starting: So many looks find a new database `starting`.
        expired_tokens: So many calls with a token are turned away.
        no_ack_after: A stream gets no acknowledgement after so many batches, until the import is aborted.
        die_after: A stream is broken off with an internal error after so many batches.
        lose_rows: NODE_LOAD_DONE counts so many fewer.
    """

    drop_at: dict[str, int] = field(default_factory=dict)
    drop_after: dict[str, int] = field(default_factory=dict)
    slow_s: dict[str, float] = field(default_factory=dict)
    creation_message: str = ""
    starting: int = 0
    expired_tokens: int = 0
    no_ack_after: int | None = None
    die_after: int | None = None
    lose_rows: int = 0

    def takes(self, table: dict[str, int], statement: str) -> bool:
        for part, left in table.items():
            if part in statement and left > 0:
                table[part] = left - 1
                return True
        return False


@dataclass
class Graph:
    """One database's content; rows are kept only where the catalogue says so."""

    nodes: int = 0
    relationships: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    rows: dict[Any, tuple[frozenset[str], dict[str, Any]]] = field(default_factory=dict)
    unique: str | None = None


@dataclass
class Import:
    """A process of the Arrow server: `nodes`, then `relationships`, then gone."""

    graph: Graph
    id_type: str
    id_property: str
    phase: str = "node"
    aborted: threading.Event = field(default_factory=threading.Event)
    streams: int = 0
    peak_streams: int = 0


class Catalogue:
    """The server's state.

    Args:
        edition: `enterprise` or `community`.
        arrow: `running`, `off` (installed, not enabled) or `absent` (no procedure).
        beans: JMX name -> attributes as `dbms.queryJmx` has them.
        keep_rows: Whether nodes are kept, for queries; counts always are.
    """

    def __init__(
        self, *, edition: str = "enterprise", version: str = "5.26.30", arrow: str = "running", keep_rows: bool = True,
        user: str = "neo4j", password: str = "labd-secret",
    ) -> None:  # fmt: skip
        self.edition, self.version, self.arrow, self.keep_rows = edition, version, arrow, keep_rows
        self.user, self.password = user, password
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.faults = Faults()
        self.databases: dict[str, Graph] = {"neo4j": Graph()}
        self.status: dict[str, tuple[str, str]] = {}
        self.stores: dict[str, Graph] = {}  # store files that an import left, not yet mounted
        self.aliases: dict[str, str] = {}
        self.imports: dict[str, Import] = {}
        self.transactions: list[tuple[str, str]] = []
        self.statements: list[str] = []
        self.calls: list[str] = []
        self.tokens: set[str] = set()
        self.heap_used = [400, 300, 100, 500, 200]
        self.beans: dict[str, dict[str, Any]] = {
            "neo4j.metrics:name=neo4j.dbms.page_cache.hit_ratio": {"Value": {"value": 0.97}},
            "neo4j.metrics:name=neo4j.dbms.page_cache.usage_ratio": {"Value": {"value": 1.0}},
        }

    def heap(self) -> dict[str, Any]:
        used = self.heap_used[0]
        self.heap_used = [*self.heap_used[1:], used]
        memory = {"properties": {"used": used, "committed": 800, "max": 1000}}
        return {"HeapMemoryUsage": {"value": memory}}

    def resolve(self, name: str) -> Graph:
        with self.lock:
            target = self.aliases.get(name.lower(), name.lower())
            if target not in self.databases:
                raise Refusal("Neo.ClientError.Database.DatabaseNotFound", f"Graph not found: {name}")
            return self.databases[target]

    def create_database(self, name: str) -> None:
        with self.lock:
            if name in self.databases:
                return
            self.databases[name] = self.stores.pop(name, None) or Graph()
            if self.faults.creation_message:
                self.status[name] = ("offline", self.faults.creation_message)

    def show(self) -> list[list[Any]]:
        with self.lock:
            starting = self.faults.starting > 0
            self.faults.starting -= 1 if starting else 0
            found = [["system", "system", "online", "", False]]
            for name in self.databases:
                status, message = self.status.get(name, ("starting" if starting else "online", ""))
                found.append([name, "standard", status, message, name == "neo4j"])
            return found

    def drop_database(self, name: str) -> None:
        with self.lock:
            if name in self.aliases.values():
                raise Refusal("Neo.ClientError.Database.ExistingAliasFound", f"an alias targets {name}")
            self.databases.pop(name, None)
            self.status.pop(name, None)

    def point(self, alias: str, name: str, *, there: bool) -> None:
        with self.lock:
            if (alias in self.aliases) is not there:
                word = "does not exist" if there else "exists already"
                raise Refusal("Neo.ClientError.Database.DatabaseNotFound", f"the alias {alias} {word}")
            if name not in self.databases:
                raise Refusal("Neo.ClientError.Database.DatabaseNotFound", f"no database {name}")
            self.aliases[alias] = name

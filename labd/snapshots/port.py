"""The port to a graph store: what every engine of the snapshots wing does, and the values they speak in.

It is no face for readers of the graph and knows nothing of jobs, customers or pipelines: it makes databases, fills
them, counts them, points aliases at them and drops them.

The obligations of an engine:
- A database is filled only by `load`; one whose load did not return is half made and is never told from a whole one by
  the engine: who called it knows, and loads it again with `replace=True`.
- `switch` is one atomic step: a reader that resolves the alias at any instant gets the old database or the new one.
- Names are given as they are; quoting is the engine's affair, in one place.
- Everything blocking runs outside the event loop; a call that is cancelled has ended its work when it lets the
  cancellation through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Kind = Literal["node", "relationship"]


@dataclass(frozen=True, slots=True)
class Table:
    """The parquet files of one folder, such as `nodes/Person`.

    Args:
        name: The folder's name; the label or type of rows that bring none.
        files: In the order of their names.
        roles: Which column is what: `id`, `labels` of nodes; `source`, `target`, `type` of relationships. A role that
            is not there is not in it; all other columns are properties.
        rows: As the footers say.
        size_bytes: Of all files together.
        columns: Name -> Arrow type as text, without the roles.
    """

    kind: Kind
    name: str
    files: tuple[Path, ...]
    roles: Mapping[str, str]
    rows: int
    size_bytes: int
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a snapshot holds: the tables that one database is made of."""

    tables: tuple[Table, ...]

    @property
    def nodes(self) -> int:
        """Rows of all node tables."""
        return sum(table.rows for table in self.tables if table.kind == "node")

    @property
    def relationships(self) -> int:
        """Rows of all relationship tables."""
        return sum(table.rows for table in self.tables if table.kind == "relationship")

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(table.size_bytes for table in self.tables)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is; called at most a few times a second, from the loop."""

    rows: int
    total_rows: int
    size_bytes: int
    table: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in a database."""

    nodes: int
    relationships: int
    labels: Mapping[str, int]
    types: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Database:
    """One database of the store.

    Args:
        status: `online` serves; anything else is the store's own word.
        size_bytes: None where the store does not tell.
    """

    name: str
    status: str
    message: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a load may begin; a figure that the store does not tell is None, never 0.

    Args:
        reachable: False with `problem` where it is not.
        heap_percent: The least of several samples: the heap is a sawtooth, its floor is what is really in use.
        page_cache_percent: Of the page cache, in the ratio that `page_cache_ratio` names.
        unknown: What was asked and not answered, in words.
    """

    reachable: bool
    problem: str = ""
    version: str = ""
    edition: str = ""
    heap_percent: float | None = None
    page_cache_percent: float | None = None
    page_cache_ratio: str = ""
    databases: int | None = None
    disk_free_bytes: int | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a query, JSON values only; `more` if the limit cut them."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    more: bool


class GraphStore(Protocol):
    """One store.

    Raises, all methods:
        GraphUnreachable: No answer; retryable.
        GraphRefused: The store says no (edition, licence, name, permission); the message says what to do.
    """

    simulated: bool

    async def health(self) -> Health:
        """Never raises for a store that is away: it says so."""
        ...

    async def databases(self) -> list[Database]:
        """All but the store's own (`system`)."""
        ...

    async def load(
        self, database: str, dataset: Dataset, progress: Callable[[Progress], None], *, replace: bool = False
    ) -> Counts:
        """Make a database of the dataset and wait until it serves.

        Args:
            replace: Drop what is there under the name first; without it an existing database is `GraphRefused`.

        Raises:
            DatasetRefused: The store cannot hold something of it; names table, column and value.
        """
        ...

    async def counts(self, database: str) -> Counts:
        """Counted in the store itself."""
        ...

    async def query(
        self, database: str, cypher: str, parameters: Mapping[str, Any], *, timeout_s: float, limit: int
    ) -> Rows:
        """Read only; a statement that would write is `GraphRefused`."""
        ...

    async def aliases(self) -> dict[str, str]:
        """Alias -> database."""
        ...

    async def switch(self, alias: str, database: str) -> None:
        """Point an alias at a database that serves, made if it is not there; confirmed by reading back."""
        ...

    async def drop_alias(self, alias: str) -> None:
        """A second call does nothing."""
        ...

    async def transactions(self, database: str) -> int:
        """Open transactions of others, or readers that hold it."""
        ...

    async def drop(self, database: str) -> None:
        """With its data; a second call does nothing.

        Raises:
            GraphRefused: An alias points at it.
        """
        ...

    async def close(self) -> None:
        """Let go of everything; a second call does nothing."""
        ...

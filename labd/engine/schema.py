"""A wing's own tables in the file of the journal.

Why in that file: what belongs to a job, such as the paint it will use, must be on disk in the same commit as the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from labd.engine import sql


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables whose names begin with the wing's.

    Args:
        name: The wing; its statements are executed as `name.statement`.
        package: Holds `NNNN_what.sql`, script n bringing version n - 1 to version n, and `queries.sql`.
        tables: Columns of the tables that take rows by `Journal.insert`, such as `{"movement": ("id", ...)}` for
            `inventory_movement`; the first column is never NULL, and there are at most 30.
    """

    name: str
    package: str
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def migrations(self) -> list[str]:
        """The scripts in order."""
        return sql.scripts(files(self.package))

    def queries(self) -> dict[str, str]:
        """The statements, under their full names."""
        return {f"{self.name}.{name}": text for name, text in sql.queries(self.package).items()}

"""The ledger's tables in the journal's file, and the columns of those that take rows in bulk."""

from __future__ import annotations

from labd.engine.schema import Schema

MOVEMENT = (
    "id", "reservoir", "ordinal", "kind", "at", "ledger_s", "volume_pl", "level_before_pl", "level_after_pl",
    "reserve_pl", "reserved_before_pl", "reserved_after_pl", "actor", "cause", "job_id", "step", "operation", "details",
)  # fmt: skip
SCHEMA = Schema("inventory", "labd.inventory.sql", {"movement": MOVEMENT})

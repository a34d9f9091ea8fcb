"""Movements as people see them: rows to views, filters to statements, shortages to the seed's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from labd.clock import from_iso, iso
from labd.errors import BadRequest
from labd.inventory.book import Entry
from labd.inventory.claims import Shortage
from labd.inventory.reservoir import MovementFilter, MovementView
from labd.inventory.volumes import to_ul

LARGEST_ID = 2**63 - 1
PAGE_LIMIT = 10_000


def view_of(entry: Entry, color: str) -> MovementView:
    """One movement in microlitres."""
    return MovementView(
        id=entry.id, reservoir=entry.reservoir, color=color, kind=entry.kind, at=iso(entry.at) or "",
        volume_ul=to_ul(entry.volume_pl), before_ul=to_ul(entry.level_before_pl), after_ul=to_ul(entry.level_after_pl),
        reserved_before_ul=to_ul(entry.reserved_before_pl), reserved_after_ul=to_ul(entry.reserved_after_pl),
        actor=entry.actor, cause=entry.cause, job_id=entry.job_id, step=entry.step, operation=entry.operation,
        details=msgspec.json.decode(entry.details),
    )  # fmt: skip


def where(which: MovementFilter) -> tuple[str, tuple[Any, ...]]:
    """The statement that reads a page, and its values.

    Raises:
        BadRequest: A limit or an instant that cannot be.
    """
    if not 1 <= which.limit <= PAGE_LIMIT:
        raise BadRequest(f"limit {which.limit} is not between 1 and {PAGE_LIMIT}", field="limit", value=which.limit)
    values = (
        LARGEST_ID if which.before is None else which.before, which.after or 0, which.reservoir, which.kind,
        which.job_id, which.actor, which.operation, _instant("since", which.since), _instant("until", which.until),
        which.limit,
    )  # fmt: skip
    if which.oldest_first:
        return "inventory.history_oldest", values
    return ("inventory.history_newest" if which.job_id is None else "inventory.history_of_job"), values


def insufficient(short: Sequence[Shortage]) -> tuple[str, dict[str, Any]]:
    """The seed's message, and the facts beside it: what must remain (`threshold_ul`), and what is missing with that."""
    parts = ", ".join(
        f"{one.color} (available: {to_ul(one.available_pl):.1f} ul, required: {to_ul(one.required_pl):.1f} ul)"
        for one in short
    )
    facts = [
        {
            "reservoir": one.reservoir, "color": one.color, "available_ul": to_ul(one.available_pl),
            "required_ul": to_ul(one.required_pl), "threshold_ul": to_ul(one.threshold_pl),
            "missing_ul": to_ul(one.required_pl + one.threshold_pl - one.available_pl),
        }
        for one in short
    ]  # fmt: skip
    return f"Insufficient stock for: {parts}. Please restock before proceeding.", {"short": facts}


def _instant(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return from_iso(text)
    except ValueError as fault:
        raise BadRequest(f"{name}: {fault}", field=name, value=text) from None

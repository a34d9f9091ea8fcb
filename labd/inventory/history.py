"""Which movements a list shows: from query parameters to the ledger's filter."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from labd.clock import from_iso, iso
from labd.errors import BadRequest
from labd.inventory.reservoir import Kind, MovementFilter

LARGEST_ID = 2**63 - 1
Text = Annotated[str, Meta(max_length=200)]


class HistoryQuery(msgspec.Struct, kw_only=True):
    """Filters; all given ones must hold."""

    reservoir: Text | None = None
    kind: Kind | None = None
    job: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    since: Text | None = None
    until: Text | None = None
    before: Annotated[int, Meta(ge=1, le=LARGEST_ID)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


def filter_of(query: HistoryQuery, reservoir: str | None, before: int | None = None) -> MovementFilter:
    """The query as the ledger's filter; `reservoir` is the key that the query's name means.

    Raises:
        BadRequest: An instant that cannot be read.
    """
    return MovementFilter(
        reservoir=reservoir, kind=query.kind, job_id=query.job, since=instant("since", query.since),
        until=instant("until", query.until), before=query.before if before is None else before, limit=query.limit,
    )  # fmt: skip


def instant(parameter: str, text: str | None) -> str | None:
    """An instant as the ledger takes it.

    Raises:
        BadRequest: No instant, or one without a time zone.
    """
    if text is None:
        return None
    try:
        # In a query string a plus that was not escaped arrives as a space.
        return iso(from_iso(text.replace(" ", "+") if "T" in text else text))
    except (ValueError, OverflowError) as fault:
        raise BadRequest(
            f"query parameter {parameter}={text}: {fault}; write 2026-01-31T08:00:00Z", parameter=parameter, value=text
        ) from None

"""Pages of old events as JSON, made on a thread of its own; the reasons are those of `listing`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from labd.engine import listing

_decode_page = msgspec.json.Decoder(list[tuple[int, int, str, int | None, str]]).decode


class EventText(NamedTuple):
    """One event as the API shows it."""

    seq: int
    kind: str
    text: bytes


def reader(page: str, *parameters: Any) -> Callable[[sqlite3.Connection], list[EventText]]:
    """What reads a page.

    Args:
        page: A SELECT of seq, at, kind, job_id and data, in order.
    """
    row = f"json_array(seq, {listing.MICROSECONDS.format('at')}, kind, job_id, data)"
    statement = f"SELECT json_group_array({row}) FROM ({page})"  # noqa: S608 only named statements come here

    def read(opened: sqlite3.Connection) -> list[EventText]:
        found = _decode_page(opened.execute(statement, parameters).fetchone()[0])
        return [EventText(row[0], row[2], _text(*row)) for row in found]

    return read


def _text(seq: int, at: int, kind: str, job_id: int | None, data: str) -> bytes:
    job = "null" if job_id is None else job_id
    shown = f'{{"seq":{seq},"at":{listing.instant(at)},"kind":{listing.name(kind)},"job_id":{job},"data":{data}}}'
    return shown.encode()

"""Pages of old events as JSON, made as those of `listing`, for the same reasons."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from labd.engine import listing

EVENTS_A_TURN = 100
_decode_page = msgspec.json.Decoder(list[tuple[int, int, str, int | None, str]]).decode


class EventText(NamedTuple):
    """One event as the API shows it."""

    seq: int
    kind: str
    text: bytes


def statement(page: str) -> str:
    """The SELECT of a page as one text.

    Args:
        page: A SELECT of seq, at, kind, job_id and data, in order.
    """
    row = f"json_array(seq, {listing.MICROSECONDS.format('at')}, kind, job_id, data)"
    return f"SELECT json_group_array({row}) FROM ({page})"  # noqa: S608 only named statements come here


async def composed(text: str) -> list[EventText]:
    """The page of what `statement` found."""
    found = _decode_page(text)
    texts: list[EventText] = []
    for start in range(0, len(found), EVENTS_A_TURN):
        if start:
            await asyncio.sleep(0)
        texts += [EventText(row[0], row[2], _text(*row)) for row in found[start : start + EVENTS_A_TURN]]
    return texts


def _text(seq: int, at: int, kind: str, job_id: int | None, data: str) -> bytes:
    job = "null" if job_id is None else job_id
    shown = f'{{"seq":{seq},"at":{listing.instant(at)},"kind":{listing.name(kind)},"job_id":{job},"data":{data}}}'
    return shown.encode()

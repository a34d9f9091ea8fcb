"""Old events that are made from stored text say the same as those that are made of events."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from labd.api.events import event_view
from labd.clock import SystemClock
from labd.engine import event_texts
from labd.engine.group import Event
from labd.engine.journal import Journal

DATA = [{}, {"task": "süß"}, {"n": 1.5, "deep": [{"a": None}, 'quo"te\n\0']}, {"big": 2**60, "猫": "\u2028"}]


@pytest.mark.parametrize("up_to", [3, 10**9])
async def test_a_page_of_stored_events_is_what_their_views_say(state_dir: Path, up_to: int) -> None:
    journal = Journal(state_dir / "labd.db", SystemClock())
    await journal.open()
    instants = [0.0, 1_700_000_000.999999, 1_700_000_000.000001, SystemClock().wall()]
    events = [
        Event(journal.next_seq(), at, kind, job_id, data)
        for at, kind, job_id, data in zip(
            instants,
            ["job.started", "queue.paused", 'odd."kind', "device.lost"],
            [7, None, 2**40, 1],
            DATA,
            strict=True,
        )
    ]
    for event in events:
        journal.add_event(event)
    await journal.commit()
    statement = event_texts.statement(journal.statement("events_after"))
    page = await event_texts.composed((await journal.look_sql(statement, (events[0].seq, up_to, 2)))[0][0])
    shown = [event for event in events if events[0].seq < event.seq <= up_to][:2]
    assert [msgspec.json.decode(each.text) for each in page] == [
        msgspec.json.decode(msgspec.json.encode(event_view(event))) for event in shown
    ]
    assert [(each.seq, each.kind) for each in page] == [(event.seq, event.kind) for event in shown]
    assert await event_texts.composed((await journal.look_sql(statement, (10**6, 10**9, 5)))[0][0]) == []
    await journal.close()

"""When a source whose names ascend is listed as a whole again."""

from __future__ import annotations

import pytest

from labd.ingest.discovery import _is_due


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, 1000.0, True),
        (1000.0, 1059.0, False),
        (1000.0, 1060.0, True),
        (1000.0, 999.0, True),  # the clock was set back: else nothing would be due until it has come up again
    ],
)
def test_the_whole_source_is_listed_now_and_then_whatever_the_clock_does(
    last: float | None, now: float, due: bool
) -> None:
    assert _is_due(last, 60.0, now) is due

"""New rows are written whole and in order, into however many pieces their number falls."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from labd.engine import store


@pytest.mark.parametrize("count", [0, 1, 9, 11, 90, 1023, 1024, 2111])
def test_every_row_is_written_once_and_in_order(count: int) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE notes (number INTEGER, text TEXT, place INTEGER PRIMARY KEY)")
        rows = [(number * 7 % 13, None if number % 3 else f"note {number}") for number in range(count)]
        store.insert_writer("notes", ("number", "text"))(opened, rows)
        assert opened.execute("SELECT number, text FROM notes ORDER BY place").fetchall() == rows


def test_the_widest_table_fits_into_the_largest_piece() -> None:
    columns = tuple(f"c{number}" for number in range(24))  # as many as a job has
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.execute(f"CREATE TABLE wide ({', '.join(columns)})")
        store.insert_writer("wide", columns)(opened, [(1,) * 24] * store.PIECES[-1])
        assert opened.execute("SELECT count(*) FROM wide").fetchone() == (store.PIECES[-1],)

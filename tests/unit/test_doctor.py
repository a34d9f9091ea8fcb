"""The doctor's single looks, as tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from labd.doctor import STA_UNSYNC, _device, certificate, synchronisation
from labd.engine import store

NOW = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("status", "state"), [(0, "ok"), (0x2001, "ok"), (STA_UNSYNC, "warning"), (0x2041, "warning"), (None, "unknown")]
)
def test_a_clock_that_nobody_keeps_right_is_told(status: int | None, state: str) -> None:
    assert synchronisation(status).state == state


@pytest.mark.parametrize(("days", "state"), [(-1, "fault"), (1, "warning"), (20, "warning"), (22, "ok"), (300, "ok")])
def test_a_certificate_is_told_before_it_ends(tmp_path: Path, days: float, state: str) -> None:
    path = tmp_path / "cert.pem"
    ends = datetime.fromtimestamp(NOW + days * DAY_S, UTC)
    trustme.CA().issue_cert("labd.example", not_after=ends).cert_chain_pems[0].write_to_path(path)
    finding = certificate(path, NOW)
    assert finding.state == state
    assert str(path) in finding.message
    assert bool(finding.remedy) == (state != "ok")


def test_a_certificate_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    path.write_text("no certificate")
    assert certificate(path, NOW).state == "fault"
    assert certificate(tmp_path / "absent.pem", NOW).state == "fault"


@pytest.mark.parametrize(
    ("device", "state", "told"),
    [
        ({"state": "ready", "simulated": True}, "ok", "(simulated)"),
        ({"state": "lost", "problem": "no status packet"}, "fault", "no status packet"),
        ({"state": "away"}, "fault", "resort:main is away"),
        ({"state": "ready", "port": "/dev/ttyUSB0"}, "warning", "/dev/ttyUSB0"),
        ({"state": "ready", "port": "/dev/serial/by-id/usb-FTDI"}, "ok", "ready"),
    ],
)
def test_a_device_is_as_it_says_of_itself(device: dict[str, Any], state: str, told: str) -> None:
    finding = _device("resort", {"name": "main", **device})
    assert (finding.state, finding.subject) == (state, "resort:main")
    assert told in finding.message


def test_a_torn_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "labd.db"
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT)")
        opened.executemany("INSERT INTO words (word) VALUES (?)", [("x" * 500,)] * 200)
    assert store.problems(path) == []
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    assert store.problems(path)
    assert store.problems(tmp_path / "absent" / "labd.db")

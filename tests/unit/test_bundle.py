"""What a support bundle leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.bundle import HIDDEN, redacted

CANARY = "c4n4ry-5f1e0d"


@pytest.mark.parametrize(
    "value",
    [
        {"password": CANARY},
        {"args": {"db_passwd": CANARY}},
        {"headers": [{"Authorization": f"Bearer {CANARY}"}]},
        {"secrets": {"key": [CANARY]}, "secret_key": CANARY},
        {"message": f"cannot reach mongodb://labd:{CANARY}@db.example/lab"},
        {"text": f"GET /x?token={CANARY}&a=1"},
        {"text": f"sent Authorization: Bearer {CANARY}"},
        {"api_key": CANARY, "apikey": CANARY},
        {"text": f"labd_{CANARY}_0123456789abcdef"},
        [f"password={CANARY}"],
    ],
)
def test_what_is_secret_is_taken_out(value: Any) -> None:
    clean = redacted(value)
    assert CANARY not in str(clean)
    assert HIDDEN in str(clean)


@pytest.mark.parametrize(
    "value",
    [
        {"token": "env:LABD_S3_KEY", "password": "file:/etc/labd/neo4j"},
        {"tokens_total": 7, "commits_total": 12.0, "task": "mix_color"},
        {"message": "resort main: no status packet within 0.05 s, 3 tries; check power and servo id"},
        {"url": "https://example.org:8443/path?user=anna"},
        {"password": None, "passed": True},
    ],
)
def test_what_is_no_secret_stays(value: Any) -> None:
    assert redacted(value) == value

"""How the child says no: a code of `labd.errors`, a text for people, and what belongs to it."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """Nothing was done; `code` is that of an error class in `labd/errors.py`, such as `table_refused`.

    Codes: source_refused, source_unreachable, table_refused, quality_refused, table_conflict, cluster_unreachable.
    """

    def __init__(self, code: str, text: str, **details: Any) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.details = details

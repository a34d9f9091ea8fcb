"""Whether a loaded database is what its snapshot says, and like enough to the one it replaces. Rules only, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from labd.snapshots.port import Counts, Dataset


class Difference(msgspec.Struct, frozen=True):
    """One finding that holds a snapshot.

    Args:
        check: `counts`, `band`, `labels`, `types` or `assertion`.
        what: What was counted or asked.
        expected, found: As text, with their units.
    """

    check: str
    what: str
    expected: str
    found: str

    def told(self) -> str:
        """In one line."""
        return f"{self.what}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assertion of the settings gave.

    Args:
        found: Its first value, or the store's complaint in `problem`.
    """

    cypher: str
    expected: object
    found: object
    problem: str = ""


def differences(
    dataset: Dataset, loaded: Counts, active: Counts | None, band_percent: float, answers: Sequence[Answer] = ()
) -> list[Difference]:
    """Everything that is not as it should be, in the order of the checks.

    Args:
        active: What is served now; None for the first version.
        band_percent: How far a count may be from the active version's.
    """
    found = _counted(dataset, loaded)
    if active is not None:
        found += _in_band("nodes", active.nodes, loaded.nodes, band_percent)
        found += _in_band("relationships", active.relationships, loaded.relationships, band_percent)
        found += _still_there("labels", "nodes with the label", active.labels, loaded.labels)
        found += _still_there("types", "relationships of the type", active.types, loaded.types)
    found += failures("assertion", answers)
    return found


def failures(check: str, answers: Sequence[Answer]) -> list[Difference]:
    """Assertions that are not as they should be."""
    return [
        Difference(check, answer.cypher, repr(answer.expected), answer.problem or repr(answer.found))
        for answer in answers
        if answer.problem or answer.found != answer.expected
    ]


def _counted(dataset: Dataset, loaded: Counts) -> list[Difference]:
    pairs = (("nodes", dataset.nodes, loaded.nodes), ("relationships", dataset.relationships, loaded.relationships))
    return [
        Difference("counts", what, f"{told} as the parquet footers say", str(found))
        for what, told, found in pairs
        if told != found
    ]


def _in_band(what: str, before: int, now: int, band_percent: float) -> list[Difference]:
    if abs(now - before) * 100 <= band_percent * before:
        return []
    change = "none before" if before == 0 else f"{(now - before) / before * 100:+.1f} %"
    return [
        Difference("band", what, f"{before} within {band_percent:g} %, as in the active version", f"{now} ({change})")
    ]


def _still_there(check: str, what: str, before: Mapping[str, int], now: Mapping[str, int]) -> list[Difference]:
    return [
        Difference(check, f"{what} {name}", f"some, the active version has {count}", "none")
        for name, count in sorted(before.items())
        if count and not now.get(name)
    ]

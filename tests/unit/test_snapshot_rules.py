"""The rules of the snapshots wing as tables: what a load waits for, what holds a version, what may be dropped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.snapshots.book import SnapshotBook
from labd.snapshots.gate import Limits, reasons
from labd.snapshots.port import Counts, Dataset, Health, Table
from labd.snapshots.record import Body, Record, State
from labd.snapshots.retention import Version, plan
from labd.snapshots.scan import SnapshotKey
from labd.snapshots.verification import Answer, differences

WELL = Health(
    True, heap_percent=40.0, page_cache_percent=50.0, page_cache_ratio="usage", databases=3, disk_free_bytes=10**12
)
BUSY = replace(WELL, heap_percent=99.0, page_cache_percent=99.0, databases=60)


@pytest.mark.parametrize(
    ("health", "limits", "codes"),
    [
        (WELL, Limits(), []),
        (Health(False, problem="connection refused"), Limits(), ["graph_unreachable"]),
        (replace(WELL, heap_percent=85.0), Limits(), ["heap"]),
        (replace(WELL, heap_percent=84.9), Limits(), []),
        (replace(WELL, page_cache_percent=95.0), Limits(), ["page_cache"]),
        (replace(WELL, databases=50), Limits(), ["databases"]),
        (replace(WELL, databases=49), Limits(), []),
        (replace(WELL, disk_free_bytes=999), Limits(), ["disk"]),
        (replace(WELL, heap_percent=None, unknown=("heap",)), Limits(), []),
        (replace(WELL, heap_percent=None, unknown=("heap",)), Limits(on_unknown="wait"), ["unknown"]),
        (BUSY, Limits(), ["heap", "page_cache", "databases"]),
    ],
)  # fmt: skip
def test_a_load_waits_for_each_cause_by_its_name(health: Health, limits: Limits, codes: list[str]) -> None:
    assert [reason.code for reason in reasons(health, limits, 1000)] == codes


def test_a_reason_gives_both_figures_and_the_next_step() -> None:
    told = reasons(replace(WELL, databases=50), Limits(), None)[0].message
    assert told == "it holds 50 databases, max_databases is 50; `labctl snapshot cleanup`, or raise the limit"


def dataset(nodes: int, relationships: int) -> Dataset:
    return Dataset((
        Table("node", "Person", (), {"id": "id"}, nodes, 10), Table("relationship", "KNOWS", (), {}, relationships, 10),
    ))  # fmt: skip


def counts(nodes: int, relationships: int, label: str = "Person", kind: str = "KNOWS") -> Counts:
    return Counts(nodes, relationships, {label: nodes}, {kind: relationships})


@pytest.mark.parametrize(
    ("loaded", "active", "checks"),
    [
        (counts(100, 50), None, []),
        (counts(99, 50), None, ["counts"]),
        (counts(100, 50), counts(90, 45), []),
        (counts(100, 50), counts(120, 50), []),
        (counts(100, 50), counts(126, 50), ["band"]),
        (counts(100, 50), counts(100, 0), ["band"]),
        (counts(100, 50), counts(100, 50, label="Company"), ["labels"]),
        (counts(100, 50), counts(100, 50, kind="LIKES"), ["types"]),
    ],
)
def test_a_version_is_held_by_each_check_by_its_name(loaded: Counts, active: Counts | None, checks: list[str]) -> None:
    assert [found.check for found in differences(dataset(100, 50), loaded, active, 20.0)] == checks


def test_an_assertion_holds_by_its_answer_or_its_complaint() -> None:
    answers = [Answer("RETURN 1", 1, 1), Answer("RETURN 2", 1, 2), Answer("RETURN x", 1, None, "x is not defined")]
    found = differences(dataset(1, 1), counts(1, 1), None, 20.0, answers)
    assert [entry.told() for entry in found] == [
        "RETURN 2: expected 1, found 2", "RETURN x: expected 1, found x is not defined",
    ]  # fmt: skip


def version(timestamp: str, customer: str = "acme", **more: object) -> Version:
    made = Version(customer, timestamp, int(timestamp), f"{customer}-{timestamp}", "superseded")
    return replace(made, **more)  # type: ignore[arg-type]


def dropped(versions: list[Version], aliases: dict[str, str], previous: dict[str, str], keep: int = 2) -> list[str]:
    return [verdict.database for verdict in plan(versions, aliases, previous, keep) if verdict.drop]


def test_the_newest_stay_and_the_rest_go() -> None:
    assert dropped([version(str(n)) for n in (9, 10, 11, 100)], {}, {}) == ["acme-10", "acme-9"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"pinned": True}, "it is pinned"),
        ({"transactions": 1}, "1 transaction is open on it"),
        ({"state": "held"}, "it waits for `labctl snapshot approve` or `reject`"),
        ({"state": "loading"}, "it is being loaded"),
    ],
)
def test_what_speaks_for_a_version_keeps_it(more: dict[str, object], reason: str) -> None:
    verdicts = plan([version("1", **more), version("2"), version("3")], {}, {}, 2)
    assert [(v.drop, v.reason) for v in verdicts if v.timestamp == "1"] == [(False, reason)]


def test_a_target_of_any_alias_and_the_way_back_stay_whatever_their_case() -> None:
    versions = [version(str(n)) for n in (1, 2, 3, 4, 5)]
    assert dropped(versions, {"acme": "ACME-1"}, {"acme": "acme-2"}, keep=1) == ["acme-4", "acme-3"]


CUSTOMERS = st.sampled_from(["acme", "acme-eu", "acme.eu", "ACME2"])
VERSIONS = st.builds(
    version, st.integers(1, 30).map(str), CUSTOMERS, pinned=st.booleans(), transactions=st.integers(0, 1)
)


@given(st.lists(VERSIONS, max_size=40, unique_by=lambda v: v.database), st.integers(1, 4), st.data())
def test_no_plan_ever_drops_what_is_served_pinned_or_another_customers_newest(
    versions: list[Version], keep: int, data: st.DataObject
) -> None:
    names = [v.database for v in versions]
    aliases = data.draw(st.dictionaries(st.text("ab", min_size=1), st.sampled_from(names), max_size=3)) if names else {}
    gone = set(dropped(versions, aliases, {}, keep))
    assert not gone & set(aliases.values())
    for v in versions:
        if v.database in gone:
            newer = [o for o in versions if o.customer == v.customer and o.number > v.number]
            assert len(newer) >= keep
            assert not v.pinned
            assert not v.transactions


@pytest.mark.parametrize(
    ("versions", "overtaker"),
    [
        ({"300": State.VERIFIED}, "300"),
        ({"300": State.ACTIVE, "400": State.GATED}, "300"),
        ({"99": State.ACTIVE}, None),  # as a number it is older
        ({"1000": State.ACTIVE}, "1000"),
        ({"300": State.SUPERSEDED}, "300"),  # it has a database, so it was verified
        ({"300": State.LOADED, "301": State.LOADING, "302": State.SETTLED}, None),  # nobody knows yet
        ({"300": State.HELD, "301": State.FAILED, "302": State.QUARANTINED, "303": State.REJECTED}, None),
    ],
)  # fmt: skip
def test_only_what_was_verified_overtakes_older_versions(versions: dict[str, State], overtaker: str | None) -> None:
    book = SnapshotBook(None, None)  # type: ignore[arg-type]  # it writes nothing here
    for timestamp, state in {"200": State.GATED, **versions}.items():
        database = None if state in (State.GATED, State.SETTLED) else f"acme-v{timestamp}"
        record = Record("acme", timestamp, state, database, "", 0.0, 0.0, False, Body("/srv"))
        book.live[record.key] = record
        other = Record("acme-eu", "999", State.ACTIVE, "acme-eu-v999", "", 0.0, 0.0, False, Body("/srv"))
        book.live[other.key] = other
    found = book.overtaker(book.live[SnapshotKey("acme", "200")])
    assert (None if found is None else found.timestamp) == overtaker


def test_a_superseded_version_without_a_database_overtakes_nothing() -> None:
    book = SnapshotBook(None, None)  # type: ignore[arg-type]
    for timestamp, state in (("200", State.GATED), ("300", State.SUPERSEDED)):
        record = Record("acme", timestamp, state, None, "", 0.0, 0.0, False, Body("/srv"))
        book.live[record.key] = record
    assert book.overtaker(book.live[SnapshotKey("acme", "200")]) is None

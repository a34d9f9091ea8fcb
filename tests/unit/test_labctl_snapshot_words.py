"""What `labctl snapshot` says: sizes, steps, ends, health, and cells that would drive a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from labctl import snapshot_words as words
from labctl.commands.snapshot_ask import parameters
from labctl.render import progress_text
from labd.errors import BadRequest

SERVING = {
    "customer": "acme", "alias": "acme", "active": "200", "database": "acme-v200", "previous": "100",
    "switched_at": None, "versions": ["200", "100"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB"), (3e15, "2728.5 TiB")],
)
def test_a_size_is_in_the_unit_that_fits(size_bytes: float, text: str) -> None:
    assert words.size(size_bytes) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "acme serves 200 (alias acme -> database acme-v200), before it 100"),
        ({"previous": None}, "acme serves 200 (alias acme -> database acme-v200), nothing before it"),
        ({"active": None, "database": None}, "acme serves nothing yet"),
    ],
)
def test_who_serves(change: dict[str, Any], text: str) -> None:
    assert words.serves({**SERVING, **change}) == text


@pytest.mark.parametrize(
    ("task", "result", "text"),
    [
        ("load_database", {"loaded": True, "database": "acme-v2", "nodes": 3, "relationships": 4, "load_s": 61.0},
         "load: database acme-v2, 3 nodes, 4 relationships, 1 min 1 s"),
        ("load_database", {"loaded": False, "database": "acme-v2"}, "load: database acme-v2 was whole already"),
        ("verify_database", {"held": False, "differences": []}, "verify: it is what the snapshot says"),
        ("verify_database", {"held": True, "differences": ["a", "b"]}, "verify: HELD for 2 difference(s)"),
        ("verify_database", {"held": False, "differences": ["a"]}, "verify: differs, and goes on all the same: a"),
        ("switch_alias", {"switched": True, "alias": "acme", "database": "acme-v2", "previous": "acme-v1"},
         "switch: alias acme -> acme-v2, it was acme-v1"),
        ("switch_alias", {"switched": False, "reason": "3 is newer"}, "switch: not done, 3 is newer"),
        ("cleanup_old_databases", {"dropped": ["acme-v0"]}, "cleanup: acme-v0 dropped"),
        ("cleanup_old_databases", {"dropped": []}, "cleanup: nothing to drop"),
        ("cleanup_old_databases", None, "cleanup_old_databases"),
    ],
)  # fmt: skip
def test_a_step_in_one_line(task: str, result: Any, text: str) -> None:
    assert words.step(f"snapshots.{task}", result) == text


@pytest.mark.parametrize(
    ("task", "result", "first"),
    [
        ("process_snapshot", {"switched": True, "alias": "acme", "database": "acme-v200", "previous": None},
         "acme/200: alias acme -> acme-v200 after 2.0 s"),
        ("process_snapshot", {"state": "loaded", "switched": False, "reason": "asked for without a switch"},
         "acme/200: loaded, not switched: asked for without a switch after 2.0 s"),
        ("process_snapshot", {"state": "held", "differences": ["nodes: expected 1, found 2"]},
         "acme/200: HELD after 2.0 s"),
        ("switch_alias", {"switched": False, "held": True, "reason": "a canary failed: x"},
         "acme/200: HELD, a canary failed: x after 2.0 s"),
        ("verify_database", {"held": False, "differences": []},
         "acme/200: it is what the snapshot says after 2.0 s"),
        ("rollback", {"active": "100"}, "acme/200: rolled back after 2.0 s"),
    ],
)  # fmt: skip
def test_the_last_word_begins_with_what_came_of_it_and_ends_with_who_serves(
    task: str, result: dict[str, Any], first: str
) -> None:
    job = {"task": f"snapshots.{task}", "args": {"customer": "acme", "timestamp": "200"}, "result": result}
    lines = words.ended(job, 2.0, SERVING).splitlines()
    assert (lines[0], lines[-1]) == (first, words.serves(SERVING))
    assert ("  next: labctl snapshot approve acme 200" in lines[-2]) == words.held(result)


def test_rows_of_a_load_are_counted_in_full() -> None:
    job = {"id": 1, "task": "t", "state": "running", "progress": {"done": 1_500_000, "total": 12_345_678, "text": ""}}
    assert progress_text(job).endswith("] 1500000/12345678")
    job["progress"] = {"done": 0.25, "total": 1.5, "text": ""}
    assert progress_text(job).endswith("] 0.25/1.5")


def test_health_names_what_the_store_does_not_tell_and_what_loads_wait_for() -> None:
    figures = {
        "engine": "neo4j", "edition": "enterprise", "version": "5.26.0", "reachable": True, "problem": "",
        "heap_percent": 91.4, "heap_threshold_percent": 85.0, "page_cache_percent": None, "page_cache_ratio": "",
        "pagecache_threshold_percent": 90.0, "databases": None, "max_databases": 50, "disk_free_bytes": None,
        "unknown": ["page cache"], "base_path": "/data", "scanned_at": None, "scan_problem": "",
        "skipped": [{"path": "/data/-x", "reason": "no customer"}], "waits_for": ["its heap is 91 % full"],
    }  # fmt: skip
    assert words.health(figures).splitlines() == [
        "neo4j enterprise 5.26.0: reachable",
        "  heap: 91 %, loads wait from 85 %",
        "  page cache: not told",
        "  databases: ? of 50",
        "  disk free: not told",
        "  folder: /data",
        "  not told: page cache",
        "  skipped: /data/-x: no customer",
        "  ! loads wait: its heap is 91 % full",
    ]


def test_what_a_store_answers_never_drives_the_terminal() -> None:
    hostile = {"customer": "\x1b[2Jacme", "alias": "a", "active": "1", "database": "d\r", "previous": None}
    assert "\x1b" not in words.serves(hostile)
    assert "\r" not in words.serves(hostile)
    verdict = {"customer": "a", "timestamp": "1", "database": "\x1b]0;x\x07", "drop": True, "reason": "old"}
    assert "\x1b" not in words.cleanup({"dropped": ["x"], "verdicts": [verdict]}, dry_run=True)


def test_parameters_are_json_or_text() -> None:
    assert parameters(("n=3", "name=Ada", 'list=["a"]', "empty=", "eq=a=b", "yes=true")) == {
        "n": 3, "name": "Ada", "list": ["a"], "empty": "", "eq": "a=b", "yes": True,
    }  # fmt: skip
    with pytest.raises(BadRequest, match="=x: a parameter is written NAME=VALUE"):
        parameters(("=x",))

"""The table of the peers says what the record says, and a claim that does not hold is not told as one that does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.peers import measure, table


def row(title: str, **changed: Any) -> dict[str, Any]:
    """What is kept of one peer."""
    return {
        "title": title, "durable": True, "durability": "fsync", "settings": "as it comes", "bulk": "none",
        "packages": 3, "megabytes": 4.2, "server_megabytes": 0.0, "versions": {},
        "cold_s": 1.25, "end_to_end_per_s": 1500.0, "enqueue_per_s": 2500.0, "enqueue_singly_per_s": 9.5,
        "start_p50_s": 0.0042, "start_p99_s": 0.25, "pss_mb": 50.4, "cpu_percent": 0.26, **changed,
    }  # fmt: skip


def record(**peers: dict[str, Any]) -> dict[str, Any]:
    """A run."""
    machine = {"cpus": 2, "cpu": "one", "kernel": "6.1"}
    return {"date": "2026-11-21", "machine": machine, "jobs": 5000, "peers": peers}


def test_a_row_has_every_figure_with_its_unit() -> None:
    made = table.markdown(record(huey=row("Huey, SQLite", versions={"huey": "3.5"}, server_megabytes=54.0)))
    cells = ("Huey, SQLite 3.5", "yes", "2,500 (9.5)", "1,500", "4.2 ms / 250 ms", "50 MB, 0.3 %", "1.2 s")
    assert f"| {' | '.join(cells)} | 3, 4 MB + 54 MB server |" in made.splitlines()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            {"again_s": 4.61, "states": ["RUNNING", "SUCCESS"], "watched_s": 9.0},
            "runs again after 4.6 s; says `SUCCESS`",
        ),
        ({"again_s": None, "states": ["doing"], "watched_s": 100.2}, "does not run again within 100 s; says `doing`"),
        ({"again_s": None, "states": [], "watched_s": 100.0}, "does not run again within 100 s; says nothing"),
    ],
)
def test_what_became_of_a_killed_job_is_told_as_it_was_seen(seen: dict[str, Any], words: str) -> None:
    assert table.fate(row("x", kill=seen)) == words


def test_a_peer_that_could_not_be_measured_is_named_with_its_fault() -> None:
    made = table.markdown(record(labd=row("labd"), huey={"title": "Huey", "failed": "it did not come up"}))
    assert "Not measured: Huey: it did not come up" in made
    assert "| Huey" not in made


@pytest.mark.parametrize(("load", "is_told"), [(3.9, False), (17.2, True)])
def test_a_busy_machine_is_told(load: float, is_told: bool) -> None:
    made = record(labd=row("labd"))
    made["machine"] |= {"load_before": 0.5, "load_after": load}
    assert ("load average up to 17" in table.markdown(made)) is is_told


def test_claims_are_held_against_every_durable_peer_and_the_best_of_them() -> None:
    found = table.verdicts(
        record(
            labd=row("labd", end_to_end_per_s=4000.0, start_p50_s=0.002),
            huey=row("Huey", end_to_end_per_s=1600.0),
            slow=row("Slow", end_to_end_per_s=10.0),
            quick=row("Quick", end_to_end_per_s=9000.0, durable=False, start_p50_s=0.001),
        )
    )
    told = {name: (holds, figures) for name, holds, figures in found}
    assert told["end_to_end_per_s against Huey"] == (True, "4000 : 1600")
    assert told["cold_s against Huey"] == (False, "1.25 : 1.25")  # the same is not ahead
    assert told["three times the best durable peer end to end"] == (False, "2.50")
    assert told["the quickest start of those that are not durable"] == (False, "2.00 ms : 1.00 ms")
    assert not any("Quick" in name for name in told)
    lines = table.told(found).splitlines()
    assert "holds: end_to_end_per_s against Huey (4000 : 1600)" in lines
    assert "DOES NOT HOLD: three times the best durable peer end to end (2.50)" in lines


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    text = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    assert table.replaced(text, "new\n") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    assert table.replaced(table.replaced(text, "new\n"), "new\n") == table.replaced(text, "new\n")
    with pytest.raises(ValueError, match="has no <!-- peers -->"):
        table.replaced(f"{table.END} {table.BEGIN}", "new\n")


def test_rounds_are_summed_up_by_their_medians_and_all_starts_together() -> None:
    rounds = [
        {
            "cold_s": cold, "end_to_end_per_s": 10.0 * cold, "enqueue_per_s": 1.0, "enqueue_singly_per_s": 1.0,
            "starts_s": starts, "idle": {"pss_mb": 10.0 * cold, "cpu_percent": 0.1, "processes": 2},
        }
        for cold, starts in ((1.0, [0.1, 0.2]), (9.0, [0.3]), (2.0, [0.9]))
    ]  # fmt: skip
    found = measure.summary(rounds)
    assert (found["cold_s"], found["end_to_end_per_s"], found["pss_mb"]) == (2.0, 20.0, 20.0)
    assert (found["start_p50_s"], found["start_p99_s"], found["starts"]) == (0.2, 0.9, 4)
    assert "kill" not in found

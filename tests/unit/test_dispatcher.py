"""Who runs next: order, ageing, limits, resources, gates, and that `why` and `take` follow one rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.clock import iso
from labd.engine import dispatcher as module
from labd.engine.dispatcher import Dispatcher, Lane, rank
from labd.engine.job import Cause, Hold, Job, JobState

AGEING_S = 60.0


def make(
    job_id: int,
    priority: int = 2,
    at: float = 0.0,
    queue: str = "standard",
    resources: tuple[str, ...] = (),
    **more: object,
) -> Job:
    return Job(
        id=job_id, task="test.noop", args={}, queue=queue, priority=priority, state=JobState.QUEUED, attempt=0,
        max_attempts=1, rank=rank(priority, at, AGEING_S), run_at=at, created_at=at, submitted_by="test",
        effect="repeatable", resources=resources, **more,
    )  # type: ignore[arg-type]  # fmt: skip


def dispatcher(**lanes: int) -> Dispatcher:
    made = Dispatcher({})
    for name, concurrency in (lanes or {"standard": 100}).items():
        made.lanes[name] = Lane(name, 2, concurrency)
    return made


def offer(made: Dispatcher, *jobs: Job) -> None:
    for job in jobs:
        made.lanes[job.queue].queued += 1
        made.offer(job)


def taken(made: Dispatcher, now: float = 1.0, limit: int = 100) -> list[int]:
    return [job.id for job in made.take(now, limit)[0]]


def test_urgent_jobs_run_first_and_equals_in_order_of_arrival() -> None:
    made = dispatcher()
    offer(made, make(1, 5), make(2, 1), make(3, 5), make(4, 1))
    assert taken(made) == [2, 4, 1, 3]


def test_waiting_raises_a_job_so_that_nothing_starves() -> None:
    made = dispatcher()
    old_and_low = make(1, priority=9, at=0.0)
    offer(made, old_and_low, *[make(n, priority=1, at=8 * AGEING_S + n) for n in range(2, 6)])
    assert taken(made, now=1000.0)[0] == 1


def test_queue_limit_holds_and_release_lets_go() -> None:
    made = dispatcher(standard=2)
    jobs = [make(n) for n in (1, 2, 3)]
    offer(made, *jobs)
    assert taken(made) == [1, 2]
    assert [c.code for c in made.causes(jobs[2], 1.0, iso)] == ["queue_limit"]
    made.release(jobs[0])
    assert taken(made) == [3]


def test_a_paused_queue_holds_only_its_own_jobs() -> None:
    made = dispatcher(standard=5, other=5)
    held = make(1)
    offer(made, held, make(2, queue="other"))
    made.lanes["standard"].paused_by = "unix:anna"
    made.lanes["standard"].paused_reason = "cleaning"
    assert taken(made) == [2]
    (cause,) = made.causes(held, 1.0, iso)
    assert cause.message == "queue standard was paused by unix:anna: cleaning; `labctl queue resume standard`"


def test_a_resource_is_used_by_one_job_and_the_cause_names_it() -> None:
    made = dispatcher()
    first, second, free = make(1, resources=("resort:main",)), make(2, resources=("resort:main",)), make(3)
    offer(made, first, second, free)
    assert taken(made) == [1, 3]
    (cause,) = made.causes(second, 1.0, iso)
    assert cause.message == "resource resort:main (1) is held by job 1 (test.noop)"
    made.release(first)
    assert taken(made) == [2]


def test_a_resource_with_capacity_two_takes_two() -> None:
    made = Dispatcher({"neo4j": 2})
    made.lanes["standard"] = Lane("standard", 2, 10)
    offer(made, *[make(n, resources=("neo4j",)) for n in (1, 2, 3)])
    assert taken(made) == [1, 2]


def test_a_job_with_two_resources_takes_both_or_none() -> None:
    made = dispatcher()
    both = make(2, resources=("a", "b"))
    offer(made, make(1, resources=("b",)), both)
    assert taken(made) == [1]
    assert made.users.get("a", {}) == {}


def test_a_closed_gate_holds_and_says_why() -> None:
    made = dispatcher()
    closed: list[Cause] = [Cause("not_connected", "resort main is not connected")]
    made.add_gate("resort:main", lambda: closed[0] if closed else None)
    job = make(1, resources=("resort:main",))
    offer(made, job)
    assert taken(made) == []
    assert made.causes(job, 1.0, iso)[0].code == "not_connected"
    closed.clear()
    assert taken(made) == [1]


def test_an_expired_job_never_starts() -> None:
    made = dispatcher()
    job = make(1, expires_at=10.0)
    offer(made, job)
    started, expired = made.take(10.5, 10)
    assert (started, expired) == ([], [job])


def test_a_held_job_names_the_hold_and_the_release() -> None:
    made = dispatcher()
    job = make(7, hold=Hold("device_lost", "resort main was lost while it waited", 0.0))
    assert (
        made.causes(job, 1.0, iso)[0].message
        == "resort main was lost while it waited; `labctl job release 7` lets it go"
    )


def test_a_withdrawn_job_is_skipped() -> None:
    made = dispatcher()
    first, second = make(1), make(2)
    offer(made, first, second)
    made.withdraw(first)
    assert taken(made) == [2]


def test_the_window_is_bounded_and_what_lies_behind_is_left_to_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 10)
    made = dispatcher(standard=1000)
    offer(made, *[make(n, at=float(n)) for n in range(1, 101)])
    lane = made.lanes["standard"]
    assert lane.in_memory <= 20
    assert not lane.complete
    kept = taken(made, now=200.0, limit=1000)
    assert kept == list(range(1, len(kept) + 1))


def test_what_comes_in_while_the_window_is_filled_is_neither_lost_nor_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 10)
    made = dispatcher(standard=1000)
    jobs = {n: make(n, at=float(n)) for n in range(1, 31)}
    offer(made, *[jobs[n] for n in range(1, 26)])
    first = taken(made, now=100.0, limit=1000)
    lane = made.lanes["standard"]
    assert not lane.complete
    lane.filling = True
    behind = [jobs[n] for n in range(len(first) + 1, 26)]
    offer(made, *[jobs[n] for n in range(26, 31)])  # committed after the read began
    stale = behind[0]  # cancelled after the read began
    made.filled(lane, behind, exhausted=True, end=(behind[-1].rank, behind[-1].id), changed={stale.id})
    rest = taken(made, now=100.0, limit=1000)
    assert first + rest == [n for n in range(1, 31) if n != stale.id]


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.floats(0, 1000), st.sampled_from([(), ("a",), ("b",), ("a", "b")])), max_size=40
    ),
    st.integers(1, 5),
    st.sets(st.sampled_from(["a", "b"])),
)
def test_what_take_refuses_has_a_cause_and_what_it_takes_has_none(
    drawn: list[tuple[int, float, tuple[str, ...]]], limit: int, gated: set[str]
) -> None:
    made = dispatcher(standard=limit)
    for name in gated:
        made.add_gate(name, lambda name=name: Cause("gate", name))  # type: ignore[misc]
    jobs = [make(n + 1, p, at, resources=r) for n, (p, at, r) in enumerate(drawn)]
    offer(made, *jobs)
    started = {job.id for job in made.take(2000.0, 100)[0]}
    for job in jobs:
        if job.id not in started:
            assert made.causes(job, 2000.0, iso)[0].code not in ("starting", "turn"), job
    assert len(started) <= limit
    for name in ("a", "b"):
        assert sum(1 for job in jobs if job.id in started and name in job.resources) <= 1

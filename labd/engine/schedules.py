"""When a schedule makes a job: rules over values; nothing here waits, reads or writes.

A run is known by its scheduled instant, never by the time at which somebody looked. `settled` in the state holds the
spans of instants that are decided (fired, or left out on purpose); `due` decides what lies between them and now.

Why spans and not only `next_run_at`: the wall clock may step. After a step back the instants of a settled span do not
fire again; after a wrong step forward that is taken back (a board without a clock battery that believed in 2040 for a
minute) the instants in between are still open and fire at their time. Neither a double nor a lost run.

What due runs become, `missed` being all that lie between the last look and now:

    misfire   skip: the newest if it is at most 60 s late | latest: the newest | all: the newest `misfire_limit`
    overlap   skip: only while no job of the schedule is queued or running | queue_one: only while none is queued
              | parallel: only while fewer than `overlap_limit` are queued or running
"""

from __future__ import annotations

import math
from random import Random

import msgspec

from labd.clock import from_iso, iso
from labd.engine.cron import next_cron
from labd.engine.schedule_spec import ScheduleSpec as ScheduleSpec
from labd.engine.schedule_spec import check as check

ON_TIME_S = 60.0  # a run later than this counts as missed for misfire="skip"
MAX_COUNTED = 1000
MAX_SPANS = 4  # more gaps than this close from the old end: rather a run too few than a double


class ScheduleState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a schedule stands; kept on disk in the commit that holds the jobs it made.

    `settled` are spans (first, last) of decided instants, both ends included, ascending and apart; `last_run_at` is the
    scheduled instant of the newest run that fired; `next_run_at` is None when nothing is to come.
    """

    settled: tuple[tuple[float, float], ...]
    next_run_at: float | None = None
    last_run_at: float | None = None


class Fire(msgspec.Struct, frozen=True):
    """One run: its scheduled instant, when its job may start (jitter included), and its idempotency key."""

    at: float
    run_at: float
    key: str


class Skipped(msgspec.Struct, frozen=True):
    """Runs left out; `count` is None where there are more than 1000."""

    first_at: float
    last_at: float
    count: int | None
    reason: str


class Plan(msgspec.Struct, frozen=True):
    """What `due` decided: jobs to make, runs left out, and the state to store with them."""

    fires: tuple[Fire, ...]
    skipped: tuple[Skipped, ...]
    state: ScheduleState

    @property
    def next_run_at(self) -> float | None:
        """When to look again."""
        return self.state.next_run_at


def next_after(spec: ScheduleSpec, instant: float) -> float | None:
    """The first scheduled instant after `instant`, before jitter; None if there is none in 50 years.

    Intervals count from `anchor_at`, without one from 1970-01-01T00:00Z, so a late look never moves later runs.
    """
    if spec.interval_s is None:
        return next_cron(spec.cron or "", spec.timezone, instant)
    return _anchor(spec) + (_number(spec, spec.interval_s, instant) + 1) * spec.interval_s


def preview(spec: ScheduleSpec, count: int, now: float) -> list[float]:
    """The next `count` scheduled instants, before jitter."""
    runs: list[float] = []
    at = next_after(spec, now)
    while at is not None and len(runs) < count:
        runs.append(at)
        at = next_after(spec, at)
    return runs


def fire(spec: ScheduleSpec, at: float, seed: str = "") -> Fire:
    """The run of the instant `at`; the same seed gives the same jitter, 0 <= jitter < `jitter_s`."""
    key = f"schedule:{spec.name}:{iso(at)}"
    delay_s = Random(f"{seed}|{key}").random() * spec.jitter_s
    return Fire(at, at + delay_s, key)


def exclusive_resource(spec: ScheduleSpec) -> str | None:
    """What the jobs hold besides the task's own resources, so that with queue_one the second waits for the first."""
    return f"schedule:{spec.name}" if spec.overlap == "queue_one" else None


def start(spec: ScheduleSpec, now: float, state: ScheduleState | None = None) -> ScheduleState:
    """The state of a new, changed or resumed schedule: what lies before `now` is decided and will not run."""
    settled = _settle(state.settled if state else (), 0.0, now)
    last_run_at = state.last_run_at if state else None
    return ScheduleState(settled=settled, next_run_at=_next_open(spec, settled, now), last_run_at=last_run_at)


def needs_look(state: ScheduleState, now: float) -> bool:
    """Whether `due` must be asked now: a run is due, or the clock was later when `next_run_at` was worked out.

    Why the second: a clock that believed in 2040 put `next_run_at` there; back in the present, it would wait for 2040.
    """
    if state.next_run_at is None:
        return False
    return state.next_run_at <= now or any(now < last < state.next_run_at for _, last in state.settled)


def due(
    spec: ScheduleSpec, state: ScheduleState, now: float, running_count: int, queued_count: int, seed: str = ""
) -> Plan:
    """What to do at the instant `now`.

    Args:
        running_count: Jobs of this schedule that run, wait for something or are being cancelled.
        queued_count: Jobs of this schedule that are queued.
        seed: Of the jitter; the host's name does, so that two hosts do not start the same work in the same second.
    """
    since = max((last for first, last in state.settled if first <= now), default=0.0)
    if since >= now or spec.paused:
        next_run_at = None if spec.paused else _next_open(spec, state.settled, now)
        return Plan((), (), msgspec.structs.replace(state, next_run_at=next_run_at))
    keep = spec.misfire_limit if spec.misfire == "all" else 1
    newest = _newest(spec, since, now, keep)
    if spec.misfire == "skip" and newest and now - newest[0] > ON_TIME_S:
        newest = []
    skipped: list[Skipped] = []
    missed = _missed(spec, since, newest[0] if newest else now, f"misfire: {_policy(spec)}", closed=not newest)
    if missed is not None:
        skipped.append(missed)
    fires: list[Fire] = []
    for at in newest:
        reason = _overlap(spec, running_count, queued_count + len(fires))
        if reason:
            skipped.append(Skipped(at, at, 1, reason))
        else:
            fires.append(fire(spec, at, seed))
    first_settled = since if missed is None else newest[0] if newest else now
    settled = _settle(state.settled, first_settled, now)
    last_run_at = fires[-1].at if fires else state.last_run_at
    next_run_at = _next_open(spec, settled, now)
    after = ScheduleState(settled=settled, next_run_at=next_run_at, last_run_at=last_run_at)
    return Plan(tuple(fires), tuple(skipped), after)


def _overlap(spec: ScheduleSpec, running: int, queued: int) -> str:
    """Why another job must not be made now; empty if it may."""
    facts = f"{running} running, {queued} queued"
    if spec.overlap == "skip" and running + queued:
        return f"overlap: {facts}; policy skip takes none beside another"
    if spec.overlap == "queue_one" and queued:
        return f"overlap: {facts}; policy queue_one takes one in the queue"
    if spec.overlap == "parallel" and running + queued >= spec.overlap_limit:
        return f"overlap: {facts}; policy parallel takes {spec.overlap_limit}"
    return ""


def _policy(spec: ScheduleSpec) -> str:
    if spec.misfire == "skip":
        return f"policy skip takes the newest run up to {ON_TIME_S:g} s late"
    if spec.misfire == "latest":
        return "policy latest takes the newest run"
    return f"policy all takes the newest {spec.misfire_limit} runs"


def _newest(spec: ScheduleSpec, since: float, until: float, keep: int) -> list[float]:
    """The newest `keep` instants in (since, until], ascending; looks back in growing windows, not from `since`."""
    if spec.interval_s is not None:
        last = _number(spec, spec.interval_s, until)
        runs = [_anchor(spec) + (last - back) * spec.interval_s for back in reversed(range(keep))]
        return [at for at in runs if since < at <= until]
    window_s = 3600.0
    while True:
        begin = max(since, until - window_s)
        runs = []
        at = next_after(spec, begin)
        while at is not None and at <= until:
            runs.append(at)
            at = next_after(spec, at)
        if len(runs) >= keep or begin <= since:
            return runs[-keep:]
        window_s *= 24


def _missed(spec: ScheduleSpec, since: float, until: float, reason: str, closed: bool) -> Skipped | None:
    """The runs in (since, until), with `closed` in (since, until]; at most 1000 are counted."""
    first = last = None
    count = 0
    at = next_after(spec, since)
    while at is not None and (at < until or (closed and at == until)):
        first, last, count = (at if first is None else first), at, count + 1
        if count > MAX_COUNTED:
            return Skipped(first, until, None, reason)
        at = next_after(spec, at)
    return None if first is None or last is None else Skipped(first, last, count, reason)


def _settle(settled: tuple[tuple[float, float], ...], first: float, last: float) -> tuple[tuple[float, float], ...]:
    """The spans with (first, last) among them, touching ones joined, the oldest gaps closed beyond MAX_SPANS."""
    spans: list[tuple[float, float]] = []
    for span in sorted([*settled, (first, last)]):
        if spans and span[0] <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], span[1]))
        else:
            spans.append(span)
    while len(spans) > MAX_SPANS:
        spans[:2] = [(spans[0][0], spans[1][1])]
    return tuple(spans)


def _next_open(spec: ScheduleSpec, settled: tuple[tuple[float, float], ...], now: float) -> float | None:
    """The first instant after `now` that no span has decided."""
    at = next_after(spec, now)
    while at is not None:
        decided_until = max((last for first, last in settled if first <= at <= last), default=None)
        if decided_until is None:
            return at
        at = next_after(spec, decided_until)
    return None


def _number(spec: ScheduleSpec, interval_s: float, instant: float) -> int:
    """Number of the newest run of an interval at or before `instant`; the quotient may be rounded to either side."""
    anchor = _anchor(spec)
    number = math.floor((instant - anchor) / interval_s)
    while anchor + number * interval_s > instant:
        number -= 1
    while anchor + (number + 1) * interval_s <= instant:
        number += 1
    return number


def _anchor(spec: ScheduleSpec) -> float:
    return from_iso(spec.anchor_at) if spec.anchor_at is not None else 0.0

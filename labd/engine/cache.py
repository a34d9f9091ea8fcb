"""Recorded results of repeatable tasks, by task, code and arguments."""

from __future__ import annotations

import hashlib

import msgspec

from labd.clock import Clock
from labd.engine import rows
from labd.engine.job import Job, JobState
from labd.engine.journal import Journal
from labd.engine.registry import TaskSpec


class Hit(msgspec.Struct):
    """A recorded result that still counts."""

    job_id: int
    result: object
    made_at: float


def cache_key(spec: TaskSpec, args: dict[str, object]) -> str:
    """SHA-256 of task, code and arguments, whatever the order of the arguments."""
    sha256 = (spec.code or {}).get("sha256", "")
    return hashlib.sha256(msgspec.json.encode([spec.name, sha256, args], order="sorted")).hexdigest()


class ResultCache:
    """What earlier jobs found out.

    Only a success is kept, and only until `cache_ttl_s` is over; a later success replaces it.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def find(self, spec: TaskSpec, args: dict[str, object]) -> Hit | None:
        """The recorded result for these arguments, if one counts now."""
        found = await self._journal.read("cached", cache_key(spec, args), self._clock.wall())
        if not found:
            return None
        job_id, result, made_at = found[0]
        return Hit(job_id, None if result is None else rows.decode(result), made_at)

    def keep(self, spec: TaskSpec, job: Job) -> None:
        """Record a success, in the commit of its end."""
        if job.state is not JobState.SUCCEEDED or job.cached_from is not None:
            return
        now = self._clock.wall()
        until = None if spec.cache_ttl_s is None else now + spec.cache_ttl_s
        result = None if job.result is None else rows.encode(job.result)
        self._journal.execute("put_cached", cache_key(spec, job.args), job.id, result, now, until)

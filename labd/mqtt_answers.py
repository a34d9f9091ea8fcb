"""Answers that are owed over MQTT: on disk until the broker has them, whoever was away meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from labd import mqtt_messages as messages
from labd.clock import Clock
from labd.engine.engine import Engine
from labd.engine.job import ENDED, Job
from labd.engine.outcome import failure, outcome
from labd.errors import LabdError, UnknownJob
from labd.mqtt_connection import BrokerConnection

log = structlog.get_logger()
FACT = "mqtt.answer."
TURN_S = 3600.0
TRY_AGAIN_S = 1.0


class Owed(msgspec.Struct):
    """Where the end of a job is to be told."""

    job: int
    topic: str
    correlation: str


class OwedAnswers:
    """Follows the jobs that came in over MQTT.

    Args:
        limit_bytes: The longest answer that is sent whole.
    """

    def __init__(self, engine: Engine, connection: BrokerConnection, clock: Clock, limit_bytes: int) -> None:
        self._engine = engine
        self._connection = connection
        self._clock = clock
        self._limit_bytes = limit_bytes
        self._owed: dict[str, Owed] = {}
        self._jobs: dict[int, str] = {}
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._news: asyncio.Task[None] | None = None

    @property
    def owed(self) -> int:
        """How many ends are still to be told."""
        return len(self._owed)

    async def open(self) -> None:
        """Take up what an earlier daemon owed."""
        for name, value in await self._engine.journal.read("facts_between", FACT, FACT[:-1] + "/"):
            key = name.removeprefix(FACT)
            self._owed[key] = owed = msgspec.json.decode(value, type=Owed)
            self._jobs[owed.job] = key
            self._follow(key)
        self._news = asyncio.create_task(self._tell_news(), name="mqtt-news")

    async def close(self) -> None:
        """Stop following; what is owed stays on disk."""
        tasks = [*self._followers.values()]
        if self._news is not None:
            tasks.append(self._news)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def owe(self, key: str, job: Job, topic: str, correlation: bytes) -> None:
        """Keep where the answer goes, then say `accepted`, and the end when it comes.

        A request that comes again gets both again, and may name another topic for them.

        Raises:
            StoreFull: It cannot be kept.
        """
        owed = Owed(job.id, topic, correlation.hex())
        self._owed[key] = owed  # no await from here to the staging of the fact: `_end` takes both away together
        await self._engine.store_value(FACT + key, msgspec.to_builtins(owed))
        await self.tell(topic, messages.accepted(job.id, job.task, job.seq), correlation)
        self._jobs[job.id] = key  # only now: no news before `accepted`
        progress = (await self._engine.job(job.id)).progress
        if progress is not None:
            now = messages.news("job.progress", job.id, job.seq, msgspec.to_builtins(progress))
            await self.tell(topic, now or {}, correlation)
        self._follow(key)

    async def tell(self, topic: str, answer: dict[str, Any], correlation: bytes | None) -> bool:
        """Send one answer now; False where the broker did not get it."""
        payload = messages.encoded(answer, self._limit_bytes)
        try:
            await self._connection.publish(topic, payload, correlation=correlation)
        except ConnectionError as fault:
            log.info("mqtt.answer_unsent", topic=topic, job=answer.get("job"), reason=str(fault))
            return False
        return True

    def _follow(self, key: str) -> None:
        if key in self._owed and key not in self._followers:
            self._followers[key] = asyncio.create_task(self._end(key), name=f"mqtt-answer {key}")

    async def _end(self, key: str) -> None:
        """Tell the end of a job; the note goes from the disk only when the broker has the answer."""
        job_id = self._owed[key].job
        answer = await self._outcome(job_id)
        while True:
            await self._connection.connected.wait()
            owed = self._owed[key]
            if not await self.tell(owed.topic, answer, bytes.fromhex(owed.correlation)):
                await self._clock.sleep(TRY_AGAIN_S)
            elif self._owed[key] is owed:  # else the request came again while this was sent
                break
        del self._owed[key], self._followers[key]
        self._jobs.pop(job_id, None)
        try:
            await self._engine.store_value(FACT + key, None)
        except LabdError as fault:  # a full disk: the answer is sent once more after the next start
            log.warning("mqtt.note_stays", job=job_id, problem=fault.message)

    async def _outcome(self, job_id: int) -> dict[str, Any]:
        try:
            job = await self._engine.job(job_id)
            while job.state not in ENDED:
                job = await self._engine.wait(job_id, TURN_S)
        except UnknownJob as error:
            return failure(error, job_id)
        return outcome(job)

    async def _tell_news(self) -> None:
        """What happens before the end; nothing of it is kept for a broker that is away."""
        async for event in self._engine.events.subscribe():
            key = self._jobs.get(event.job_id or 0)
            if key is None or event.job_id is None or not self._connection.connected.is_set():
                continue
            told = messages.news(event.kind, event.job_id, event.seq, event.data)
            owed = self._owed.get(key)
            if told is not None and owed is not None:
                await self.tell(owed.topic, told, bytes.fromhex(owed.correlation))

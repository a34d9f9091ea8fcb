"""The stop of one carousel: press, confirm, keep alarming, reset.

Why `press` is one synchronous function: from the request to the torque-off bytes nothing may be awaited, so that no
lock, no queue, no disk and no other request can come between. Everything slow follows in `answer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog

from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.errors import InvalidArguments, LabdError
from labd.resort.drive.carousel import Carousel, StopReport
from labd.resort.latch import StopLatch

ANSWER_WITHIN_S = 2.5  # a person waits for the answer; the stop goes on after it
DURABLE_WITHIN_S = 1.0
SETTLING_S = 0.02

log = structlog.get_logger("resort")


class StopSwitch:
    """Stop and reset of one carousel.

    Args:
        device: Name of the carousel.
        resources: What its motions hold; a stop cancels whoever has or wants one of them.
        publish: Puts an event into the feed.
    """

    def __init__(
        self,
        device: str,
        resources: tuple[str, ...],
        carousel: Carousel,
        latch: StopLatch,
        engine: Engine,
        publish: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.device = device
        self._resources = resources
        self._carousel = carousel
        self._latch = latch
        self._engine = engine
        self._publish = publish
        self._following: Future[StopReport] | None = None
        self._confirmed = True
        self.alarmed = False
        self.confirmed_at: float | None = None  # torque and velocity read 0 then; nothing read before it counts

    @property
    def pending(self) -> bool:
        """Torque-off is not confirmed yet."""
        return self._latch.latched and not self._confirmed

    def press(self, caller: Caller, reason: str) -> list[int]:
        """Torque-off to the wire, latch in memory, jobs asked to end; returns before anything is awaited.

        A second press sends torque-off again and keeps the first latch.
        """
        future = self._carousel.stop_now()
        record = self._latch.set(caller.name, reason)
        self.follow(future)
        text = f"stopped by {record.by}" + (f": {reason}" if reason else "")
        cancelled: set[int] = set()
        for resource in self._resources:
            cancelled.update(self._engine.cancel_holding(resource, caller, text, "stop_latched"))
        details = {"device": self.device, "reason": reason, "cancelled_jobs": sorted(cancelled)}
        self._engine.audit(caller, "resort.stop", f"resort:{self.device}", details)
        self._publish("device.stop_latched", {"by": record.by, "reason": reason, "cancelled_jobs": sorted(cancelled)})
        return sorted(cancelled)

    async def answer(self, cancelled_jobs: list[int]) -> dict[str, Any]:
        """What became of the stop within the time a person waits."""
        if self._carousel.state == "closed":  # never opened, or released: the torque-off needs a port
            await self._carousel.open()
        report, durable = await asyncio.gather(self._report(), self._latch.wait_durable(DURABLE_WITHIN_S))
        if not report.confirmed:
            self._alarm(report)
        notes = [self._latch.note] if self._latch.note else []
        if not report.confirmed:
            notes.append(
                f"NOT CONFIRMED after {report.attempts} tries ({report.problem or 'no answer'}); labd goes on sending "
                "torque-off; stand clear, and cut the power if the carousel turns"
            )
        return {
            "device": self.device,
            "stopped": report.confirmed,
            "confirmed": report.confirmed,
            "latched": True,
            "latched_durably": durable,
            "note": "; ".join(notes),
            "attempts": report.attempts,
            "wire_ms": report.wire_ms,
            "cancelled_jobs": cancelled_jobs,
        }

    async def _report(self) -> StopReport:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await self._carousel.confirm_stop()
        except TimeoutError:
            return StopReport(False, 0, None, f"no report from the bus within {ANSWER_WITHIN_S:g} s")
        except LabdError as fault:
            return StopReport(False, 0, None, fault.message)

    def _alarm(self, report: StopReport) -> None:
        facts = {"attempts": report.attempts, "problem": report.problem}
        log.error("device.stop_unconfirmed", device=self.device, **facts)
        if not self.alarmed:  # the driver tells it too, once it has tried for a while
            self.alarmed = True
            self._publish("device.stop_unconfirmed", facts)

    def follow(self, future: Future[StopReport]) -> None:
        """Note when the stop is confirmed, which may be long after the answer."""
        self._confirmed = self.alarmed = False
        self.confirmed_at = None
        self._following = future
        loop = asyncio.get_running_loop()

        def tell(done: Future[StopReport]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._take_report, done)

        future.add_done_callback(tell)

    def _take_report(self, future: Future[StopReport]) -> None:
        if future is not self._following or future.cancelled() or future.exception() is not None:
            return
        report = future.result()
        self._confirmed = report.confirmed
        if report.confirmed:
            self.confirmed_at = self._latch.now()
            self._publish("device.stop_confirmed", {"attempts": report.attempts, "wire_ms": report.wire_ms})
        self._engine.wake()

    async def reset(self, by: str, reason: str, caller: Caller) -> None:
        """Remove the latch everywhere, then from memory, then let the driver send goals again.

        Raises:
            InvalidArguments: Without a name or a reason.
            Unavailable: It could not be removed everywhere; it stays.
        """
        if not by.strip() or not reason.strip():
            raise InvalidArguments(
                f"resort {self.device}: a reset needs the name of a person and a reason: "
                "`labctl resort reset --by NAME --reason TEXT`"
            )
        before = self._latch.record
        details: dict[str, Any] = {"device": self.device, "by": by, "reason": reason}
        if before is not None:
            details["stopped"] = before.to_wire()
        self._engine.audit(caller, "resort.reset", f"resort:{self.device}", details)
        try:
            await self._latch.reset()
        except LabdError as fault:
            failed = {**details, "problem": fault.message}
            self._engine.audit(caller, "resort.reset_failed", f"resort:{self.device}", failed)
            raise
        self._carousel.release_stop()
        self._confirmed = True
        self._following = self.confirmed_at = None
        self._publish("device.stop_reset", {"by": by, "reason": reason})

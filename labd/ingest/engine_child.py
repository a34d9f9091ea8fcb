"""One child process that reads files and writes tables: started when asked, one call at a time, ended when idle.

Why a call that is cancelled or too late kills the child: nobody can tell how far a commit in it has come, and a child
that goes on could commit after the next one has looked. The next call finds out what is in the table by its token.
Why one that lost its cluster is killed as well: a Spark client keeps sessions, channels and retries of the lost one in
the whole process, and stumbles over them when it should begin anew.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

import msgspec
import structlog

from labd.clock import Clock
from labd.engine.registry import JobContext
from labd.engine.worker_output import JobOutput
from labd.engine.worker_process import WorkerGone
from labd.engine.worker_start import Worker
from labd.errors import (
    ClusterUnreachable,
    EnvironmentOff,
    LabdError,
    QualityRefused,
    SourceRefused,
    SourceUnreachable,
    TableConflict,
    TableRefused,
    TaskFailed,
)

MODULE = "labd.ingest.remote"
TASK = "ingest"
REFUSALS: dict[str, type[LabdError]] = {
    kind.code: kind
    for kind in (SourceRefused, SourceUnreachable, TableRefused, QualityRefused, TableConflict, ClusterUnreachable)
}
LISTENER: ContextVar[JobContext | None] = ContextVar("ingest_listener", default=None)
"""The job that hears what the child prints and how far it is; nobody outside of one."""
MISSING = re.compile(r"No module named '([\w.]+)'")
KEPT_SECRET = 4  # characters; shorter ones stand in too many innocent words
_encode = msgspec.json.Encoder().encode
log = structlog.get_logger("ingest")


class EngineChild:
    """One child of one memory class.

    Args:
        name: For messages, such as `arrow`.
        start: Starts a worker that has loaded `MODULE`; raises `EnvironmentOff`.
        idle_s: It is ended when nobody has asked for so long.
        environment: Which one it runs in, for messages.
    """

    def __init__(
        self, name: str, start: Callable[[], Awaitable[Worker]], clock: Clock, idle_s: float,
        environment: str = "default",
    ) -> None:  # fmt: skip
        self._name = f"ingest engine {name}"
        self._start = start
        self._clock = clock
        self._idle_s = idle_s
        self._environment = environment
        self._worker: Worker | None = None
        self._asking = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._idle: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._worker is None or not self._worker.process.is_alive else self._worker.process.pid

    async def ask(self, verb: str, args: dict[str, Any], limit_s: float, secrets: Iterable[str] = ()) -> Any:
        """One call.

        Args:
            secrets: Values that must stand in no log and no message.

        Raises:
            LabdError: The child's refusal, as its code says.
            ClusterUnreachable: The child was lost, or did not answer within `limit_s`.
        """
        async with self._asking:
            self._stay()
            try:
                return await self._ask(verb, args, limit_s, hider(secrets))
            finally:
                self._leave()

    async def _ask(self, verb: str, args: dict[str, Any], limit_s: float, hide: Callable[[str], str]) -> Any:
        worker = await self._session()
        number, listener = next(self._numbers), LISTENER.get()
        output = JobOutput(lambda level, text: _tell(listener, level, hide(text)))

        def progress(done: float, total: float | None, text: str) -> None:
            if listener is not None:
                listener.progress(done, total, hide(text))

        grace_s = worker.outfit.settings.grace_s
        request = {
            "type": "run", "run": number, "job": 0 if listener is None else listener.job.id, "attempt": 1,
            "task": TASK, "args": {"verb": verb, "args": args}, "steps": [], "grace_s": grace_s,
        }  # fmt: skip
        call = asyncio.ensure_future(
            worker.process.run(number, _encode(request) + b"\n", output, progress, grace_s)
        )  # fmt: skip
        try:
            async with asyncio.timeout(limit_s):
                told = await asyncio.shield(call)
        except WorkerGone as gone:
            self._worker = None
            last = f"; its last lines: {hide(' | '.join(output.last_lines()))}" if output.last_lines() else ""
            text = f"{self._name}: its process {gone} during {verb}{last}; what it committed is looked up by its token"
            raise ClusterUnreachable(text, verb=verb) from gone
        except TimeoutError:
            await self._kill(worker, call)
            text = f"{self._name}: no answer to {verb} within {limit_s:g} s, its process was ended"
            raise ClusterUnreachable(text, verb=verb, limit_s=limit_s) from None
        except asyncio.CancelledError:
            await self._kill(worker, call)
            raise
        if told.type != "done":
            text = hide(str((told.error or {}).get("message", told.type)))
            missing = MISSING.search(text)
            if missing is not None:
                hint = "install it there, such as by `pip install 'labd[ingest]'`, or name another environment"
                what = f"{missing[1]} is not installed in environment {self._environment}"
                raise EnvironmentOff(f"{self._name}: {what}; {hint}", package=missing[1])
            raise TaskFailed(f"{self._name}: {verb}: {text}", verb=verb)
        try:
            return _answer(told.result, hide)
        except ClusterUnreachable:
            await self._kill(worker, call)
            raise

    async def _session(self) -> Worker:
        """The worker; started where there is none."""
        worker = self._worker
        if worker is not None and worker.process.is_alive:
            return worker
        if self._closed:
            raise ClusterUnreachable(f"{self._name}: labd is ending")
        self._worker = None
        try:
            worker = await self._start()
        except EnvironmentOff as fault:
            if not fault.details.get("by_signal"):
                raise
            text = f"{self._name}: its process was killed before it was ready: {fault.message}"
            raise ClusterUnreachable(text) from fault  # by a lack of memory, such as; the next try starts another
        faults = worker.loaded.faults or []
        if faults:
            await worker.process.end_now()
            raise EnvironmentOff(f"{self._name}: {MODULE} cannot be used there: {faults[0].message}")
        self._worker = worker
        log.debug("ingest.child_started", engine=self._name, pid=worker.process.pid)
        return worker

    async def _kill(self, worker: Worker, call: asyncio.Future[Any]) -> None:
        """End the process; returns when it has ended, whoever is cancelled meanwhile."""
        if self._worker is worker:
            self._worker = None
        ending = asyncio.gather(worker.process.end_now(), call, return_exceptions=True)
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise

    def _stay(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()

    def _leave(self) -> None:
        if self._worker is not None and not self._closed:
            self._idle = asyncio.get_running_loop().create_task(self._end_idle(self._worker), name=self._name)

    async def _end_idle(self, worker: Worker) -> None:
        await self._clock.sleep(self._idle_s)
        if self._worker is worker:
            self._worker, self._idle = None, None  # who asks from here on starts another one
            await worker.process.close(worker.outfit.settings.grace_s)

    async def close(self) -> None:
        """End the process; a second call does nothing."""
        self._closed = True
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.cancel()
            await asyncio.gather(idle, return_exceptions=True)
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.process.end_now()


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces secrets, as they are and URL-quoted, by `***`."""
    spelled = {
        form for one in secrets for form in (one, urllib.parse.quote(one, safe=""), urllib.parse.quote_plus(one))
    }
    values = sorted((one for one in spelled if len(one) >= KEPT_SECRET), key=len, reverse=True)

    def hide(text: str) -> str:
        for value in values:
            text = text.replace(value, "***")
        return text

    return hide


def _tell(listener: JobContext | None, level: str, text: str) -> None:
    if listener is not None:
        listener.log(text, level)
    else:
        log.debug("ingest.child_said", text=text)


def _answer(told: Any, hide: Callable[[str], str]) -> Any:
    if not isinstance(told, dict) or ("answer" not in told and "refusal" not in told):
        raise TaskFailed(f"ingest engine: its process answered with {hide(str(told))[:200]!r}")
    if "refusal" not in told:
        return told["answer"]
    kind = REFUSALS.get(str(told["refusal"]), TableRefused)
    details = msgspec.json.decode(hide(_encode(told.get("details") or {}).decode()))
    raise kind(hide(str(told.get("text"))), **{key: value for key, value in details.items() if key != "message"})

"""One run of one task: the body with its steps, its log, and how it ended.

A cancel reaches a sync body as a signal to the main thread, where bodies run, whose handler raises `labd.Cancelled`.
Why a signal and not an exception set on the thread: that one waits until a blocking call returns by itself, a signal
ends `time.sleep`, `recv` and `wait` at once. An async body is cancelled through its loop, as any asyncio task.
"""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import labd
from labd.worker import failures
from labd.worker.channel import Channel, LineTooLong
from labd.worker.encoding import NotJson, explain
from labd.worker.loading import LoadedTask
from labd.worker.parameters import ParameterFault
from labd.worker.replay import Replay, StepMismatch
from labd.worker.stock import Listen, Stock

if TYPE_CHECKING:
    import asyncio  # 30 ms and several MiB, for the bodies that need it only

CANCEL_SIGNAL = signal.SIGURG  # ignored unless handled, so a child program that gets it by mistake does not notice
LEVELS = ("debug", "info", "warning", "error")
TEXT_LIMIT = 64 * 1024
PROGRESS_EVERY_S = 0.1
MAIN_THREAD = threading.main_thread().ident
_NOTHING = object()
_making = threading.Lock()


class Run:
    """What `labd.call`, `ask`, `consume`, `log` and `progress` speak to while a body runs.

    Args:
        listen: As of `Stock`.
    """

    def __init__(
        self, message: Mapping[str, Any], channel: Channel, listen: Optional[Listen] = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.number: int = message["run"]
        self.job_id: int = message["job"]
        self.task_name: str = message["task"]
        self.cancel_asked = False
        self._args: Dict[str, Any] = message.get("args") or {}
        self._replay = Replay(message.get("steps") or ())
        self._listen = listen
        self._own_stock: Optional[Stock] = None
        self._is_over = False
        self._has_printed = False
        self._channel = channel
        self._monotonic = monotonic
        self._physical = False
        self._armed = False  # a signal may raise Cancelled in the body
        self._shields = 0  # the main thread is inside of labd's own code, where an exception would tear a line
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._task: Optional[asyncio.Task[Any]] = None
        self._cancellations: Tuple[type, ...] = (labd.Cancelled, labd._Suspend)  # what may end a run that is cancelled
        self._progress: Optional[Dict[str, Any]] = None
        self._progress_at = float("-inf")

    def call(self, calls: Sequence[Tuple[str, Dict[str, Any]]]) -> List[Any]:
        """Child jobs; unwinds the body where their results are not recorded yet."""
        self._refuse_physical("call")
        with self._shield():
            return self._replay.call(calls)

    def ask(self, question: Dict[str, Any]) -> Any:
        """A question; unwinds the body where its answer is not recorded yet."""
        self._refuse_physical("ask")
        with self._shield():
            return self._replay.ask(question)

    def consume(self, volumes_ul: Dict[str, float]) -> None:
        """A debit; taken back where the job is cancelled in here, for then nothing moves."""
        is_debited = False
        try:
            with self._shield():
                self._stock.debit(volumes_ul)
                is_debited = True
        except labd.Cancelled:
            if is_debited:
                self._stock.debit({name: -volume for name, volume in volumes_ul.items()})
            raise

    @property
    def _stock(self) -> Stock:
        """Made when a body takes from stock, which few do."""
        with _making:
            if self._own_stock is None:
                self._own_stock = Stock(self.number, self._channel, self._listen)
                if self._is_over:
                    self._own_stock.close()
            return self._own_stock

    def consumed(self, answer: Mapping[str, Any]) -> None:
        """The daemon has put a debit on disk, or refused it."""
        if self._own_stock is not None:  # not by `_stock`: this may interrupt whoever is making it
            self._own_stock.take(answer)

    def log(self, text: str, level: str = "info") -> None:
        """One line of the job's log, cut where it is too long."""
        if level not in LEVELS:
            level = "error" if level == "critical" else "info"
        text = str(text)
        if len(text) > TEXT_LIMIT:
            text = f"{text[:TEXT_LIMIT]} [cut: {len(text)} characters, {TEXT_LIMIT} are kept]"
        with self._shield():
            self._channel.send({"type": "log", "run": self.number, "level": level, "text": failures.unicode_of(text)})

    def progress(self, done: float, total: Optional[float] = None, text: str = "") -> None:
        """How far; at most ten a second go out, the last one always."""
        number = None if total is None else float(total)
        self._progress = {"done": float(done), "total": number, "text": failures.unicode_of(str(text)[:1000])}
        if self._monotonic() - self._progress_at >= PROGRESS_EVERY_S:
            self._send_progress()

    def execute(self, task: LoadedTask) -> Dict[str, Any]:
        """Run the body and say how it ended: `done`, `failed`, `cancelled` or `suspend`, without its run number."""
        self._physical = task.physical
        value: Any = _NOTHING
        try:
            args, kwargs = task.parameters.take(self._args)
            try:
                self._armed = not task.is_async
                self._interrupt()  # a cancel that came before
                made = task.function(*args, **kwargs)
                if inspect.iscoroutine(made):
                    self._armed = False
                    made = self._run_loop(made)
                value = made
            finally:
                self._armed = False
                self._is_over = True
                if self._own_stock is not None:
                    self._own_stock.close()
            if self._replay.suspension is None and self._replay.mismatch is None:
                self._replay.check_all_taken()
        except ParameterFault as fault:
            return failures.failed("invalid_arguments", f"{self._subject}: {fault}")
        except BaseException as fault:  # noqa: BLE001 whatever a body raises ends its own run
            if value is _NOTHING or not isinstance(fault, labd.Cancelled):
                return self._ended_by(fault)
        return self._returned(value)

    def finish(self, outcome: Dict[str, Any], has_printed: bool = False) -> None:
        """Tell the daemon, with the last progress before it.

        Args:
            has_printed: The daemon has to read what was printed before it hands this end on.
        """
        self._has_printed = has_printed
        self._send_progress()
        try:
            self._send_end(outcome)
        except NotJson as fault:
            where = explain(outcome.get("result"), "result") or f"result: {fault}"
            self._send_failure("result_invalid", f"returned what cannot be kept: {where}")
        except LineTooLong as fault:
            self._send_failure("result_too_large", f"returned {fault}; write it to a file and return its path")

    def cancel(self) -> None:
        """Ask the body to end; called from the reader's thread."""
        self.cancel_asked = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: the body has ended
                loop.call_soon_threadsafe(self._cancel_task)
        elif MAIN_THREAD is not None:
            signal.pthread_kill(MAIN_THREAD, CANCEL_SIGNAL)

    @property
    def is_unheard(self) -> bool:
        """A cancel was asked for and has not been raised in the body yet, though it could be."""
        return self.cancel_asked and self._armed

    def interrupted(self) -> None:
        """The signal has come, in the main thread; a stale one, of a run before this, finds nothing asked."""
        self._interrupt()

    @property
    def _subject(self) -> str:
        return f"{self.task_name} (job {self.job_id})"

    def _run_loop(self, coroutine: Any) -> Any:
        import asyncio

        self._cancellations = (*self._cancellations, asyncio.CancelledError)
        return asyncio.run(self._body(coroutine))

    async def _body(self, coroutine: Any) -> Any:
        import asyncio

        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self.cancel_asked:
            coroutine.close()
            raise asyncio.CancelledError
        try:
            return await coroutine
        finally:
            self._loop = None

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _interrupt(self) -> None:
        if self.cancel_asked and self._armed and not self._shields:
            self._armed = False  # once: what the body does in `finally` is left in peace
            raise labd.Cancelled("the job was cancelled")

    @contextlib.contextmanager
    def _shield(self) -> Iterator[None]:
        """Hold a signal back while a line is being written; only the main thread gets signals."""
        if threading.get_ident() != MAIN_THREAD:
            yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self._interrupt()

    def _send_failure(self, code: str, message: str) -> None:
        self._send_end(failures.failed(code, f"{self._subject} {message}"))

    def _send_end(self, outcome: Mapping[str, Any]) -> None:
        told = {**outcome, "run": self.number}
        if self._has_printed:
            told["printed"] = True
        self._channel.send(told)

    def _send_progress(self) -> None:
        waiting, self._progress = self._progress, None
        if waiting is None:
            return  # another thread of the body was faster
        self._progress_at = self._monotonic()
        with self._shield():
            self._channel.send({"type": "progress", "run": self.number, **waiting})

    def _refuse_physical(self, what: str) -> None:
        if self._physical:
            raise RuntimeError(
                f"{what}() inside of {self.task_name}, a physical task: its body would run again from its top;"
                f" make a repeatable task that uses {what}() and has this one as a child"
            )

    def _returned(self, value: Any) -> Dict[str, Any]:
        if self._replay.mismatch is not None:
            return failures.failed("step_mismatch", f"{self._subject}: {self._replay.mismatch}")
        if self._replay.suspension is not None:
            return self._swallowed("returned")
        return {"type": "done", "result": value}

    def _ended_by(self, fault: BaseException) -> Dict[str, Any]:
        if self.cancel_asked and failures.is_only(fault, self._cancellations):
            return {"type": "cancelled"}
        if isinstance(fault, StepMismatch) or self._replay.mismatch is not None:
            return failures.failed("step_mismatch", f"{self._subject}: {self._replay.mismatch}")
        if self._replay.suspension is not None:
            if failures.is_only(fault, (labd._Suspend,)):
                return {"type": "suspend", **self._replay.suspension}
            return self._swallowed(f"raised {failures.said(fault)}")
        return failures.raised(self._subject, fault)

    def _swallowed(self, ending: str) -> Dict[str, Any]:
        return failures.failed(
            "suspension_swallowed",
            f"{self._subject} {ending} while it waited for a call() or ask(): a bare `except:`,"
            " `except BaseException:` or `finally: return` around it caught the wait; catch Exception there",
        )

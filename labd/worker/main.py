"""The worker process: reads what the daemon wants, runs one task after the other, and dies with the daemon.

Bodies run in the main thread, where libraries that use signals or an event loop expect to be. How a cancel is heard
while one runs: where the daemon started this process itself, the line is followed by `CANCEL_SIGNAL`, and the handler
reads it. Elsewhere (over ssh, or where nobody can send signals) a thread reads, and sends the signal.
"""

from __future__ import annotations

import atexit
import os
import queue
import signal
import sys
import threading
import time
from typing import Any, Dict, NoReturn, Optional, Set

import labd
from labd.worker import failures, output
from labd.worker.ahead import Ahead
from labd.worker.channel import Channel, ChannelFault
from labd.worker.loading import Loader
from labd.worker.running import CANCEL_SIGNAL, Run
from labd.worker.stock import LOOK_AGAIN_S

PROTOCOL = 1
EXIT_BROKEN_LINE = 70  # EX_SOFTWARE
PR_SET_PDEATHSIG = 1
INSIST_S = 0.05
INSIST_TIMES = 200


class Worker:
    """One worker.

    Args:
        is_signalled: The daemon sends `CANCEL_SIGNAL` behind each cancel, so no thread is needed to hear of it.
        ahead: The daemon may send runs before the last one has ended.
    """

    def __init__(self, channel: Channel, is_signalled: bool, ahead: Optional[Ahead] = None) -> None:
        self._channel = channel
        self._ahead = ahead
        self._inbox = channel.inbox() if is_signalled else None
        self._queue: queue.SimpleQueue[Dict[str, Any]] = queue.SimpleQueue()  # from the reader's thread
        self._listening = False  # a signal may mean that a cancel was sent
        self._was_signalled = False
        self._handling = False  # a signal's handler runs; one within it does nothing
        self._loader = Loader()
        self._pid = os.getpid()
        self._lock = threading.RLock()  # of the two below; a signal may come to the thread that holds it
        self._run: Optional[Run] = None
        self._cancelled_early: Set[int] = set()

    def serve(self) -> None:
        """Until the daemon says exit; when its end of the channel closes the process ends at once."""
        signal.signal(CANCEL_SIGNAL, self._on_cancel_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is for the daemon, which drains
        version = "{}.{}.{}".format(*sys.version_info[:3])
        self._channel.send({"type": "ready", "python": version, "pid": self._pid, "protocol": PROTOCOL})
        if self._inbox is None:
            threading.Thread(target=self._read, name="labd-reader", daemon=True).start()
        while True:
            message = self._next()
            kind = message.get("type")
            if kind == "run":
                if self._ahead is None or self._ahead.may_begin(message):
                    self._execute(message)
            elif kind == "cancel":
                self._cancel(message.get("run"))
            elif kind == "load":
                self._channel.send(self._loader.load(message.get("files") or (), message.get("modules") or ()))
                output.flush()
            elif kind == "exit":
                return

    def _next(self) -> Dict[str, Any]:
        if self._inbox is None:
            return self._queue.get()
        try:
            message = self._inbox.wait()
        except ChannelFault as fault:
            _give_up(fault)
        if message is None:
            os._exit(0)
        return message

    def _execute(self, message: Dict[str, Any]) -> None:
        run = Run(message, self._channel, None if self._inbox is None else self._look)
        with self._lock:
            if self._cancelled_early:
                run.cancel_asked = run.number in self._cancelled_early
                self._cancelled_early = {number for number in self._cancelled_early if number > run.number}
            self._run = run
        self._listening = self._inbox is not None
        if self._was_signalled:  # before that meant anything: a cancel may have come
            self._was_signalled = False
            self._look()
        task = self._loader.tasks.get(run.task_name)
        if task is None:
            there = ", ".join(sorted(self._loader.tasks)) or "none"
            outcome = failures.failed("unknown_task", f"this worker has no task {run.task_name} (it has: {there})")
        else:
            if "logging" in sys.modules:
                from labd.worker import run_log

                run_log.take_root()
            labd._run = run
            try:
                outcome = run.execute(task)
            finally:
                labd._run = None
        if os.getpid() != self._pid:
            output.flush()
            os._exit(0)  # a body forked and let its copy return: that one is not this worker
        self._listening = False
        with self._lock:
            self._run = None
        output.flush()
        run.finish(outcome, self._ahead is not None and self._ahead.has_printed())

    def _read(self) -> None:
        try:
            for message in self._channel.messages():
                if message.get("type") == "cancel":
                    self._cancel(message.get("run"))
                    threading.Thread(target=self._insist, args=(self._run,), name="labd-cancel", daemon=True).start()
                elif message.get("type") == "consumed":
                    self._consumed(message)
                else:
                    self._queue.put(message)
        except ChannelFault as fault:
            _give_up(fault)
        os._exit(0 if self._run is None else 1)

    def _insist(self, run: Optional[Run]) -> None:
        """Signal again until the body has heard of its cancel.

        Race: a signal that comes after the body's last look for signals and before its blocking call has begun is seen
        only when that call returns. The next one interrupts it.
        """
        for _ in range(INSIST_TIMES):
            time.sleep(INSIST_S)
            if run is None or run is not self._run or not run.is_unheard:
                return
            signal.pthread_kill(threading.main_thread().ident or 0, CANCEL_SIGNAL)

    def _look(self, until: Optional[threading.Event] = None) -> None:
        """Hear the daemon while a body runs: in the main thread, perhaps in the middle of anything, or in a body's own.

        A signal may come while another look is under way: that one hears what the signal announces, or the signal is
        sent again.

        Args:
            until: Wait a moment for something to come, unless this is set.
        """
        if self._inbox is None or not self._listening:
            return
        try:
            found = self._inbox.look(until, 0.0 if until is None else LOOK_AGAIN_S) or []
        except ChannelFault as fault:
            _give_up(fault)
        except EOFError:
            os._exit(1)  # the daemon is gone, and with it everybody who could want the result
        for message in found:
            if message["type"] == "consumed":
                self._consumed(message)
            else:
                self._cancel(message.get("run"))

    def _consumed(self, message: Dict[str, Any]) -> None:
        run = self._run
        if run is not None and run.number == message.get("run"):
            run.consumed(message)

    def _cancel(self, number: Any) -> None:
        with self._lock:
            if self._run is None or self._run.number != number:
                self._cancelled_early.add(number)
                return
            self._run.cancel()

    def _on_cancel_signal(self, _number: int, _frame: Any) -> None:
        self._was_signalled = True
        if self._handling:
            return
        self._handling = True
        try:
            self._look()
        finally:
            self._handling = False
        run = self._run
        if run is not None:
            run.interrupted()


def _give_up(fault: ChannelFault) -> NoReturn:
    output.last_words(f"the daemon sent {fault}")
    os._exit(EXIT_BROKEN_LINE)


def main(
    read_fd: int, write_fd: Optional[int] = None, is_signalled: bool = False, tickets: Optional[int] = None
) -> None:  # fmt: skip
    """Run a worker on a socket, or on two pipes; does not return.

    Args:
        read_fd: Where the daemon's lines come from; 0 for a worker over ssh.
        write_fd: Where the answers go; None means the same descriptor.
        is_signalled: The daemon sends `CANCEL_SIGNAL` to this process behind each cancel.
        tickets: Descriptor of the counter that says which runs sent ahead may begin; None: none is sent ahead.
    """
    _die_with_parent()
    output.set_up()
    channel = Channel(*output.keep_for_protocol(read_fd, read_fd if write_fd is None else write_fd))
    Worker(channel, is_signalled, None if tickets is None else Ahead(tickets)).serve()
    output.flush()
    atexit._run_exitfuncs()
    output.flush()
    os._exit(0)  # threads that a body left behind are not waited for


def _die_with_parent() -> None:
    """SIGKILL when the thread that started this process ends (Linux); elsewhere the closed channel does it.

    The parent may be gone before the call: then the process has a new parent already.
    """
    parent = os.getppid()
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        return
    if os.getppid() != parent:
        os._exit(1)

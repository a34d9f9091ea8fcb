"""One worker: a child process that runs tasks, one at a time, and tells what became of them.

Parent and child speak JSON lines over a socket pair; stdout and stderr are pipes. All is read by the event loop without
a thread: a run costs one write, one read and two looks at empty pipes, and less where runs are sent ahead of their turn
(`worker_ahead`). Why the pipes are left unread as long as there are such runs: what lies in them is of the run that the
child is at, and which one that is, only its answers tell. Where one has printed, the child begins none of them.

Why the child is started from the thread of the event loop: Linux sends the signal "your parent died" when the starting
thread ends, and a pool thread may end long before the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from labd.engine.worker_ahead import NotBegun, Sent, Tickets, Told
from labd.engine.worker_debits import Consume, Debits
from labd.engine.worker_messages import Message, decode
from labd.engine.worker_output import JobOutput

log = structlog.get_logger()
MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
UNREAD_LIMIT_BYTES = 1024 * 1024
# What a child may say that ends a wait; with any other word it has lost its way, and its next answer is worth nothing.
ANSWERS = frozenset({"ready", "tasks", "done", "failed", "suspend", "cancelled"})
READ_BYTES = 256 * 1024
LAST_READS = 64
DEATH_S = 10.0
BOOT = (
    "import resource as r, sys; {limits}lend = {lend!r}; early = {{}}; "
    "exec(open(lend + '/labd/worker/whole_cache.py').read(), early); early['install'](lend); "
    "sys.path.insert(0, lend); from labd.worker.main import main; main({number}, is_signalled=True, tickets={tickets})"
)
CANCEL_SIGNAL = signal.SIGURG  # as in `labd.worker.running`; ignored by whoever does not expect it
INSIST_S = 0.05
QUIET_S = 1.0
_encode = msgspec.json.Encoder().encode
_no_output = JobOutput(lambda level, text: None)


class WorkerGone(Exception):
    """The child ended, or was ended because it broke the protocol; the text says how.

    Args:
        code: Its return code, negative for a signal; None where labd ended it or it is out of reach.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.by_signal = code is not None and code < 0


class WorkerProcess:
    """A child process and its channel.

    `jobs` counts the runs that it was given and has kept, `answered` those it has ended.

    Args:
        python: The interpreter and its options.
        lend: The folder that holds `labd/__init__.py` and `labd/worker`.
        variables: The child's whole environment.
        memory_bytes: Limit of its data; 0: none.
        on_end: Called once when the process has ended.
    """

    def __init__(
        self, python: list[str], lend: Path, variables: Mapping[str, str], folder: Path, memory_bytes: int,
        on_end: Callable[[WorkerProcess], None],
    ) -> None:  # fmt: skip
        self.python_version = ""
        self.ending: str | None = None
        self._end_code: int | None = None
        self.jobs = 0
        self.answered = 0
        self._on_end = on_end
        self._buffer = bytearray()
        self._broken = False
        self._outgoing = b""
        self._cancel_signalled = True
        self._sent: dict[int, Sent] = {}  # in the order in which the child begins them
        self._unsent: list[Sent] = []  # the last of those, which go out together
        self._tickets: Tickets | None = None
        self._taken_back_up_to = 0  # the last run that was sent when some were taken back; 0: the child is past it
        self._printed_at = float("-inf")
        self._reads_pipes = True
        self._cancelling: Sent | None = None
        self._asked: asyncio.Future[Message] | None = None
        self._late: Message | None = None
        self._output = _no_output
        self._debits = Debits(self._send)
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._spawn(python, lend, variables, folder, memory_bytes)

    def _spawn(
        self, python: list[str], lend: Path, variables: Mapping[str, str], folder: Path, memory_bytes: int
    ) -> None:
        self._socket, theirs = socket.socketpair()
        limits = f"r.setrlimit(r.RLIMIT_DATA, ({memory_bytes}, {memory_bytes})); " if memory_bytes else ""
        tickets = self._tickets = Tickets()
        boot = BOOT.format(limits=limits, lend=str(lend), number=theirs.fileno(), tickets=tickets.fd)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*python, "-X", "utf8", "-c", boot], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, pass_fds=(theirs.fileno(), tickets.fd), start_new_session=True,
                    env=dict(variables), cwd=folder,
                )  # fmt: skip
            except OSError:
                tickets.close()
                self._socket.close()
                raise
        self._attach()

    def _attach(self) -> None:
        """Let the loop read what the started process says, and hear of its end."""
        self.pid = self._process.pid
        streams = ((self._process.stdout, "stdout"), (self._process.stderr, "stderr"))
        self._pipes = {stream.fileno(): name for stream, name in streams if stream is not None}
        self._death = os.pidfd_open(self.pid)
        self._socket.setblocking(False)
        self._loop.add_reader(self._socket, self._read_socket)
        self._loop.add_reader(self._death, self._died)
        for number in self._pipes:
            os.set_blocking(number, False)
            self._loop.add_reader(number, self._read_pipe, number)

    @property
    def where(self) -> str:
        """Which process it is, for messages."""
        return f"pid {self.pid}"

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self.ending is None

    @property
    def is_usable(self) -> bool:
        """Whether it may get another run: it lives, and has kept to the protocol."""
        return self.ending is None and not self._broken

    async def ask(self, request: dict[str, Any] | None, limit_s: float, output: JobOutput) -> Message:
        """Send a message that is no run and wait for the next answer; with None it waits for `ready`.

        Raises:
            WorkerGone: It ended instead.
            TimeoutError: No answer within `limit_s`.
        """
        if self.ending is not None:
            raise WorkerGone(self.ending, self._end_code)
        if request is None and self._late is not None:
            return self._late  # it was ready before anybody asked
        self._output = output
        self._asked = self._loop.create_future()
        if request is not None:
            self._send(_encode(request) + b"\n")
        try:
            async with asyncio.timeout(limit_s):
                return await self._asked
        finally:
            self._asked = None
            output.finish()
            self._output = _no_output

    @property
    def job(self) -> int | None:
        """The job that it runs, for people who look."""
        return next((sent.job for sent in self._sent.values()), None)

    @property
    def is_busy(self) -> bool:
        """Whether it has been given a run that is not over; the next one is sent ahead of its turn."""
        return bool(self._sent)

    @property
    def takes_ahead(self) -> bool:
        """Whether it may be given a run before its last one has ended.

        Not while it may still come upon runs that were taken back, and not where the last ones have printed: it would
        begin none of them by itself.
        """
        if self._tickets is None or self._taken_back_up_to or self._outgoing or not self.is_usable:
            return False
        return self._loop.time() - self._printed_at > QUIET_S

    async def run(
        self, run: int, request: bytes, output: JobOutput, progress: Told, grace_s: float,
        consume: Consume | None = None, job: int | None = None, *, are_more_coming: bool = False,
    ) -> Message:  # fmt: skip
        """One run: returns its end as the child told it.

        Args:
            run: Its number, above those of all earlier runs.
            request: Says `ahead` where `is_busy`; to be given then only to one that `takes_ahead`.
            consume: Debits stock, with the ordinal of the debit within this run; the child waits until it returns.
                None: labd keeps the stock of such runs itself, and the child is told so.
            job: The job that it runs, for people who look.
            are_more_coming: Others follow within this turn of the loop, and go out with it.

        When it is cancelled the child is asked to end the run, then gets SIGTERM, then SIGKILL, each after `grace_s`; a
        second cancellation takes the next step at once. It returns or raises only when the run is over.

        Raises:
            WorkerGone: The process ended before it answered.
            NotBegun: It was sent ahead and taken back.
            asyncio.CancelledError: It was cancelled, and the child confirmed that or has not begun it.
        """
        if self.ending is not None:
            raise WorkerGone(self.ending, self._end_code)
        self.jobs += 1
        self._late = None
        sent = Sent(run, job, request, output, progress, consume, self._loop.create_future(), self.is_busy)
        if not sent.is_ahead:
            self._output = output
        self._sent[run] = sent
        if sent.is_ahead or (are_more_coming and self._tickets is not None):
            self._send_soon(sent)
        else:
            self._send(request)
        try:
            try:
                answer = await sent.answer
                if answer is None:
                    raise NotBegun
                return answer
            except asyncio.CancelledError:
                self.take_back()
                if sent.is_back:
                    raise
                message = await self._end_run(sent, grace_s)
                if message.type == "cancelled":
                    raise
                return message
        finally:
            self._leave(sent)

    def _leave(self, sent: Sent) -> None:
        self._sent.pop(sent.number, None)
        sent.output.finish()
        if self._output is sent.output:
            self._output = next((other.output for other in self._sent.values()), _no_output)
        if not self._reads_pipes and len(self._sent) <= 1:
            self._read_on(is_wanted=True)

    def _send_soon(self, sent: Sent) -> None:
        """With all others of this turn of the loop in one piece."""
        if self._reads_pipes and sent.is_ahead:
            self._read_on(is_wanted=False)
        self._unsent.append(sent)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._send_together)

    def _send_together(self) -> None:
        sent, self._unsent = self._unsent, []
        if sent and self._tickets is not None and self.is_alive:
            ahead = len(sent) - (not sent[0].is_ahead)
            if ahead:
                self._tickets.give(ahead)  # first: a run that comes without one has been taken back
            self._send(b"".join(one.request for one in sent))

    def take_back(self) -> None:
        """Take back the runs that the child has not begun; those who wait for them are told so."""
        if self._tickets is None or not self._sent:
            return
        count = self._tickets.take_back() + len(self._unsent)
        self._unsent = []
        if not count:
            return
        self._taken_back_up_to = max(self._sent)
        self.jobs -= count
        for sent in list(self._sent.values())[: -count - 1 : -1]:
            del self._sent[sent.number]
            sent.is_back = True
            if not sent.answer.done():
                sent.answer.set_result(None)

    async def _end_run(self, sent: Sent, grace_s: float) -> Message:
        late = sent.late
        if late is not None:
            return late
        if self.ending is not None:
            raise WorkerGone(self.ending, self._end_code)
        run, answer = sent.number, self._loop.create_future()  # the old one was cancelled with its waiter
        sent.answer, self._cancelling = answer, sent
        self._send(_encode({"type": "cancel", "run": run}) + b"\n")
        self._cancel_signalled = False
        self._signal_cancel()
        for signal_number in (signal.SIGTERM, signal.SIGKILL, None):
            try:
                await asyncio.wait({answer}, timeout=grace_s if signal_number is not None else DEATH_S)
            except asyncio.CancelledError:
                pass  # somebody is in a hurry: the next step now
            if answer.done():
                message: Message = answer.result()
                return message
            if signal_number is not None:
                log.warning("worker.ended_by_signal", pid=self.pid, signal=signal_number.name, run=run)
                self.kill(signal_number)
        raise WorkerGone(f"could not be ended within {DEATH_S:g} s of SIGKILL")

    def _signal_cancel(self) -> None:
        """Let the child, which has no thread that reads while a body runs, look at the line; once that is sent."""
        if self.is_alive and not self._outgoing and not self._cancel_signalled:
            self._cancel_signalled = True
            self._insist(self._cancelling)

    def _insist(self, sent: Sent | None) -> None:
        """Send the signal, and again until the run has ended.

        Race: one that comes after the body's last look for signals and before its blocking call has begun is seen only
        when that call returns. The next one interrupts it; one that is not needed does nothing.
        """
        if sent is None or sent.answer.done() or sent.number not in self._sent or not self.is_alive:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, CANCEL_SIGNAL)
        self._loop.call_later(INSIST_S, self._insist, sent)

    def kill(self, signal_number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the worker and to all its children that stayed in its process group."""
        if self.is_alive:
            try:
                os.killpg(self.pid, signal_number)
            except ProcessLookupError:
                pass  # it is a zombie: the loop hears of it in a moment

    async def close(self, grace_s: float) -> None:
        """End an idle worker: ask, then SIGTERM, then SIGKILL; a second call does nothing."""
        self._send(b'{"type":"exit"}\n')
        for signal_number in (signal.SIGTERM, signal.SIGKILL, None):
            try:
                async with asyncio.timeout(grace_s if signal_number is not None else DEATH_S):
                    await self._ended.wait()
                return
            except TimeoutError:
                if signal_number is not None:
                    self.kill(signal_number)

    async def end_now(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEATH_S):
                await self.gone()

    async def gone(self) -> None:
        """Wait until the process has ended."""
        await self._ended.wait()

    def size_bytes(self) -> int:
        """Memory that the process holds now."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, IndexError):
            return 0

    def limit_processor_time(self, more_s: int) -> None:
        """Allow so many seconds of processor time beyond what was used; SIGXCPU ends a process that takes more."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            used_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (int(used_s) + more_s + 1, hard))
        except OSError as fault:
            log.warning("worker.limit_refused", pid=self.pid, problem=str(fault))

    def _send(self, data: bytes) -> None:
        if not self.is_alive:
            return
        if self._outgoing:
            self._outgoing += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:  # the child is gone; `_died` tells
            return
        if sent < len(data):
            self._outgoing = data[sent:]
            self._loop.add_writer(self._socket, self._send_more)

    def _send_more(self) -> None:
        try:
            self._outgoing = self._outgoing[self._socket.send(self._outgoing) :]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing = b""
        if not self._outgoing:
            self._loop.remove_writer(self._socket)
            self._signal_cancel()

    def _read_socket(self) -> bool:
        """Take what has come; False if that was nothing."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket)
            return False
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._broken:
                return True
            if self._buffer:
                line, self._buffer = bytes(self._buffer + line), bytearray()
            self._take(line)
        if self._broken:
            return True
        self._buffer += rest  # grows in place: a long line that drips in is not copied for each drop
        if len(self._buffer) > MESSAGE_LIMIT_BYTES:
            self._break(f"sent a message of more than {MESSAGE_LIMIT_BYTES // 2**20} MiB")
        return True

    def _take(self, line: bytes) -> None:
        try:
            message = decode(line)
        except ValueError as fault:
            self._break(f"sent what is no message of the protocol: {line[:80]!r} ({fault})")
            return
        sent = None if message.run is None else self._sent.get(message.run)
        if sent is None and (message.run is not None or self._sent):
            return  # of a run that is over: a forked child, or a thread that outlived its task
        if message.type == "log":
            (self._output if sent is None else sent.output).log(message.level, message.text)
        elif message.type == "progress":
            if sent is not None:
                sent.progress(message.done, message.total, message.text)
        elif message.type == "consume":
            if self._debits.is_crowded or len(self._outgoing) > UNREAD_LIMIT_BYTES:
                self._break("asks for debits without end")
            else:
                self._debits.begin(message, None if sent is None else sent.consume)
        elif message.type not in ANSWERS:
            self._break(f"sent a message of the type {message.type[:80]!r}, which is none")
        else:
            self._loop.call_soon(self._conclude, message)

    def _conclude(self, message: Message) -> None:
        """Hand the end of a run to its waiter.

        Why a turn of the loop later: the child prints before it tells the end. What it printed is seen by the next look
        at the pipes, which comes before the waiter goes on; reading them here once more would cost two system calls.
        They are read here only where nobody looks at them.
        """
        if message.run is None:
            if self._asked is not None and not self._asked.done():
                self._asked.set_result(message)
            else:
                self._late = message  # it was ready before anybody asked
            return
        sent = self._sent.get(message.run)
        if sent is None:
            return
        self.answered += 1
        if message.run > self._taken_back_up_to:
            self._taken_back_up_to = 0
        if message.printed:
            self._printed_at = self._loop.time()
            if not self._reads_pipes:
                self.take_back()  # it begins none of them
                self._output = sent.output
                self._read_pipes()
        if sent.answer.done():
            sent.late = message  # it came between the cancellation and the waiter's next step
        else:
            sent.answer.set_result(message)

    def broke(self, problem: str) -> None:
        """Its answer makes no sense: it is ended, for it may still be at work on what it has given an answer to."""
        self._break(problem)

    def _break(self, problem: str) -> None:
        log.error("worker.protocol_broken", pid=self.pid, problem=problem)
        self._broken = True
        self._buffer = bytearray()
        self._fail(problem)
        self.kill()

    def _fail(self, problem: str, code: int | None = None) -> None:
        """Nothing more is answered: what the child has not begun may run elsewhere, the rest has died with it."""
        self.take_back()
        for answer in (self._asked, *(sent.answer for sent in self._sent.values())):
            if answer is not None and not answer.done():
                answer.set_exception(WorkerGone(problem, code))

    def _read_on(self, *, is_wanted: bool) -> None:
        """Look at the pipes whenever there is something, or leave them alone."""
        self._reads_pipes = is_wanted
        for number in self._pipes:
            if is_wanted:
                self._loop.add_reader(number, self._read_pipe, number)
            else:
                self._loop.remove_reader(number)

    def _read_pipe(self, number: int) -> bool:
        try:
            data = os.read(number, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(number)
            self._pipes.pop(number, None)
            return False
        self._printed_at = self._loop.time()
        self._output.feed(self._pipes[number], data)
        return True

    def _read_pipes(self) -> None:
        """What was printed before the last message; a bounded number of looks, for a thread may print on and on."""
        for number in list(self._pipes):
            for _ in range(8):
                if not self._read_pipe(number):
                    break

    def _died(self) -> None:
        """The process has ended: read what it left, end its children, tell."""
        self._loop.remove_reader(self._death)
        for _ in range(LAST_READS):
            if not self._read_socket():
                break
        self._loop.call_soon(self._bury)

    def _bury(self) -> None:
        """A turn later: an end that it told before it died has been handed on, and what it printed can be read."""
        if not self._reads_pipes:  # what was printed is of the run that it was at
            self._output = next((one.output for one in self._sent.values() if not one.answer.done()), self._output)
        self._read_pipes()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        except (ProcessLookupError, PermissionError):
            pass
        code = self._process.wait()
        self.ending, self._end_code = self._told_end(code), self._known_code(code)
        self._fail(self.ending, self._end_code)
        self._close_all()
        self._ended.set()
        self._on_end(self)

    def _told_end(self, code: int) -> str:
        """How it ended, from the return code of the child process."""
        return told(code)

    def _known_code(self, code: int) -> int | None:
        """The return code of the worker itself, as far as that of the child process tells it."""
        return code

    def _close_all(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        for number in self._pipes:
            self._loop.remove_reader(number)
        self._pipes.clear()
        os.close(self._death)
        if self._tickets is not None:
            self._tickets.close()
            self._tickets = None
        self._socket.close()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


def told(code: int) -> str:
    """How a process ended, from its return code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"

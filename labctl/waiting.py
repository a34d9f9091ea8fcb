"""Waiting for a job as a person does: with visible progress, a limit, and a say in what Ctrl-C means."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from labctl import exits, summaries, terminal
from labctl.client import ENDED, Client
from labctl.render import ProgressLine, progress_text
from labd.errors import DaemonUnreachable

Json = dict[str, Any]
OnInterrupt = Literal["ask", "cancel", "leave"]
_PACE_S = 1.0
_AFTER_CANCEL_S = 30.0


class Interrupted(Exception):
    """Ctrl-C ended the wait; `job` is how the job stood then."""

    def __init__(self, job: Json) -> None:
        super().__init__("interrupted")
        self.job = job


def follow(
    client: Client,
    job: Json,
    *,
    timeout_s: float | None = None,
    on_interrupt: OnInterrupt = "ask",
    progress: ProgressLine | None = None,
    ask: Callable[[str], str] | None = None,
    tell: Callable[[str], None] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    text: Callable[[Json], str] = progress_text,
) -> Json:
    """The job when it has ended, is held for a person, or as it is when `timeout_s` is over.

    Args:
        ask: Puts a question to a person; None where nobody is there to answer.
        text: The line that shows how far the job is.

    Raises:
        Interrupted: After Ctrl-C, when it is settled what becomes of the job.
        DaemonUnreachable: The daemon went away; the job is on disk there.
    """
    tell = tell or terminal.tell
    line = progress or ProgressLine()
    started = monotonic()
    deadline = None if timeout_s is None else started + timeout_s
    try:
        while job["state"] not in ENDED and not is_held(job):
            line.show(text(job), summaries.duration(monotonic() - started))
            asked = monotonic()
            left_s = _PACE_S if deadline is None else min(_PACE_S, deadline - asked)
            if left_s <= 0:
                break
            seq = job["seq"]
            job = client.job(job["id"], wait_s=left_s)
            if job["seq"] == seq:
                client.pace(asked, left_s)
    except KeyboardInterrupt:
        line.clear()
        raise Interrupted(_settle(client, job, on_interrupt, ask, tell, monotonic)) from None
    except DaemonUnreachable as fault:
        raise DaemonUnreachable(
            f"{fault.message}; job {job['id']} is kept on its disk: `labctl job wait {job['id']}` when it is back",
            **fault.details,
        ) from fault
    finally:
        line.clear()
    return job


def is_held(job: Mapping[str, Any]) -> bool:
    """Whether only a person can make the job go on."""
    return bool(job.get("hold")) and job["state"] == "queued"


def person() -> Callable[[str], str] | None:
    """How to ask, or None where standard input or error is no terminal."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline()

    return ask


def exit_code(job: Mapping[str, Any]) -> int:
    """The exit code of a command that waited."""
    return exits.of_job(job)


def _settle(
    client: Client,
    job: Json,
    on_interrupt: OnInterrupt,
    ask: Callable[[str], str] | None,
    tell: Callable[[str], None],
    monotonic: Callable[[], float],
) -> Json:
    choice = on_interrupt
    if choice == "ask":
        choice = "leave"
        if ask is not None:
            try:
                answer = ask(f"\njob {job['id']} goes on. Cancel it, or leave it running? [c/L] ")
            except (KeyboardInterrupt, EOFError):
                answer = ""
            choice = "cancel" if answer.strip().lower().startswith("c") else "leave"
    client.close()  # the interrupted exchange left half an answer on the connection
    if choice == "leave":
        tell(f"job {job['id']} goes on; `labctl job wait {job['id']}` waits for it, `labctl job cancel` ends it")
        return job
    job = client.cancel(job["id"], "Ctrl-C in labctl")
    deadline = monotonic() + _AFTER_CANCEL_S
    try:
        while job["state"] not in ENDED and monotonic() < deadline:
            job = client.job(job["id"], wait_s=_PACE_S)
    except KeyboardInterrupt:
        client.close()
    tell(f"job {job['id']}: {job['state']}")
    return job

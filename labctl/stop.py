"""`labctl resort stop`: ask, and say within one second if nobody answers.

Why a thread: opening a connection to a host that is gone, and reading from a daemon that hangs, both block for as long
as the system likes. The person in front of the carousel must know after a second that this way is closed.

Not a certified safety function: a stop that matters to life has a switch that cuts power.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from labctl import deadman, exits, summaries
from labctl.client import Client
from labctl.invocation import Invocation
from labd.errors import DaemonUnreachable, LabdError

FIRST_WORD_S = 0.35  # with the question below and 0.4 s for the interpreter this stays under one second
ALIVE_WITHIN_S = 0.2
LAST_WORD_S = 15.0


def stop(
    call: Invocation,
    device: str | None = None,
    reason: str | None = None,
    direct: Callable[[], int] | None = None,
) -> int:
    """Stop a carousel; returns the exit code.

    Args:
        direct: Opens the port from here, used only when the daemon does not answer; returns an exit code.
    """
    host, url = call.host, call.client.url
    asked = _Asked(host, device, reason)
    asked.start()
    if not asked.done.wait(FIRST_WORD_S) and _is_alive(host):
        call.tell("labd is alive and still confirming the stop; if anything moves, cut power")
        asked.done.wait(LAST_WORD_S)
    url = asked.url or url
    if isinstance(asked.answer, dict):
        answer = asked.answer
        call.emit(answer, lambda: summaries.stop(answer))
        return exits.DONE if answer.get("confirmed", answer.get("stopped")) else exits.ATTENTION
    if isinstance(asked.answer, LabdError) and not isinstance(asked.answer, DaemonUnreachable):
        call.tell("labctl: NOT STOPPED BY LABD, which refused; CUT POWER if anything moves")
        raise asked.answer
    told = asked.answer.message if isinstance(asked.answer, LabdError) else f"{url}: labd hangs, no answer"
    call.tell(f"labctl: NOT STOPPED BY LABD: {told}")
    call.tell(f"  {deadman.sentence(url, device)}; CUT POWER if anything moves")
    if direct is not None:
        return direct()
    call.tell("  next: cut power, or `labctl resort stop --direct` opens the port from this host")
    return exits.UNREACHABLE


class _Asked(threading.Thread):
    """The request, on a thread that never keeps the process alive."""

    def __init__(self, host: str | None, device: str | None, reason: str | None) -> None:
        super().__init__(daemon=True, name="stop")
        self.done = threading.Event()
        self.answer: dict[str, Any] | LabdError | None = None
        self.url = ""
        self._host, self._device, self._reason = host, device, reason

    def run(self) -> None:
        try:
            client = Client(self._host, connect_timeout_s=LAST_WORD_S)
            try:
                self.answer = client.resort_stop(self._device, self._reason, LAST_WORD_S)
            finally:
                self.url = client.url
                client.close()
        except LabdError as error:
            self.answer = error
        finally:
            self.done.set()


def _is_alive(host: str | None) -> bool:
    """Whether the daemon answers anything at all, within `ALIVE_WITHIN_S`."""
    answers = threading.Event()

    def ask() -> None:
        client = Client(host, timeout_s=ALIVE_WITHIN_S, connect_timeout_s=ALIVE_WITHIN_S)
        try:
            client.health()
            answers.set()
        except LabdError:
            return
        finally:
            client.close()
            done.set()

    done = threading.Event()
    started = time.monotonic()
    threading.Thread(target=ask, daemon=True, name="alive").start()
    done.wait(max(0.0, ALIVE_WITHIN_S - (time.monotonic() - started)))
    return answers.is_set()

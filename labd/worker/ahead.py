"""Runs that the daemon sent before the last one had ended: which of them may begin.

The daemon may take back what has not begun, and does not ask for that. So each needs a ticket from a counter in the
kernel that both sides hold; without one it has been taken back. After a run that printed none begins: the daemon must
have read what was printed, or nobody could tell it from what the next one prints.
"""

from __future__ import annotations

import fcntl
import os
import termios
from typing import Any, Mapping

FIRST_FREE_FD = 3
NOTHING = bytes(4)


class Ahead:
    """The child's side of the tickets.

    Args:
        tickets: Descriptor of the counter; reading takes one.
    """

    def __init__(self, tickets: int) -> None:
        self._tickets = _kept(tickets)
        os.close(tickets)
        self._outputs = [_kept(number) for number in (1, 2)]  # a body may put something else in their places
        self._has_printed = False

    def may_begin(self, message: Mapping[str, Any]) -> bool:
        """Whether a run is still this worker's."""
        if not message.get("ahead"):
            self._has_printed = False  # the daemon waited for the end of all before, and has read what they printed
            return True
        if self._has_printed:
            return False
        try:
            return bool(os.read(self._tickets, 8))
        except BlockingIOError:
            return False

    def has_printed(self) -> bool:
        """Whether something lies in the pipes that the daemon has not read; then only it says what begins next."""
        if not self._has_printed:
            self._has_printed = any(fcntl.ioctl(fd, termios.FIONREAD, NOTHING) != NOTHING for fd in self._outputs)
        return self._has_printed


def _kept(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)

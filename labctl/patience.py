"""Coming again when the daemon says that it is full: after the time it named, not all at once, and not for ever.

Why any request may be sent again: `overloaded` says that nothing of it was begun, a move or a submission as little as
a read. Why spread: a thousand clients that were told "in a second" would else be there together in a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from labctl.routes import Request
from labd.errors import Overloaded

PATIENCE_S = 30.0
PAUSE_S = 1.0  # where no time was named
SPREAD = 0.5
STOP_PAUSE_S = 0.05


class Patience:
    """How long one request has waited already.

    Args:
        limit_s: All pauses together.
        dice: Numbers from 0 to 1.
    """

    def __init__(
        self,
        limit_s: float = PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] | None = None,
    ) -> None:
        self._until = monotonic() + limit_s
        self._monotonic = monotonic
        self._dice = dice

    def pause_s(self, busy: Overloaded, request: Request) -> float:
        """How long to wait before the request is sent again; a stop comes again at once.

        Raises:
            Overloaded: `busy` itself, when it would come too late.
        """
        pause_s = STOP_PAUSE_S
        if not is_stop(request):
            pause_s = busy.details.get("retry_after_s", PAUSE_S) * (1.0 + SPREAD * (self._dice or _thrown)())
        if self._monotonic() + pause_s > self._until:
            raise busy
        return float(pause_s)


def _thrown() -> float:
    import random  # late: labctl's start is measured in milliseconds

    return random.random()


def is_stop(request: Request) -> bool:
    """Whether the request is one that must not wait."""
    return request.method == "POST" and request.path.endswith("/stop")

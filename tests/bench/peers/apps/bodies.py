"""What every peer's tasks do: nothing, tell when they began, or take their time. Standard library only."""

from __future__ import annotations

import os
import socket
import time


def noop() -> None:
    """Nothing."""


def stamp() -> None:
    """Tell the client when this line ran."""
    _tell("stamp", time.monotonic_ns())


def hold(seconds: float) -> None:
    """Tell that it began, then take `seconds`."""
    _tell("hold", time.monotonic_ns())
    time.sleep(seconds)


def _tell(word: str, at: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(f"{word} {at}".encode(), os.environ["PEERS_STAMPS"])

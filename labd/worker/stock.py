"""What a body takes from stock: told to the daemon right before the liquid moves, on disk before it may move.

Why a body stops for it, in async tasks too: a debit that was only sent would be lost with the daemon, and the liquid is
gone all the same. It takes as long as one commit.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import Any, Callable, Dict, Mapping, Optional

import labd
from labd.worker.channel import Channel

LOOK_AGAIN_S = 0.05
Listen = Callable[[threading.Event], None]


class _Debit:
    """One message under way; `answered` is set with the daemon's answer."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.answer: Mapping[str, Any] = {}


class Stock:
    """The debits of one run, numbered from 1; any thread of the body may make them.

    Args:
        listen: Reads what the daemon sends, for a moment or until the event is set; None where a thread reads anyway.
    """

    def __init__(self, run: int, channel: Channel, listen: Optional[Listen]) -> None:
        self._run = run
        self._channel = channel
        self._listen = listen
        self._ordinals = itertools.count(1)
        self._open: Dict[int, _Debit] = {}
        self._is_over = False

    def debit(self, volumes_ul: Mapping[str, float]) -> None:
        """Tell it, and wait until it is on disk.

        Raises:
            labd.StockRefused: The daemon does not take it.
            RuntimeError: The run is over, or this is a process that the body forked.
        """
        if self._channel.is_copy:
            raise RuntimeError("consume() in a process that the body forked: labd hears the body's own process only")
        ordinal, debit = next(self._ordinals), _Debit()
        self._open[ordinal] = debit
        try:
            self._channel.send({"type": "consume", "run": self._run, "ordinal": ordinal, "volumes_ul": volumes_ul})
            while not debit.answered.is_set():
                if self._is_over:
                    raise RuntimeError("consume() in a thread that outlived its task: nobody keeps its account")
                if self._listen is None:
                    debit.answered.wait(LOOK_AGAIN_S)
                else:
                    self._listen(debit.answered)
        finally:
            del self._open[ordinal]
        error = debit.answer.get("error")
        if error:
            raise labd.StockRefused(str(error.get("code", "refused")), str(error.get("message", "")))

    def take(self, answer: Mapping[str, Any]) -> None:
        """The daemon's answer to one of them."""
        debit = self._open.get(answer.get("ordinal", 0))
        if debit is not None:
            debit.answer = answer
            debit.answered.set()

    def close(self) -> None:
        """The body has ended: threads that it left behind stop waiting."""
        self._is_over = True


def volumes(given: Optional[Mapping[Any, Any]], named: Mapping[str, Any]) -> Dict[str, float]:
    """What `consume` was called with, in microlitres by reservoir; volumes of 0 are left out.

    Raises:
        TypeError: No volume at all, one that is no number, or one name twice.
        ValueError: A volume that is not finite, or an empty name.
    """
    if given is None and not named:
        raise TypeError('consume() needs a volume in ul, such as consume(red=120.0) or consume({"red": 120.0})')
    twice = sorted(set(given or ()) & set(named))
    if twice:
        raise TypeError(f"consume() got {', '.join(twice)} twice")
    found: Dict[str, float] = {}
    for name, volume in {**(given or {}), **named}.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"consume() takes names of reservoirs or colours, not {name!r}")
        if isinstance(volume, (bool, str, bytes)) or not hasattr(volume, "__float__"):
            raise TypeError(f"consume({name}={volume!r}) takes a volume in ul, such as 120.0")
        if not math.isfinite(volume):
            raise ValueError(f"consume({name}={volume!r}) takes a finite volume in ul")
        if float(volume) != 0.0:
            found[name] = float(volume)
    return found

"""Shares: how much of what labd bears at once one caller may have, by token, user of the socket, or address.

Why a share at all: limits for all together keep labd alive, and the first to reach them keeps everybody else out. Why
it counts requests under way and not requests a second: whoever waits for each answer is held to labd's own pace, and a
long poll or a request in line takes a place for as long as it lasts.

A stop is never counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from labd.errors import ShareTaken

Kind = Literal["requests", "event_streams"]
NAMES: dict[Kind, str] = {"requests": "requests under way", "event_streams": "event streams open"}
RETRY_AFTER_S = 1


@dataclass(slots=True)
class Shares:
    """What each caller has of one kind now; who has nothing is forgotten.

    Args:
        bears: How many all callers together may have.
        share: Which part of them is one caller's; 1.0: all.
    """

    kind: Kind
    bears: int
    share: float
    held: dict[str, int] = field(default_factory=dict)

    @property
    def at_most(self) -> int:
        """How many one caller may have; one at least."""
        return max(1, int(self.bears * self.share))

    def take(self, who: str) -> None:
        """One more for a caller.

        Raises:
            ShareTaken: It has its share already; nothing was counted.
        """
        has = self.held.get(who, 0)
        if has >= self.at_most:
            raise ShareTaken(
                f"{who} has {has} {NAMES[self.kind]}, its share of the {self.bears} that labd bears; wait for one to "
                "end, or raise api.share_per_caller",
                limit="api.share_per_caller", of=self.kind, caller=who, at_most=self.at_most,
                retry_after_s=RETRY_AFTER_S,
            )  # fmt: skip
        self.held[who] = has + 1

    def give_back(self, who: str) -> None:
        """One less."""
        has = self.held.pop(who) - 1
        if has:
            self.held[who] = has

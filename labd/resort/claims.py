"""Claims of the lab's device contract: one session at a time may use the control routes of a carousel.

Why they bind the contract's door only: the contract calls a claim cooperative, a concurrency guard among sessions that
speak it, no security. Jobs of labd have the queue for that, and a person at the host must not be locked
out by a dashboard.
A claim lives by its beats; it is stored, so that a restarted daemon does not hand the carousel to somebody else.

Source: the lab's STATUS_SPEC 1.2, claims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from labd.clock import Clock, from_iso, iso
from labd.errors import DeviceClaimed, LabdError
from labd.resort.latch import Store

SHORTEST_TTL_S = 5.0
LONGEST_TTL_S = 300.0
BEATS_PER_TTL = 3.0


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds the carousel; `expires_at` in seconds since 1970, `expires_mono` on the monotonic clock."""

    token: str
    owner: str
    session_id: str
    ttl_s: float
    expires_at: float
    expires_mono: float

    def holder(self) -> dict[str, Any]:
        """What everybody may see of a claim: not the token."""
        return {"session_id": self.session_id, "owner": self.owner, "expires_at": iso(self.expires_at)}

    def answer(self) -> dict[str, Any]:
        """What the holder is told."""
        return {
            "claim_token": self.token,
            "heartbeat_interval_s": round(self.ttl_s / BEATS_PER_TTL, 3),
            "expires_at": iso(self.expires_at),
            "ttl_s": self.ttl_s,
        }


class Claims:
    """The claim on one carousel, if there is one.

    Args:
        device: Name of the carousel.
        store: Where the claim outlives a restart; a full disk is no reason to refuse one.
        random: Source of tokens; the daemon gives one that cannot be guessed.
    """

    def __init__(self, device: str, store: Store, clock: Clock, random: Random) -> None:
        self._device = device
        self._key = f"resort:{device}:claim"
        self._store = store
        self._clock = clock
        self._random = random
        self._claim: Claim | None = None

    async def load(self) -> None:
        """Take back a claim that has not run out."""
        value = await self._store.stored_value(self._key)
        if not isinstance(value, dict):
            return
        try:
            expires_at, ttl_s = from_iso(value["expires_at"]), float(value["ttl_s"])
            left_s = min(
                expires_at - self._clock.wall(), ttl_s
            )  # no longer than a beat ever gives, if the clock stepped
            if left_s > 0:
                expires_mono = self._clock.monotonic() + left_s
                token, owner, session_id = str(value["claim_token"]), str(value["owner"]), str(value["session_id"])
                self._claim = Claim(token, owner, session_id, ttl_s, expires_at, expires_mono)
        except (KeyError, TypeError, ValueError):
            return

    @property
    def current(self) -> Claim | None:
        """The claim in force."""
        if self._claim is not None and self._clock.monotonic() >= self._claim.expires_mono:
            self._claim = None
        return self._claim

    def holder(self) -> dict[str, Any] | None:
        """Who holds it, for everybody to see."""
        claim = self.current
        return None if claim is None else claim.holder()

    def check(self, token: str | None) -> None:
        """Nothing if nobody holds the carousel, or the caller does.

        Raises:
            DeviceClaimed: Somebody else holds it.
        """
        claim = self.current
        if claim is None or claim.token == token:
            return
        left_s = max(1, math.ceil(claim.expires_mono - self._clock.monotonic()))
        raise DeviceClaimed(
            f"resort {self._device}: claimed by {claim.owner} (session {claim.session_id}), {left_s} s left unless it "
            "beats again; ask them to release it",
            kind="claimed",
            claimed_by=claim.holder(),
            retry_after_s=left_s,
        )

    async def claim(self, owner: str, session_id: str, ttl_s: float) -> dict[str, Any]:
        """Take the carousel; the same session and owner get their own claim renewed.

        Raises:
            DeviceClaimed: Another session holds it.
        """
        present = self.current
        own = present is not None and (present.session_id, present.owner) == (session_id, owner)
        self.check(present.token if own and present is not None else None)
        token = present.token if own and present is not None else f"{self._random.getrandbits(128):032x}"
        return await self._keep(token, owner, session_id, min(max(ttl_s, SHORTEST_TTL_S), LONGEST_TTL_S))

    async def heartbeat(self, token: str) -> dict[str, Any]:
        """Keep the claim for another ttl.

        Raises:
            DeviceClaimed: The claim has run out, or is somebody else's.
        """
        claim = self.current
        self.check(token)
        if claim is None:
            raise DeviceClaimed(
                f"resort {self._device}: this claim has run out or was released; claim again",
                kind="claim_lost",
                claimed_by=None,
            )
        return await self._keep(claim.token, claim.owner, claim.session_id, claim.ttl_s)

    async def release(self, token: str) -> dict[str, Any]:
        """Give the carousel back; a second release does nothing.

        Raises:
            DeviceClaimed: Somebody else holds it.
        """
        self.check(token)
        released = self.current is not None
        self._claim = None
        await self._remember(None)
        return {"released": released}

    async def _keep(self, token: str, owner: str, session_id: str, ttl_s: float) -> dict[str, Any]:
        expires_at, expires_mono = self._clock.wall() + ttl_s, self._clock.monotonic() + ttl_s
        self._claim = Claim(token, owner, session_id, ttl_s, expires_at, expires_mono)
        answer = self._claim.answer()
        await self._remember({**answer, "owner": owner, "session_id": session_id})
        return answer

    async def _remember(self, value: dict[str, Any] | None) -> None:
        try:
            await self._store.store_value(self._key, value)
        except LabdError:  # the claim holds as long as this daemon lives
            return

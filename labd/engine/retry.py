"""When a failed attempt is followed by another: a pure rule."""

from __future__ import annotations

from random import Random

from labd.engine.job import Effect

MAX_DELAY_S = 3600.0
JITTER = 0.2


def delay_s(attempt: int, base_s: float, backoff: str, random: Random) -> float:
    """Wait before the attempt that follows attempt number `attempt`.

    `fixed` waits `base_s`, `exponential` doubles it each time up to an hour; both vary by a fifth, so that jobs that
    failed together do not come back together.
    """
    wait_s = base_s if backoff == "fixed" else base_s * 2.0 ** min(attempt - 1, 32)
    return min(wait_s, MAX_DELAY_S) * (1 + random.uniform(-JITTER, JITTER))


def may_retry(effect: Effect, attempt: int, max_attempts: int, retryable: bool) -> bool:
    """True if labd itself may try again.

    A physical attempt that has its start record is never repeated: nobody knows how far the device got.
    """
    return effect == "repeatable" and retryable and attempt < max_attempts

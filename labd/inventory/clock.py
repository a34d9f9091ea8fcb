"""The ledger's own time: seconds that never go back and never jump, whatever happens to the wall clock.

While the daemon lives it follows the monotonic clock. Across a restart it goes on by the wall clock's difference, or
stands still where that clock was set back. Why a timeline of its own: evaporation is counted over it, so a person who
sets the clock refills no paint and dries none.
"""

from __future__ import annotations

from labd.clock import Clock

STEP_S = 1.0


class LedgerClock:
    """Starts with `go_on`; until then it stands at 0.

    Args:
        clock: The host's clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base_s = 0.0
        self._since = clock.monotonic()
        self._offset = clock.wall() - clock.monotonic()

    def go_on(self, ledger_s: float, wall: float) -> float:
        """Continue from a saved instant.

        Returns:
            Seconds that passed since then, by the wall clock; 0 where that one was set back.
        """
        away_s = max(0.0, self._clock.wall() - wall)
        self._base_s, self._since = ledger_s + away_s, self._clock.monotonic()
        self._offset = self._clock.wall() - self._since
        return away_s

    def now_s(self) -> float:
        """Seconds of the ledger."""
        return self._base_s + max(0.0, self._clock.monotonic() - self._since)

    def wall(self) -> float:
        """The wall clock, for what people read."""
        return self._clock.wall()

    def stepped_by_s(self) -> float:
        """How far the wall clock has jumped since the last look; 0 for less than a second."""
        offset = self._clock.wall() - self._clock.monotonic()
        step_s = offset - self._offset
        if abs(step_s) < STEP_S:
            return 0.0
        self._offset = offset
        return step_s

"""The wall clock jumps: by hours, by what a wrong time zone makes, to the moment where summer time begins or ends."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from tests.chaos.pause import pause
from tests.chaos.port import World
from tests.chaos.supply import forget, shim_of

HOURS = (-26.0, -3.0, -1.0, -0.05, 0.05, 1.0, 3.0, 26.0)
LASTS_S = (0.2, 1.5)
TO_DAYLIGHT_SAVING = 0.3


class ClockStep:
    """Satisfies `Fault`: one step away, and when it is mended one back; the daemon lives through both, or starts anew.

    The true clock goes on below it: durations and deadlines do not change. Parties keep the true time.
    """

    name = "clock_step"
    ends_daemon = False

    def prepare(self, world: World) -> None:
        """The shim does it."""
        shim_of(world)

    def strike(self, world: World) -> str:
        """Away, for a while; now and then the daemon is killed meanwhile, and the next one starts in the wrong time."""
        lasts_s = world.dice.uniform(*LASTS_S)
        if world.dice.random() < TO_DAYLIGHT_SAVING:
            change = world.dice.choice(daylight_changes(datetime.now(UTC).year))
            by_s, what = change.timestamp() - lasts_s / 2 - time.time(), f"to {change.isoformat()}"
        else:
            by_s = 3600 * world.dice.choice(HOURS)
            what = f"by {by_s / 3600:+g} h"
        shim_of(world).step_clock(by_s)
        pause(lasts_s)
        if world.dice.random() < 0.3:
            world.daemon.kill()
            world.daemon.start()
            pause(lasts_s)
            what += ", a daemon killed and started in it"
        return f"{what} for {lasts_s:.1f} s"

    def mend(self, world: World) -> None:
        """The true time again."""
        shim_of(world).step_clock(0.0)
        world.daemon.start()

    def end(self, world: World) -> None:
        """Nothing is left of it."""
        forget(world)


def daylight_changes(year: int) -> tuple[datetime, datetime]:
    """When summer time begins and ends in Europe: 01:00 UTC on the last Sundays of March and October."""
    first, second = (_last_sunday(year, month) for month in (3, 10))
    return first, second


def _last_sunday(year: int, month: int) -> datetime:
    last = datetime(year, month, 31, 1, tzinfo=UTC)
    return last - timedelta(days=(last.weekday() + 1) % 7)

"""A disk that is slow, and one that fails now and then."""

from __future__ import annotations

import errno

from tests.chaos.pause import pause
from tests.chaos.port import World
from tests.chaos.power_loss import cut
from tests.chaos.shim import SYNC, WRITE
from tests.chaos.supply import forget, power_of, shim_of

SLOW_MS = ((50, 2000), (50, 200), (300, 900))
LASTS_S = (0.5, 2.0)
MOST_PASS = 12
MOST_FAIL = 4
ERROR_S = 1.5
THEN_POWER_LOSS = 0.4


class DiskSlow:
    """Satisfies `Fault`: each sync, and now and then each write, takes far longer than it should."""

    name = "disk_slow"
    ends_daemon = False

    def prepare(self, world: World) -> None:
        """The shim does it."""
        shim_of(world)

    def strike(self, world: World) -> str:
        """For a while."""
        least_ms, most_ms = world.dice.choice(SLOW_MS)
        ops = SYNC | WRITE if most_ms <= 200 and world.dice.random() < 0.5 else SYNC
        lasts_s = world.dice.uniform(*LASTS_S)
        shim_of(world).slow(least_ms, most_ms, ops)
        pause(lasts_s)
        return f"{'writes and syncs' if ops & WRITE else 'syncs'} take {least_ms}-{most_ms} ms for {lasts_s:.1f} s"

    def mend(self, world: World) -> None:
        """As quick as ever."""
        shim_of(world).well()
        world.daemon.start()

    def end(self, world: World) -> None:
        """Nothing is left of it."""
        forget(world)


class DiskError:
    """Satisfies `Fault`: the n-th sync or write fails with EIO, some in a row; now and then the power goes next.

    Why the power: what a failed sync did not write, no later one writes; only then it shows who believed otherwise.
    """

    name = "disk_error"
    ends_daemon = True

    def prepare(self, world: World) -> None:
        """The shim does it, and the power model knows of it."""
        power_of(world)

    def strike(self, world: World) -> str:
        """Fail some; wait until they have failed, or nobody writes."""
        shim, dice = shim_of(world), world.dice
        ops = dice.choice((SYNC, SYNC, WRITE))
        shim.fail(ops, after=dice.randint(0, MOST_PASS), count=dice.randint(1, MOST_FAIL), number=errno.EIO)
        for _ in range(round(ERROR_S / 0.05)):
            pause(0.05)
            if shim.errors_made:
                break
        pause(dice.uniform(0.0, 0.3))
        what = f"{shim.errors_made} {'syncs' if ops == SYNC else 'writes'} failed"
        if dice.random() < THEN_POWER_LOSS:
            what += f", then the power: {cut(world)}"
        return what

    def mend(self, world: World) -> None:
        """The disk is well."""
        shim_of(world).well()
        world.daemon.start()

    def end(self, world: World) -> None:
        """Nothing is left of it."""
        forget(world)

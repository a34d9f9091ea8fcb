"""The power goes: all that runs below the daemon is gone at once, and the disk has what was synced, and chance."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.acceptance.waiting import eventually
from tests.chaos.port import World
from tests.chaos.supply import forget, power_of

GONE_S = 20.0


class PowerLoss:
    """Satisfies `Fault`; the parties have a power supply of their own."""

    name = "power_loss"
    ends_daemon = True

    def prepare(self, world: World) -> None:
        """Have the daemon's disk watched from its first start on."""
        power_of(world)

    def strike(self, world: World) -> str:
        """Cut it."""
        return cut(world)

    def mend(self, world: World) -> None:
        """Power is back, and so is the daemon."""
        world.daemon.start()

    def end(self, world: World) -> None:
        """Nothing is left of it."""
        forget(world)


def cut(world: World) -> str:
    """Kill everything and leave the disk as it may be then; the runtime folder is in memory on a real host, and gone.

    Returns:
        A few words on what was lost.
    """
    kill_all(world)
    shutil.rmtree(world.folder / "run", ignore_errors=True)
    told, unseen = power_of(world).cut(world.dice)
    for note in world.daemon.state.glob("lend/*/boot"):
        note.unlink()  # it names the boot; the one to come has another id, which nobody can give this host
    world.notes += [f"power_loss: {path} was written past the shim and kept as it was" for path in unseen]
    return told


def kill_all(world: World) -> None:
    """SIGKILL to the daemon and everything below it; returns when none of them runs."""
    world.daemon.signal(signal.SIGSTOP)  # nothing new below it while it is counted
    below = world.daemon.children()
    for pid in below:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    world.daemon.kill()
    eventually(lambda: not any(_runs(pid) for pid in below), GONE_S, "the end of everything below the daemon")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False

"""Harm that needs no help of the system: a daemon killed, a worker killed, a daemon that stands still, a party away."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

from tests.chaos.pause import pause
from tests.chaos.port import Fault, Party, World

STILL_S = (0.2, 4.0)  # longer than the watchdog of the motor, and shorter
AWAY_S = (0.1, 2.5)
KILLED_AT_START = 0.2
LONGEST_START_S = 1.5


class KillDaemon:
    """SIGKILL at a random moment, now and then another while it starts again."""

    name = "kill_daemon"
    ends_daemon = True

    def prepare(self, world: World) -> None:
        """Nothing is needed."""

    def strike(self, world: World) -> str:
        """The daemon alone."""
        world.daemon.kill()
        return "SIGKILL"

    def mend(self, world: World) -> None:
        """The next one begins."""
        world.daemon.start()


class KillStarting(KillDaemon):
    """SIGKILL, and SIGKILL again to the next one while it recovers."""

    name = "kill_starting"

    def mend(self, world: World) -> None:
        """Two beginnings, the first cut short."""
        world.daemon.begin(world.dice.uniform(0.0, LONGEST_START_S))
        world.daemon.start()


class KillWorker:
    """SIGKILL to one or all processes below the daemon."""

    name = "kill_worker"
    ends_daemon = False

    def prepare(self, world: World) -> None:
        """Nothing is needed."""

    def strike(self, world: World) -> str:
        """At least one, where there is one."""
        children = world.daemon.children()
        chosen = world.dice.sample(children, world.dice.choice((1, len(children)))) if children else []
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return f"SIGKILL to {len(chosen)} of {len(children)} children"

    def mend(self, world: World) -> None:
        """The daemon has others made."""
        world.daemon.start()


class StopDaemon:
    """SIGTERM in the middle of work: it drains, and the next one goes on."""

    name = "stop_daemon"
    ends_daemon = True

    def prepare(self, world: World) -> None:
        """Nothing is needed."""

    def strike(self, world: World) -> str:
        """It ends in good order."""
        world.daemon.stop()
        return "SIGTERM"

    def mend(self, world: World) -> None:
        """The next one begins."""
        world.daemon.start()


class PauseDaemon:
    """SIGSTOP for a while; its workers go on."""

    name = "pause_daemon"
    ends_daemon = False

    def prepare(self, world: World) -> None:
        """Nothing is needed."""

    def strike(self, world: World) -> str:
        """It stands still, and goes on when it is mended."""
        held_s = world.dice.uniform(*STILL_S)
        world.daemon.signal(signal.SIGSTOP)
        pause(held_s)
        return f"SIGSTOP for {held_s:.1f} s"

    def mend(self, world: World) -> None:
        """SIGCONT."""
        world.daemon.signal(signal.SIGCONT)
        world.daemon.start()


class PauseWorkers:
    """SIGSTOP to all workers for a while; the daemon goes on."""

    name = "pause_workers"
    ends_daemon = False

    def __init__(self) -> None:
        self._still: list[psutil.Process] = []

    def prepare(self, world: World) -> None:
        """Nothing is needed."""

    def strike(self, world: World) -> str:
        """All of them at once."""
        held_s = world.dice.uniform(*STILL_S)
        for pid in world.daemon.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.suspend()
                self._still.append(process)
        pause(held_s)
        return f"SIGSTOP to {len(self._still)} children for {held_s:.1f} s"

    def mend(self, world: World) -> None:
        """SIGCONT to those that are still there."""
        for process in self._still:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        self._still.clear()
        world.daemon.start()


class PartyAway:
    """Something that the daemon needs is out of reach for a while.

    Args:
        party: Which.
    """

    ends_daemon = False

    def __init__(self, party: Party) -> None:
        self.name = f"{party.name}_away"
        self._party = party

    def prepare(self, world: World) -> None:
        """It is there already."""

    def strike(self, world: World) -> str:
        """Gone, for as long as the work should go on without it."""
        away_s = world.dice.uniform(*AWAY_S)
        self._party.away()
        pause(away_s)
        return f"{self._party.name} away for {away_s:.1f} s"

    def mend(self, world: World) -> None:
        """It is back, with what it held."""
        self._party.back()
        world.daemon.start()


def plain_faults(world: World) -> list[Fault]:
    """All of this module, for the parties of one world."""
    kinds = (KillDaemon, KillStarting, KillWorker, StopDaemon, PauseDaemon, PauseWorkers)
    return [*(kind() for kind in kinds), *(PartyAway(party) for party in world.parties.values())]

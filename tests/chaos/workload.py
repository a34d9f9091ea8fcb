"""All wings at work at once: a thread for each hand, which goes on through every fault until it is told to wind up."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from random import Random

from tests.bench.raw_http import Caller
from tests.chaos.hands import Hand, Person, Submitter
from tests.chaos.hands_data import Filer, Librarian
from tests.chaos.hands_devices import Pipettor, Turner
from tests.chaos.pause import pause
from tests.chaos.port import World
from tests.chaos.told import Told
from tests.chaos.world import STOCK_UL, TRACE

ANSWER_S = 15.0
AGAIN_S = 0.05
JOIN_S = 40.0
REST_S = 180.0
CALM_LOOKS = 2


class Workload:
    """What people, programs and producers do to the daemon.

    Attributes:
        told: What they were answered.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self.told = Told(world.folder / TRACE)
        kinds = (("job", Submitter), ("person", Person), ("move", Turner), ("run", Pipettor), ("file", Filer))
        self._hands: Sequence[Hand] = [
            kind(name, world, self.told, Random(f"{seed} {name}")) for name, kind in (*kinds, ("graph", Librarian))
        ]
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def fill(self) -> None:
        """The first filling of the stock, which everything later is counted from."""
        with Caller(self._world.daemon.socket, ANSWER_S) as caller:
            names = [one["key"] for one in caller.get("/api/v1/inventory")["reservoirs"]]
            caller.post("/api/v1/inventory/initialize", {"volumes_ul": dict.fromkeys(names, STOCK_UL)})

    def start(self) -> None:
        """Begin, or go on after a rest."""
        self.told.at_rest = False
        self._ended.clear()
        for hand in self._hands:
            if isinstance(hand, Filer):
                hand.begin()
        self._threads = [threading.Thread(target=self._live, args=(hand,), daemon=True) for hand in self._hands]
        for thread in self._threads:
            thread.start()

    def halt(self) -> None:
        """Nothing new is asked from now on; what is owed stays owed."""
        self._ended.set()
        for thread in self._threads:
            thread.join(JOIN_S)
            if thread.is_alive():
                self.told.broken.append(f"a client had no answer within {JOIN_S:g} s")
        self._threads = []

    def settle(self, within_s: float = REST_S) -> list[str]:
        """Bring everything to an end that can end; what is left undone after so long, empty if nothing is."""
        deadline = time.monotonic() + within_s
        calm, left = 0, ["nothing was looked at"]
        while time.monotonic() < deadline and calm < CALM_LOOKS:
            try:
                left = self._left()
            except OSError as fault:
                left = [f"the daemon does not answer: {fault}"]
            calm = 0 if left else calm + 1
            pause(AGAIN_S)
        self.told.at_rest = not left
        return [f"not at rest after {within_s:g} s: {each}" for each in left]

    def _left(self) -> list[str]:
        with Caller(self._world.daemon.socket, ANSWER_S) as caller:
            left = []
            for hand in self._hands:
                hand.pay(caller)
                if hand.owed:
                    left.append(f"{hand.name} is owed answers for {sorted(hand.owed)[:5]}")
                if not hand.wind_up(caller):
                    left.append(f"{hand.name} is not done")
            status = caller.get("/api/v1/status")
            going = {state: status["jobs"][state] for state in ("running", "waiting", "cancelling")}
            going["queued"] = sum(queue["queued"] - queue["held"] for queue in status["queues"])
            if any(going.values()):
                left.append(f"jobs: {going}")
        return left

    def _live(self, hand: Hand) -> None:
        while not self._ended.is_set():
            try:
                with Caller(self._world.daemon.socket, ANSWER_S) as caller:
                    while not self._ended.is_set():
                        hand.pay(caller)
                        hand.work(caller)
                        self._ended.wait(hand.every_s)
            except OSError:  # it died, stands still or closes the door, as it should
                self.told.count("cut off")
                self._ended.wait(AGAIN_S)
            except Exception as fault:  # a hand that breaks is a breach, not the end of the others
                self.told.broken.append(f"{hand.name}: {type(fault).__name__}: {fault}")
                self._ended.wait(AGAIN_S)

"""What a lab's program finds in MongoDB against the ledger's movements: each restock once, each level the last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.chaos.checker_jobs import opened
from tests.chaos.pause import pause
from tests.chaos.port import World

ARRIVES_S = 20.0
AGAIN_S = 0.1
PL_IN_UL = 1_000_000


class Mirror:
    """`restock_log` and `inventory` of the simulated stock."""

    name = "MongoDB shows the ledger, each restock once"

    def __init__(self, arrives_s: float = ARRIVES_S) -> None:
        self._arrives_s = arrives_s
        self.figures: Counter[str] = Counter()

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """At rest it must have arrived; what comes in meanwhile is waited for as well."""
        deadline = time.monotonic() + (self._arrives_s if told["at_rest"] else 0.0)
        while True:
            found = self._compare(world, bool(told["at_rest"]))
            if not found or time.monotonic() > deadline:
                return found
            pause(AGAIN_S)

    def _compare(self, world: World, must_be_there: bool) -> list[str]:
        party: Any = world.parties["mongodb"]
        with party.looked_at() as database:
            log = [*database["simulated_restock_log"].find({})]
            levels = {one["color"]: one["volume_ul"] for one in database["simulated_inventory"].find({})}
        with opened(world.daemon.state / "labd.db") as ledger:
            restocks: dict[int, dict[str, float]] = {}
            for operation, name, volume in ledger.execute(
                "SELECT operation, reservoir, volume_pl FROM inventory_movement"
                " WHERE kind = 'restock' AND volume_pl > 0"
            ):
                restocks.setdefault(operation, {})[name] = round(volume / PL_IN_UL, 3)
            due = {
                name: round(level / PL_IN_UL, 3)
                for name, level in ledger.execute(
                    "SELECT reservoir, level_after_pl FROM inventory_movement AS one WHERE ordinal ="
                    " (SELECT max(ordinal) FROM inventory_movement WHERE reservoir = one.reservoir)"
                )
            }
        found = []
        times = Counter(one["movement_id"] for one in log)
        found += [
            f"restock {operation} stands {count} times in MongoDB" for operation, count in times.items() if count > 1
        ]
        for one in log:
            shown = {data["color"]: data["added_ul"] for data in one["restock_data"].values()}
            if restocks.get(one["movement_id"]) != shown:
                known = restocks.get(one["movement_id"])
                found.append(f"restock {one['movement_id']}: MongoDB has {shown}, the ledger {known}")
        if must_be_there:
            missing = sorted(restocks.keys() - times.keys())
            found += [f"{len(missing)} restocks are not in MongoDB: {missing[:10]}"] if missing else []
            found += [
                f"{name}: MongoDB shows {levels.get(name)} ul, the ledger has {level}"
                for name, level in due.items() if levels.get(name) != level
            ]  # fmt: skip
        self.figures["restocks"] = len(times)
        return found

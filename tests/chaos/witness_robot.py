"""The robot's witness is its own record: what it played, and how much each command took."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from tests.bench.witnesses import Lines
from tests.chaos.checker_jobs import opened
from tests.chaos.party_robot import WELLS
from tests.chaos.port import World

PL_IN_UL = 1_000_000
RESERVOIRS = {well: name for name, well in WELLS.items()}


class Runs:
    """No run is started twice; the ledger debits what the robot drew, not more and in the end not less."""

    name = "no run twice, and the volumes that the robot drew"

    def __init__(self) -> None:
        self._lines: Lines | None = None
        self._runs: dict[str, set[str]] = defaultdict(set)
        self._last_action: dict[str, str] = {}
        self._drawn_pl: Counter[str] = Counter()
        self._found: list[str] = []
        self.figures: Counter[str] = Counter()

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """The ledger before the record: what it has debited, the robot had drawn by then."""
        with opened(world.daemon.state / "labd.db") as database:
            debited = dict(
                database.execute(
                    "SELECT reservoir, -sum(volume_pl) FROM inventory_movement JOIN jobs ON jobs.id = job_id"
                    " WHERE kind = 'consumption' AND task = 'ot2.run_protocol' GROUP BY reservoir"
                )
            )
        if self._lines is None:
            self._lines = Lines(world.parties["robot"].record)  # type: ignore[attr-defined]
        for line in self._lines.fresh():
            self._take(line)
        found, self._found = self._found, []
        found += [
            f"{token}: {len(runs)} runs of it were played: {sorted(runs)}"
            for token, runs in self._runs.items() if len(runs) > 1
        ]  # fmt: skip
        for name in WELLS:
            taken, drawn = debited.get(name, 0), self._drawn_pl[name]
            if taken > drawn:
                found.append(f"{name}: {taken} pl were debited for runs, the robot drew {drawn} pl")
            if taken < drawn and told["at_rest"]:
                found.append(f"{name}: the robot drew {drawn} pl, {taken} pl were debited, and everything is at rest")
        return found

    def _take(self, line: Mapping[str, Any]) -> None:
        run = str(line.get("run", ""))
        if line["what"] == "action":
            if line["action"] == "play" and self._last_action.get(run) == "play":
                self._found.append(f"run {run}: play was asked twice")
            self._last_action[run] = line["action"]
        elif line["what"] == "command":
            self.figures["commands"] += 1
            params = line["params"]
            if line["type"] == "comment":
                self._runs[params["message"]].add(run)
                self.figures["runs"] += 1
            elif line["type"] == "aspirate":
                self._drawn_pl[RESERVOIRS[params["wellName"]]] += round(params["volume"] * PL_IN_UL)

"""The restock script of the inventory before labd, on labd: the same functions, the same command lines.

    python -m labctl.orchestrator_restock initialize 15 15 15
    python -m labctl.orchestrator_restock check 5.0
    python -m labctl.orchestrator_restock restock 10 5 8 lab_tech_1
    python -m labctl.orchestrator_restock maintenance [OPERATOR]

Volumes are millilitres. Each function submits a job under the old name and returns its run; `orchestrator.wait(run)`
waits for it, as this script does when it is run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from labctl import exits, orchestrator, render
from labctl.orchestrator import Run
from labctl.terminal import say, tell
from labctl.volumes import microlitres
from labd.errors import BadRequest, LabdError

USAGE = """usage:
  python -m labctl.orchestrator_restock check [THRESHOLD_ML]
  python -m labctl.orchestrator_restock restock RED_ML YELLOW_ML BLUE_ML OPERATOR
  python -m labctl.orchestrator_restock initialize [RED_ML YELLOW_ML BLUE_ML] [--reset REASON]
  python -m labctl.orchestrator_restock maintenance [OPERATOR]"""
LOW_ML = 5.0
MAINTENANCE_ML = 10.0
STEP_UL = 100.0
FULL_ML = 15.0


def submit_restock_job(
    red_ml: float = 0, yellow_ml: float = 0, blue_ml: float = 0, operator: str = "", **more_ml: float
) -> Run:
    """Add so many millilitres; any further colour as `green_ml=5`. The operator's name is required."""
    volumes = {"red_ml": red_ml, "yellow_ml": yellow_ml, "blue_ml": blue_ml, **more_ml}
    return orchestrator.submit("restock-maintenance/restock-maintenance", **_arguments(volumes), operator=operator)


def submit_check_inventory_job(low_threshold_ml: float = 2.0) -> Run:
    """Look what is below so many millilitres."""
    return orchestrator.submit("check-inventory-status/check-inventory-status", low_threshold_ml=low_threshold_ml)


def submit_initialize_inventory_job(
    red_ml: float = FULL_ML,
    yellow_ml: float = FULL_ML,
    blue_ml: float = FULL_ML,
    evaporation_rate: float = 5.0,
    *,
    reset: bool = False,
    reason: str = "",
    **more_ml: float,
) -> Run:
    """Say how many millilitres are there; on stock that exists only with `reset` and a reason."""
    volumes = {"red_ml": red_ml, "yellow_ml": yellow_ml, "blue_ml": blue_ml, **more_ml}
    return orchestrator.submit(
        "initialize-inventory/initialize-inventory", **_arguments(volumes), evaporation_rate=evaporation_rate,
        reset=reset, reason=reason,
    )  # fmt: skip


def run_maintenance_workflow(operator: str = "maintenance_workflow") -> list[Run]:
    """Check, restock 10 ml of each, check again: each step when the one before has ended; a failed one ends it.

    Where 10 ml do not fit, as much as does; where all are full, nothing is restocked.
    """
    runs = [submit_check_inventory_job(LOW_ML)]
    checked = orchestrator.wait(runs[-1])
    if not checked.is_completed():
        return runs
    volumes = _that_fit(checked.result())
    if volumes:
        runs.append(orchestrator.submit("restock-maintenance/restock-maintenance", volumes=volumes, operator=operator))
        if not orchestrator.wait(runs[-1]).is_completed():
            return runs
        runs.append(submit_check_inventory_job(LOW_ML))
    return runs


def _that_fit(found: dict[str, Any]) -> dict[str, float]:
    """Microlitres by reservoir, in whole tenths of a millilitre: what a person fills in."""
    room_ul = {one["key"]: one["capacity_ul"] - one["level_ul"] for one in found["reservoirs"]}
    volumes = {key: min(MAINTENANCE_ML * 1000.0, room // STEP_UL * STEP_UL) for key, room in room_ul.items()}
    return {key: volume_ul for key, volume_ul in volumes.items() if volume_ul > 0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code is labctl's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        runs = _runs_of(words)
        if runs is None:
            tell(USAGE)
            return exits.USAGE
        return _told(runs)
    except LabdError as error:
        from labctl.invocation import tell_error

        return tell_error(error)
    finally:
        orchestrator.close()


def _runs_of(words: list[str]) -> list[Run] | None:
    command, rest = (words[0], words[1:]) if words else ("", [])
    if command == "check" and len(rest) <= 1:
        return [submit_check_inventory_job(_ml(rest[0]) if rest else 2.0)]
    if command == "restock" and 3 <= len(rest) <= 4:
        if len(rest) == 3:
            raise BadRequest("restock: operator missing; say who fills it in as the last word")
        red, yellow, blue = map(_ml, rest[:3])
        return [submit_restock_job(red, yellow, blue, operator=rest[3])]
    if command == "initialize":
        reset, reason = "--reset" in rest, ""
        if reset:
            at = rest.index("--reset")
            reason, rest = " ".join(rest[at + 1 :]), rest[:at]
        if len(rest) in (0, 3):
            volumes = [_ml(word) for word in rest] or [FULL_ML] * 3
            red, yellow, blue = volumes
            return [submit_initialize_inventory_job(red, yellow, blue, reset=reset, reason=reason)]
    if command == "maintenance" and len(rest) <= 1:
        return run_maintenance_workflow(*rest)
    return None


def _told(runs: list[Run]) -> int:
    """Wait for every run and print what it found."""
    code = exits.DONE
    for run in runs:
        state = orchestrator.wait(run)
        if not state.is_completed():
            tell(f"{run.task} {run.id}: {state.message or state.name}")
            return exits.of_job(state.job)
        found: Any = state.result()
        say(render.to_json(found))
        low = bool(isinstance(found, dict) and found.get("warnings"))
        code = exits.ATTENTION if low else exits.DONE
    return code


def _ml(word: str) -> float:
    return microlitres(word) / 1000.0


def _arguments(volumes_ml: dict[str, float]) -> dict[str, float]:
    """`red_ml=10` as `red_volume=10000`; zeros are left out, so that a colour that is not there is no fault."""
    found = {}
    for name, volume_ml in volumes_ml.items():
        if not name.endswith("_ml"):
            raise BadRequest(f"{name}: a volume is given as COLOUR_ml in millilitres, such as red_ml=10")
        if volume_ml != 0:
            found[f"{name.removesuffix('_ml')}_volume"] = round(volume_ml * 1000.0, 6)
    return found


if __name__ == "__main__":
    sys.exit(main())

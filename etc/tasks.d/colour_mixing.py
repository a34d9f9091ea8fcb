"""Tasks of an OT-2 that mixes paints in the wells of a plate and moves a colour sensor over them.

An example to copy into `/etc/labd/tasks.d` and change. The tasks run in the environment `ot2` (opentrons 9.0) in one
sticky worker: its protocol context with deck, pipette and tips lives from job to job. On the robot itself it is that of
`opentrons.execute` (the robot's own server must be stopped), anywhere else opentrons' simulator; COLOUR_CONTEXT =
"execute" or "simulate" in the variables of [env.ot2] decides otherwise, and `simulated = true` there takes the
simulator. Every answer says which.

`mix_color_with_inventory` is `mix_color` on stock that labd keeps: its jobs are refused where a paint is short, and
each paint is debited right before it leaves its tube. Where the robot is the simulator it needs `simulated = true`, so
that real stock stays untouched.

Why a file: what hangs on the pipette and what is in a well outlive any process. A well is on disk as used before the
first drop leaves the tip; a reservation whose process is gone never came so far, and counts for nothing.
Why all of it in one file: labd records and pins the code of a job by the hash of its task's file.
Why nothing moves after a failure or a cancel: somebody may have a hand in there. The next job tidies up first.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from labd import consume, current_job_id, log, progress, task

SUM_LIMIT_UL = 300
PIPETTE, MOUNT, ACCURATE_FROM_UL = "p300_single_gen2", "right", 20
PLATE, PLATE_SLOT = "corning_96_wellplate_360ul_flat", 1
TIPS, TIPS_SLOT = "opentrons_96_tiprack_300ul", 9
PAINTS, PAINTS_SLOT = "lab_6_tuberack_15000ul", 3
DOCK, DOCK_SLOT = "lab_color_sensor_dock", 10
TUBE = {"R": "B1", "Y": "B2", "B": "B3", "G": "A1"}
STOCK = {"R": "red", "Y": "yellow", "B": "blue", "G": "green"}  # what the inventory calls them
TIP = {"R": "A1", "Y": "B1", "B": "C1", "G": "D1"}  # each paint has its own, put back after use: it touches no other
SENSOR, SENSOR_PLACE = "sensor", "D6"  # in its dock, a tip rack for opentrons: tips are taken from such only
SENSOR_OVER_WELL_MM = 2.0
API_LEVEL = "2.15"
WELLS = [f"{row}{column}" for row in "ABCDEFGH" for column in range(1, 13)]
HERE = Path(__file__).resolve().parent
STATE_FOLDER = Path.cwd()  # the working folder of labd's workers, in its state folder


def simulated() -> bool:
    """Whether the robot is opentrons' simulator."""
    declared = declared_simulated()
    on_robot = "RUNNING_ON_PI" in os.environ and not declared
    chosen = os.environ.get("COLOUR_CONTEXT", "execute" if on_robot else "simulate")
    if chosen not in ("execute", "simulate"):
        raise ValueError(f"COLOUR_CONTEXT is {chosen!r}; say execute or simulate in the variables of [env.ot2]")
    if chosen == "execute" and declared:
        raise ValueError("COLOUR_CONTEXT is 'execute' and [env.ot2] has simulated = true; take one of them out")
    return chosen == "simulate"


def declared_simulated() -> bool:
    """Whether labd takes the jobs of this environment for simulated ones."""
    return os.environ.get("LABD_SIMULATED") == "1"


def mixture(**parts_ul: float) -> dict[str, float]:
    """The paints that are wanted, in the order they are given; paints of 0 are left out.

    Raises:
        ValueError: Negative, nothing at all, or more than a well may take.
    """
    told = " + ".join(f"{paint} {volume:g}" for paint, volume in parts_ul.items())
    if any(not 0 <= volume <= 1e6 for volume in parts_ul.values()):  # also NaN
        raise ValueError(f"{told} ul: a volume is 0 or more")
    total = sum(parts_ul.values())
    if total > SUM_LIMIT_UL:
        raise ValueError(f"{told} = {total:g} ul; a well takes at most {SUM_LIMIT_UL} ul; lower the paints")
    if total == 0:
        raise ValueError(f"{told} = 0 ul; there is nothing to mix")
    return {paint: volume for paint, volume in parts_ul.items() if volume > 0}


def checked_well(name: str) -> str:
    """The well of this name.

    Raises:
        ValueError: The plate has none.
    """
    if name not in WELLS:
        raise ValueError(f"{name!r} is no well of {PLATE}; its wells are A1 to H12")
    return name


class Ledger:
    """The wells of the plate and what hangs on the pipette, on disk with each change.

    Args:
        path: A JSON file: `wells` {name: {"state", "job", "holder", "parts_ul"}}, `holding` {"what", "job", "holder"}.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder = f"{os.getpid()}:{_started(os.getpid())}"

    def read(self) -> dict[str, Any]:
        """As it stands, without reservations of processes that are gone."""
        try:
            found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"wells": {}, "holding": None}
        kept = {name: one for name, one in found["wells"].items() if one["state"] == "used" or _alive(one["holder"])}
        return {**found, "wells": kept}

    def _write(self, state: dict[str, Any]) -> None:
        draft = self._path.with_suffix(".part")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _put(self, well: str, state: str, **more: Any) -> None:
        ledger = self.read()
        ledger["wells"][well] = {"state": state, "job": current_job_id(), "holder": self._holder, **more}
        self._write(ledger)

    def reserve(self, well: str) -> None:
        """Keep an empty well for this job.

        Raises:
            ValueError: It is used or reserved, with the job.
        """
        there = self.read()["wells"].get(well)
        if there is not None:
            free = next((name for name in WELLS if name not in self.read()["wells"]), None)
            step = f"{free} is empty" if free else "put a new plate on and say so: `labctl task run new_plate`"
            raise ValueError(f"well {well} is {there['state']} by job {there['job']}; {step}")
        self._put(well, "reserved")

    def use(self, well: str, parts_ul: dict[str, float]) -> None:
        """The next thing that happens is a drop into this well."""
        self._put(well, "used", parts_ul=parts_ul)

    def give_back(self, well: str) -> None:
        """Nothing came into it; a used well stays used."""
        ledger = self.read()
        if ledger["wells"].get(well, {}).get("state") == "reserved":
            del ledger["wells"][well]
            self._write(ledger)

    def hold(self, what: str | None) -> None:
        """What the pipette is about to take, or None when it is free again."""
        entry = None if what is None else {"what": what, "job": current_job_id(), "holder": self._holder}
        self._write({**self.read(), "holding": entry})

    def forget_wells(self) -> int:
        """A new plate: all wells are empty; returns how many were not."""
        ledger = self.read()
        self._write({**ledger, "wells": {}})
        return len(ledger["wells"])

    def held(self) -> tuple[str, int, bool] | None:
        """What hangs on the pipette, since which job, and whether this very process took it."""
        entry = self.read()["holding"]
        return None if entry is None else (entry["what"], entry["job"], entry["holder"] == self._holder)


def _started(pid: int) -> str:
    """When a process began, in ticks since boot: with its number it names one process for good; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _alive(holder: str) -> bool:
    pid, _, started = holder.partition(":")
    return _started(int(pid)) == started != ""


class Bench:
    """Deck and pipette of one protocol context, which lasts as long as the worker."""

    def __init__(self, ledger: Ledger) -> None:
        os.environ.setdefault("OT_API_CONFIG_DIR", str(STATE_FOLDER / "opentrons"))
        self.simulated = simulated()
        if self.simulated:
            from opentrons.simulate import get_protocol_api
        else:
            from opentrons.execute import get_protocol_api
        self.ledger = ledger
        self.mixes = 0
        self.debited = False  # what is in the tip was taken from stock, and none of it has left the tip
        context = get_protocol_api(API_LEVEL)
        context.home()
        self.plate = context.load_labware(PLATE, PLATE_SLOT)
        self.tips = context.load_labware(TIPS, TIPS_SLOT)
        self.paints = context.load_labware_from_definition(_definition(PAINTS), PAINTS_SLOT)
        self.dock = context.load_labware_from_definition(_definition(DOCK), DOCK_SLOT)
        self.pipette = context.load_instrument(PIPETTE, MOUNT, tip_racks=[self.tips])
        log(f"{'simulated ' if self.simulated else ''}OT-2 is ready: {PIPETTE}, plate in slot {PLATE_SLOT}")

    def aspirate(self, paint: str, volume_ul: float, debits: bool) -> None:
        """Take a paint up; with `debits` the stock has less of it before it leaves its tube."""
        if debits:
            consume({STOCK[paint]: volume_ul})
            self.debited = True
        self.pipette.aspirate(volume_ul, self.paints[TUBE[paint]])

    def dispense(self, volume_ul: float, well: str) -> None:
        """All of it into a well; one that fails may have left any part of it there."""
        self.debited = False
        self.pipette.dispense(volume_ul, self.plate[well].top())
        self.pipette.blow_out(self.plate[well].top())

    def take(self, what: str) -> None:
        """A paint's tip, or the sensor."""
        self.ledger.hold(what)
        self.pipette.pick_up_tip(self._place(what))

    def put_back(self, what: str) -> None:
        """The pipette is free after it; paint that is still in the tip goes back into its tube, and into the stock."""
        left_ul = self.pipette.current_volume if what in TUBE else 0.0
        if left_ul:
            self.pipette.blow_out(self.paints[TUBE[what]].top())
        self.pipette.drop_tip(self._place(what))
        self.ledger.hold(None)
        debited, self.debited = self.debited, False
        if left_ul and debited:
            consume({STOCK[what]: -left_ul})

    def _place(self, what: str) -> Any:
        return self.dock[SENSOR_PLACE] if what == SENSOR else self.tips[TIP[what]]

    def tidy(self) -> str | None:
        """Put back the tip of a job that failed; returns SENSOR where the sensor hangs on the pipette.

        Raises:
            RuntimeError: Something may hang there that this context knows nothing of.
        """
        held = self.ledger.held()
        if held is None:
            return None
        what, job, own = held
        if not own or not self.pipette.has_tip:
            name = "the sensor" if what == SENSOR else f"the tip of {what}"
            raise RuntimeError(
                f"the pipette may still hold {name} since job {job}, which was cut off; look, put it back by hand, "
                f"then say so: `labctl task run pipette_cleared`"
            )
        if what == SENSOR:
            return SENSOR
        log(f"putting back the tip of {what}, which job {job} left on the pipette")
        self.put_back(what)
        return None


_benches: list[Bench] = []  # one at most: the context of this worker


def _definition(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "labware" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _ledger() -> Ledger:
    return Ledger(STATE_FOLDER / f"colour-mixing{'-simulated' if simulated() else ''}.json")


def bench() -> Bench:
    """The bench, set up with the first job."""
    if not _benches:
        _benches.append(Bench(_ledger()))
    return _benches[0]


def mix(parts_ul: dict[str, float], well: str, debits: bool) -> dict[str, Any]:
    """Mix paints in a well of the plate; with `debits` on stock that labd keeps."""
    here = bench()
    if here.tidy() == SENSOR:
        raise RuntimeError("the pipette holds the sensor; `labctl task run move_sensor_back` first")
    small = [f"{paint} {volume:g}" for paint, volume in parts_ul.items() if volume < ACCURATE_FROM_UL]
    if small:
        log(f"{', '.join(small)} ul: {PIPETTE} is accurate from {ACCURATE_FROM_UL} ul only", "warning")
    here.ledger.reserve(well)
    try:
        for number, (paint, volume) in enumerate(parts_ul.items()):
            progress(number, len(parts_ul), f"{volume:g} ul of {paint} into {well}")
            here.take(paint)
            here.aspirate(paint, volume, debits)
            if number == 0:
                here.ledger.use(well, parts_ul)
            here.dispense(volume, well)
            here.put_back(paint)
    finally:
        here.ledger.give_back(well)
    here.mixes += 1
    progress(len(parts_ul), len(parts_ul), f"{well} is mixed")
    return {
        "well": well, "parts_ul": parts_ul, "total_ul": sum(parts_ul.values()), "mixes_of_this_context": here.mixes,
        "simulated": here.simulated,
    }  # fmt: skip


@task(
    env="ot2", affinity="ot2", effect="physical", resources=["ot2:main"],
    bounds=dict.fromkeys("RYBG", (0, SUM_LIMIT_UL)),
)  # fmt: skip
def mix_color(R: float, Y: float, B: float, mix_well: str, G: float = 0) -> dict[str, Any]:  # noqa: N803
    """Mix red, yellow, blue and green (ul, together at most 300) in an empty well of the plate."""
    return mix(mixture(R=R, Y=Y, B=B, G=G), checked_well(mix_well), debits=False)


@task(
    env="ot2", affinity="ot2", effect="physical", resources=["ot2:main"], queue="high-priority", priority=1,
    bounds=dict.fromkeys("RYBG", (0, SUM_LIMIT_UL)), consumes={stock: paint for paint, stock in STOCK.items()},
)  # fmt: skip
def mix_color_with_inventory(R: float, Y: float, B: float, mix_well: str, G: float = 0) -> dict[str, Any]:  # noqa: N803
    """Mix as `mix_color` does, on stock that labd keeps; refused where a paint is short."""
    if simulated() and not declared_simulated():
        raise RuntimeError(
            "the robot is opentrons' simulator here, and real stock would be debited: say simulated = true in "
            "[env.ot2], or run this on the robot"
        )
    return mix(mixture(R=R, Y=Y, B=B, G=G), checked_well(mix_well), debits=True)


@task(env="ot2", affinity="ot2", effect="physical", resources=["ot2:main"])
def move_sensor_to_measurement_position(mix_well: str) -> dict[str, Any]:
    """Hold the colour sensor over a well; it stays there until `move_sensor_back`."""
    well, here = checked_well(mix_well), bench()
    if here.tidy() != SENSOR:
        here.take(SENSOR)
    here.pipette.move_to(here.plate[well].top(SENSOR_OVER_WELL_MM))
    return {"sensor": well, "simulated": here.simulated}


@task(env="ot2", affinity="ot2", effect="physical", resources=["ot2:main"])
def move_sensor_back() -> dict[str, Any]:
    """Put the colour sensor into its dock; does nothing where it is there."""
    here = bench()
    if here.tidy() == SENSOR:
        here.put_back(SENSOR)
    return {"sensor": "dock", "simulated": here.simulated}


@task(env="ot2")
def wells() -> dict[str, Any]:
    """The wells of the plate: which are empty, used (with job and paints) and reserved; asks no robot."""
    there = _ledger().read()["wells"]
    told = {name: {key: one[key] for key in ("job", "parts_ul") if key in one} for name, one in there.items()}
    used = {name: told[name] for name, one in there.items() if one["state"] == "used"}
    reserved = {name: told[name] for name in told.keys() - used.keys()}
    empty = [name for name in WELLS if name not in there]
    return {"empty": empty, "used": used, "reserved": reserved, "simulated": simulated()}


@task(env="ot2", affinity="ot2", resources=["ot2:main"])
def new_plate() -> dict[str, Any]:
    """A person has put an empty plate on: all wells are empty."""
    return {"wells_forgotten": _ledger().forget_wells(), "simulated": simulated()}


@task(env="ot2", affinity="ot2", resources=["ot2:main"])
def pipette_cleared() -> dict[str, Any]:
    """A person has looked: nothing hangs on the pipette, tip or sensor are back in their place."""
    ledger = _ledger()
    held = ledger.held()
    ledger.hold(None)
    _benches.clear()  # a context that believed otherwise would go on doing so; the next job homes and begins anew
    return {"was_held": None if held is None else held[0], "simulated": simulated()}

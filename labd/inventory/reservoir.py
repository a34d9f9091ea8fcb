"""A reservoir as it is set up, as it stands, and what moved in it: the words of the ledger at its face.

Volumes are microlitres here, rounded to 0.001; inside the ledger they are whole picolitres.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec

from labd.clock import from_iso

Kind = Literal["restock", "consumption", "evaporation", "adjustment", "reservation", "release"]
Lid = Literal["open", "closed"]
KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}", re.IGNORECASE)
DEFAULT_RATE_UL_PER_HOUR = 5.0
DEFAULT_CLOSED_RATE_UL_PER_HOUR = 0.5
CAPACITY_LIMIT_UL = 1e9  # a cubic metre: beyond it a number is a slip, and picolitres would leave 64 bits


class ReservoirSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a reservoir is set up.

    Args:
        key: Its name, once on the host; letters, digits, `_`, `.` and `-`.
        position: On the deck, such as `B1`; with the slot `3/B1`.
        device, slot, well: Where a protocol finds it, for stock checking of protocol files.
        lid: `closed` uses `closed_rate_ul_per_hour`.
        threshold_ul, low_ul: None takes those of the wing.
        expires_at: ISO 8601 date or instant, or empty.
    """

    key: str
    color: str
    position: str = ""
    device: str = ""
    slot: str = ""
    well: str = ""
    location: str = ""
    capacity_ul: float = 15000.0
    dead_volume_ul: float = 0.0
    evaporation_rate_ul_per_hour: float = DEFAULT_RATE_UL_PER_HOUR
    lid: Lid = "open"
    closed_rate_ul_per_hour: float = DEFAULT_CLOSED_RATE_UL_PER_HOUR
    lot: str = ""
    expires_at: str = ""
    threshold_ul: float | None = None
    low_ul: float | None = None

    def __post_init__(self) -> None:
        for problem in _problems_of(self):
            raise ValueError(problem)

    @property
    def rate_in_force_ul_per_hour(self) -> float:
        """What evaporates with the lid as it is."""
        return self.evaporation_rate_ul_per_hour if self.lid == "open" else self.closed_rate_ul_per_hour

    @property
    def wells(self) -> tuple[str, ...]:
        """The name under which a protocol means it: `device/slot/well`; without a device it stands for that of any."""
        if not self.well or not self.slot:
            return ()
        return (f"{self.device}/{self.slot}/{self.well}".lower(),)


class ReservoirView(msgspec.Struct, kw_only=True):
    """A reservoir as it stands now; `level_ul` has what evaporated up to this moment taken off."""

    key: str
    color: str
    position: str
    device: str
    slot: str
    well: str
    location: str
    capacity_ul: float
    dead_volume_ul: float
    evaporation_rate_ul_per_hour: float
    lid: Lid
    closed_rate_ul_per_hour: float
    lot: str
    expires_at: str
    threshold_ul: float
    low_ul: float
    initialized: bool
    level_ul: float
    reserved_ul: float
    available_ul: float
    deficit_ul: float
    low: bool
    evaporated_rate_in_force_ul_per_hour: float
    last_updated: str
    simulated: bool


class MovementView(msgspec.Struct, kw_only=True):
    """One movement. `operation` is the id of the first movement of the same act."""

    id: int
    reservoir: str
    color: str
    kind: Kind
    at: str
    volume_ul: float
    before_ul: float
    after_ul: float
    reserved_before_ul: float
    reserved_after_ul: float
    actor: str
    cause: str
    job_id: int | None
    step: str | None
    operation: int
    details: dict[str, Any]


class MeasurementView(msgspec.Struct, kw_only=True):
    """A level that a person read, and the one computed for that moment; `ledger_s` is the ledger's time."""

    id: int
    reservoir: str
    at: str
    ledger_s: float
    level_ul: float
    computed_ul: float
    actor: str


class MovementFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which movements. `before` and `after` are ids, `since` and `until` ISO 8601."""

    reservoir: str | None = None
    kind: Kind | None = None
    job_id: int | None = None
    actor: str | None = None
    operation: int | None = None
    since: str | None = None
    until: str | None = None
    before: int | None = None
    after: int | None = None
    oldest_first: bool = False
    limit: int = 100


def _problems_of(spec: ReservoirSpec) -> list[str]:
    """Rules over the values, the first of which is told."""
    if not KEY.fullmatch(spec.key):
        return [f"key: {spec.key!r} is no name of a reservoir; letters, digits, _ . and -, at most 64"]
    if not spec.color.strip():
        return [f"color: reservoir {spec.key} needs a colour or content"]
    numbers = {name: getattr(spec, name) for name in _NUMBERS}
    for name, value in numbers.items():
        if value is not None and not (math.isfinite(value) and 0 <= value <= CAPACITY_LIMIT_UL):
            return [f"{name}: {value:g} is not between 0 and {CAPACITY_LIMIT_UL:g}"]
    if spec.capacity_ul <= 0:
        return [f"capacity_ul: {spec.capacity_ul:g} ul holds nothing; reservoir {spec.key} needs more than 0"]
    if spec.dead_volume_ul >= spec.capacity_ul:
        text = f"{spec.dead_volume_ul:g} ul of reservoir {spec.key} leaves nothing of its capacity"
        return [f"dead_volume_ul: {text} of {spec.capacity_ul:g} ul"]
    try:
        expiry(spec.expires_at)
    except ValueError:
        return [f"expires_at: {spec.expires_at!r} of reservoir {spec.key} is no date such as 2027-03-31"]
    return []


def expiry(text: str) -> float | None:
    """Seconds since 1970 of a date (its first moment, UTC) or an instant; None for empty: it never expires.

    Raises:
        ValueError: Neither.
    """
    return from_iso(text if "T" in text else f"{text}T00:00:00Z") if text else None


_NUMBERS = (
    "capacity_ul", "dead_volume_ul", "evaporation_rate_ul_per_hour", "closed_rate_ul_per_hour", "threshold_ul",
    "low_ul",
)  # fmt: skip

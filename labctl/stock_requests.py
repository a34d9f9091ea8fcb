"""Every request of the inventory, as a value: one table for the blocking and the asynchronous client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from labctl.refusals import error_of
from labctl.routes import Request, get, given, part, post, put
from labctl.volumes import MOST_UL
from labd.errors import BadVolume

ROOT = "/inventory"


def overview() -> Request:
    """All reservoirs."""
    return get(ROOT)


def initialize(
    volumes_ul: Mapping[str, float],
    operator: str | None,
    reset: bool,
    reason: str,
    evaporation_rate_ul_per_hour: float | None,
) -> Request:
    """First filling, or a reset."""
    body = {"volumes_ul": finite(volumes_ul), "reset": reset, "reason": reason}
    more = given(operator=operator, evaporation_rate_ul_per_hour=evaporation_rate_ul_per_hour)
    return post(f"{ROOT}/initialize", {**body, **more})


def restock(volumes_ul: Mapping[str, float], operator: str, cause: str, lot: str) -> Request:
    """More of it."""
    body = {"volumes_ul": finite(volumes_ul), "operator": operator, "cause": cause, "lot": lot}
    return post(f"{ROOT}/restock", body)


def measure(reservoir: str, level_ul: float, operator: str | None) -> Request:
    """A level that was read."""
    level_ul = finite({reservoir: level_ul})[reservoir]
    return post(f"{ROOT}/measure", {"reservoir": reservoir, "level_ul": level_ul, **given(operator=operator)})


def adjust(reservoir: str, change_ul: float, reason: str, operator: str | None) -> Request:
    """A correction."""
    body = {"reservoir": reservoir, "change_ul": finite({reservoir: change_ul})[reservoir], "reason": reason}
    return post(f"{ROOT}/adjust", {**body, **given(operator=operator)})


def lid(reservoir: str, state: str, operator: str | None) -> Request:
    """Open or closed."""
    return post(f"{ROOT}/lid", {"reservoir": reservoir, "lid": state, **given(operator=operator)})


def check(low_threshold_ul: float | None) -> Request:
    """What is low."""
    return get(f"{ROOT}/check", low_threshold_ul=None if low_threshold_ul is None else f"{low_threshold_ul:.15g}")


def availability(required_ul: Mapping[str, float], threshold_ul: float | None) -> Request:
    """Whether a job with these volumes would be accepted."""
    limits = finite({} if threshold_ul is None else {"threshold": threshold_ul})
    body = {"required_ul": finite(required_ul), **given(threshold_ul=limits.get("threshold"))}
    return post(f"{ROOT}/availability", body)


def history(
    reservoir: str | None,
    kind: str | None,
    job: int | None,
    since: str | None,
    until: str | None,
    before: int | None,
    limit: int | None,
) -> Request:
    """A page of movements, newest first."""
    return get(
        f"{ROOT}/history",
        reservoir=reservoir, kind=kind, job=job, since=since, until=until, before=before, limit=limit,
    )  # fmt: skip


def fit(reservoir: str) -> Request:
    """What the measured levels tell of the evaporation."""
    return get(f"{ROOT}/reservoirs/{part(reservoir)}/fit")


def add_reservoir(spec: Mapping[str, Any]) -> Request:
    """A new reservoir."""
    return post(f"{ROOT}/reservoirs", dict(spec))


def edit_reservoir(reservoir: str, changes: Mapping[str, Any]) -> Request:
    """Other facts of a reservoir; what is left out stays."""
    return put(f"{ROOT}/reservoirs/{part(reservoir)}", dict(changes))


def remove_reservoir(reservoir: str, reason: str, operator: str | None) -> Request:
    """Take a reservoir out of use; its movements stay."""
    return post(f"{ROOT}/reservoirs/{part(reservoir)}/remove", {"reason": reason, **given(operator=operator)})


def import_document(document: Mapping[str, Any], operator: str, reason: str) -> Request:
    """Bring all reservoirs to the levels of an export."""
    return post(f"{ROOT}/import", {"document": dict(document), "operator": operator, "reason": reason})


def finite(volumes_ul: Mapping[str, float]) -> dict[str, float]:
    """The volumes as they are: JSON has no word for those that are no number, so they are refused here.

    Raises:
        BadVolume: NaN or infinite.
    """
    for name, volume_ul in volumes_ul.items():
        if not math.isfinite(volume_ul):
            raise BadVolume(
                f"{name} {volume_ul} ul: must be a finite number, at most {MOST_UL:g} ul", value=str(volume_ul)
            )
    return dict(volumes_ul)


def required(volumes: Mapping[str, float]) -> dict[str, float]:
    """As `by_color`, without the zeros."""
    return {name: volume_ul for name, volume_ul in by_color(volumes).items() if volume_ul != 0}


def refuse_if_short(answer: Mapping[str, Any]) -> None:
    """The refusal that a job with these volumes would get.

    Raises:
        InsufficientStock, InventoryNotInitialized: With the same words.
    """
    refusal = answer.get("refusal")
    if refusal:
        raise error_of(str(refusal["code"]), str(refusal["message"]), dict(refusal.get("details") or {}))


def by_color(volumes: Mapping[str, float]) -> dict[str, float]:
    """`red_volume=100` as `{"red": 100}`, zeros too.

    Raises:
        BadVolume: A name that does not end in `_volume`.
    """
    wrong = [name for name in volumes if not name.endswith("_volume")]
    if wrong:
        raise BadVolume(f"{wrong[0]}: a volume is given as COLOUR_volume in ul, such as red_volume=100")
    return {name.removesuffix("_volume"): float(volume) for name, volume in volumes.items()}


def color_key(reservoir: str) -> str:
    """R, Y and B for the colours that had these letters before; every other reservoir has its own key."""
    return {"red": "R", "yellow": "Y", "blue": "B"}.get(reservoir, reservoir)

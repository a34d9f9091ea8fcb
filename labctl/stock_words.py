"""The sentences and tables for answers of the inventory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.render import instant, plain_table, printable
from labctl.volumes import shown

Json = Mapping[str, Any]
SHOWN = ["reservoir", "color", "position", "level", "reserved", "available", "evaporates", "state"]
MOVEMENTS = [
    *("id", "at", "reservoir", "kind", "volume_ul", "before_ul", "after_ul", "reserved_before_ul"),
    *("reserved_after_ul", "actor", "cause", "job_id", "step", "operation"),
]


def rows(overview: Json) -> list[list[str]]:
    """One row a reservoir, under `SHOWN`."""
    return [
        [
            one["key"],
            one["color"],
            one["position"],
            shown(one["level_ul"]) if one["initialized"] else "-",
            shown(one["reserved_ul"]),
            shown(one["available_ul"]) if one["initialized"] else "-",
            f"{one['evaporated_rate_in_force_ul_per_hour']:g} ul/h",
            state(one),
        ]
        for one in overview["reservoirs"]
    ]


def state(one: Json) -> str:
    """What a person should know first of a reservoir."""
    if not one["initialized"]:
        return "not initialized"
    if one["deficit_ul"] > 0:
        return f"DEFICIT of {shown(one['deficit_ul'])}"
    if one["level_ul"] - one["dead_volume_ul"] <= 0:
        return "EMPTY"
    words = ["low"] if one["low"] else []
    if one["lid"] == "closed":
        words.append("lid closed")
    return ", ".join(words) or "ok"


def overview(answer: Json) -> str:
    """`labctl inventory show`."""
    head = "simulated stock, no real paint\n" if answer.get("simulated") else ""
    found = rows(answer)
    return head + (plain_table(SHOWN, found) if found else "no reservoirs; `labctl inventory reservoir add`")


def check(answer: Json) -> str:
    """`labctl inventory check`."""
    lines = [f"{one['key']}: {shown(one['level_ul'])}{_verdict(one)}" for one in answer["reservoirs"]]
    lines += [f"! {text}" for text in answer["warnings"]]
    lines += [f"  next: {text}" for text in answer["recommendations"]]
    return printable_lines([*lines, answer["overall_status"]])


def _verdict(one: Json) -> str:
    return ", ok" if one["verdict"] == "adequate" else f", {one['verdict'].upper().replace('_', ' ')}"


def movements(answer: Json) -> str:
    """What an act has done: one line a movement that changed a level."""
    lines = []
    for one in answer["movements"]:
        if one["kind"] == "evaporation":
            continue
        sign = "+" if one["volume_ul"] >= 0 else "-"
        change = f"{sign}{shown(abs(one['volume_ul']))}"
        lines.append(
            f"{one['reservoir']}: {one['kind']} {change}, {shown(one['before_ul'])} -> {shown(one['after_ul'])}"
        )
    return printable_lines(lines or ["nothing changed"])


def movement_rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """Rows under `MOVEMENTS`; volumes as numbers, so that a spreadsheet can add them."""
    return [[text_of(one.get(name)) for name in MOVEMENTS] for one in found]


def text_of(value: Any) -> str:
    """One cell; three decimals at most, so that nothing is lost and nothing is invented."""
    if value is None:
        return ""
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def forecast(answer: Json) -> str:
    """`labctl inventory forecast`."""
    found = [
        [
            one["reservoir"],
            _when(one["expected"]),
            f"{_when(one['soonest'])} .. {_when(one['latest'])}",
            _job(one),
            f"{one['evaporation_ul_per_hour']:.3g} ul/h ({one['evaporation_basis']})",
            f"{one['use_ul_per_hour']:.3g} ul/h",
        ]
        for one in answer["reservoirs"]
    ]
    lines = [plain_table(["reservoir", "runs out", "band", "during", "evaporates", "used"], found)]
    lines += [f"{name}: not initialized" for name in answer["not_initialized"]]
    return "\n".join(lines)


def _when(run_out: Json) -> str:
    return instant(run_out["at"])[:-4] + "Z" if run_out["at"] else "not within 10 years"


def _job(one: Json) -> str:
    for name in ("expected", "soonest"):
        job = one[name]
        if job["job_id"] is not None:
            told = "" if name == "expected" else " at the soonest"
            return f"job {job['job_id']} {job['task']}, {shown(job['missing_ul'])} short{told}"
    return "no queued job"


def fit(answer: Json) -> str:
    """What measured levels tell of the evaporation."""
    name, found = answer["reservoir"], answer["fit"]
    if found["rate_ul_per_hour"] is None:
        text = f"{name}: {found['readings']} measured level(s); a rate needs two of one filling"
    elif found["low_ul_per_hour"] is None:
        text = f"{name}: evaporates {found['rate_ul_per_hour']:.3g} ul/h by 2 measured levels; a band needs three"
    else:
        text = (
            f"{name}: evaporates {found['rate_ul_per_hour']:.3g} ul/h, 95 % band {found['low_ul_per_hour']:.3g} to "
            f"{found['high_ul_per_hour']:.3g}, by {found['readings']} measured levels"
        )
    text += f"; in force are {found['rate_in_force_ul_per_hour']:g} ul/h"
    if found["drift_ul"] is not None:
        text += f"; the last level read was {abs(found['drift_ul']):.1f} ul "
        text += "above" if found["drift_ul"] > 0 else "below"
        text += " the computed one"
    if found["is_significant"]:
        rate = f"{found['rate_ul_per_hour']:.3g}"
        text += f"\n  next: labctl inventory reservoir edit {name} --evaporation-rate {rate}"
    return printable_lines(text.splitlines())


def shortages(details: Json) -> list[str]:
    """Why a job was refused although the available volume may look like enough: the threshold counts too."""
    lines = []
    for one in details.get("short") or []:
        if "missing_ul" in one:
            most_ul = _down(max(0.0, one["available_ul"] - one["threshold_ul"]))
            lines.append(
                f"{one['reservoir']}: {shown(one['threshold_ul'])} must remain, so at most {shown(most_ul)} can be "
                f"taken; {shown(-_down(-one['missing_ul']))} are missing"
            )
    return [printable(line) for line in lines]


def _down(volume_ul: float) -> float:
    """The next lower volume that `shown` shows as it is: by rounding, nothing would be missing of 45.004 in 45.0."""
    step = 100 if abs(volume_ul) < 1000.0 else 10_000
    return round(volume_ul * 1000.0) // step * step / 1000.0


def verified(answer: Json) -> str:
    """`labctl inventory verify`."""
    if answer["ok"]:
        return f"{answer['movements']} movements replayed from zero: every balance and every reservation agrees"
    return printable_lines([f"{answer['movements']} movements replayed; NOT in agreement:", *answer["problems"]])


def printable_lines(lines: list[str]) -> str:
    """Lines without control characters of their own."""
    return "\n".join(printable(line) for line in lines)

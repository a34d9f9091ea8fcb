"""Cron in a time zone: the next real instant at which five fields match the wall clock.

Why not cronsim's own time-zone mode: cronsim says which wall-clock minutes match, but walks zones in whole hours and so
loses runs where daylight saving shifts by half an hour (Lord Howe). Here the walk goes from one change of the UTC
offset to the next, so any shift is right, and the rule for the two odd hours of the year is written down once:

- minute and hour both given (`30 2 * * *`): one run for each wall-clock time. A time that the spring change leaves out
  runs at the moment of the change; a time that comes twice in autumn runs the first time.
- minute or hour a star (`*/15 * * * *`, `0 * * * *`): real time goes on evenly. Left-out times do not run, repeated
  ones run again, so the distance between runs stays what the fields say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall-clock times carry no zone here
_SECOND = timedelta(seconds=1)
_DAY_S = 86_400


class CronFault(ValueError):
    """Fields that cannot be read, or that match no day of the next 50 years."""


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The IANA time zone of that name; UTC needs no time-zone data on the host.

    Raises:
        ValueError: No such zone.
    """
    if name in {"UTC", "Etc/UTC", "Z"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"no time zone is named {name}") from None


def check_fields(expression: str) -> str:
    """The expression with macros such as `@daily` written out.

    Raises:
        CronFault: Not five fields, a value out of its range, or never a match.
    """
    text = MACROS.get(expression.strip().lower(), expression.strip())
    count = len(text.split())
    if count != 5:
        raise CronFault(f"{count} fields; it takes 5: minute hour day-of-month month day-of-week")
    try:
        if _next_match(text, _EPOCH) is None:
            raise CronFault("no day of the next 50 years matches")
    except CronSimError as fault:
        raise CronFault(str(fault)) from None
    return text


def next_cron(expression: str, timezone: str, instant: float) -> float | None:
    """The first match after `instant` (seconds since 1970), None if 50 years have none."""
    text = MACROS.get(expression.strip().lower(), expression.strip())
    zone_of = zone(timezone)
    minute, hour = text.split()[:2]
    once_per_wall_time = not minute.startswith("*") and not hour.startswith("*")
    at = instant
    offset_s = _offset_s(zone_of, at)
    wall = _wall(at, offset_s)
    while True:
        match = _next_match(text, wall)
        if match is None:
            return None
        found = (match - _EPOCH).total_seconds() - offset_s
        turn = _first_turn(zone_of, at, found)
        if turn is None:
            if not once_per_wall_time or match.replace(tzinfo=zone_of, fold=0).timestamp() >= found:
                return found
            wall = match  # the second time this autumn; it ran the first time
            continue
        # `found` belongs to an offset that ends at `turn`, and nothing matches before `turn`.
        offset_s = _offset_s(zone_of, turn)
        after = _wall(turn, offset_s)
        if once_per_wall_time and match < after:
            return float(turn)
        at, wall = float(turn), after - _SECOND


def _next_match(expression: str, wall: datetime) -> datetime | None:
    """The first matching wall-clock time after `wall`, blind to time zones."""
    return next(CronSim(expression, wall), None)


def _offset_s(zone_of: tzinfo, instant: float) -> int:
    offset = datetime.fromtimestamp(instant, zone_of).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def _wall(instant: float, offset_s: int) -> datetime:
    return _EPOCH + timedelta(seconds=int(instant // 1) + offset_s)


def _first_turn(zone_of: tzinfo, start: float, end: float) -> int | None:
    """The first whole second in (start, end] from which another offset holds."""
    if zone_of is UTC:
        return None
    low, last = int(start // 1), int(end // 1)
    offset_s = _offset_s(zone_of, low)
    while low < last:
        high = min(low + _DAY_S, last)
        if _offset_s(zone_of, high) == offset_s:
            low = high
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if _offset_s(zone_of, middle) == offset_s:
                low = middle
            else:
                high = middle
        return high
    return None

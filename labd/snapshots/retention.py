"""Which databases may go: a rule over values. What `--dry-run` lists is this plan, and the real run follows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Version:
    """A database that labd made for a customer.

    Args:
        number: The timestamp as a number; the newest is the largest.
        state: Of its snapshot.
        transactions: Open ones of others.
    """

    customer: str
    timestamp: str
    number: int
    database: str
    state: str
    pinned: bool = False
    transactions: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a database, and why."""

    customer: str
    timestamp: str
    database: str
    drop: bool
    reason: str
    by_age: bool = False
    """Kept for nothing but its place among the newest."""


LOADING = frozenset({"loading"})
USELESS = frozenset({"failed", "rejected", "dropping"})  # these never count among the newest


def plan(
    versions: Iterable[Version], aliases: Mapping[str, str], previous: Mapping[str, str], keep: int
) -> list[Verdict]:
    """A verdict for each version, customer by customer, newest first.

    Args:
        versions: Those with a database, by labd's own record; others' databases are not in it and never touched.
        aliases: Alias -> database, of the store.
        previous: Customer -> database that a rollback would go to.
        keep: How many newest versions of a customer stay.
    """
    newest = _newest(keep)
    targets = {database.casefold(): alias for alias, database in aliases.items()}
    verdicts: list[Verdict] = []
    by_customer: dict[str, list[Version]] = {}
    for version in versions:
        by_customer.setdefault(version.customer, []).append(version)
    for customer in sorted(by_customer):
        ordered = sorted(by_customer[customer], key=lambda version: version.number, reverse=True)
        place = 0
        for version in ordered:
            is_useless = version.state in USELESS
            place += not is_useless
            reason = _kept(version, keep + 1 if is_useless else place, targets, previous.get(customer), keep)
            why = f"it is {version.state}" if is_useless else f"number {place} by age, {keep} are kept"
            by_age = reason == newest
            verdicts.append(Verdict(customer, version.timestamp, version.database, not reason, reason or why, by_age))
    return verdicts


def _kept(version: Version, place: int, targets: Mapping[str, str], previous: str | None, keep: int) -> str:
    """Why a version stays; empty if nothing speaks for it."""
    alias = targets.get(version.database.casefold())
    if alias is not None:
        return f"alias {alias} points at it"
    if previous is not None and previous.casefold() == version.database.casefold():
        return "it is the way back of a rollback"
    if version.pinned:
        return "it is pinned"
    if version.state in LOADING:
        return "it is being loaded"
    if version.state == "held":
        return "it waits for `labctl snapshot approve` or `reject`"
    if version.transactions:
        noun = "transaction is" if version.transactions == 1 else "transactions are"
        return f"{version.transactions} {noun} open on it"
    if place <= keep:
        return _newest(keep)
    return ""


def _newest(keep: int) -> str:
    return f"it is one of the {keep} newest"

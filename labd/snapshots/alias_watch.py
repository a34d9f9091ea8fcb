"""Whether aliases point where labd let them point: somebody with a shell on the store can move them as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labd.snapshots import names
from labd.snapshots.record import Customer


class AliasWatch:
    """Tells what differs in two looks one after the other.

    Why two: a switch of labd's own may lie between the store's answer and the record of it.
    """

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self.differing: dict[str, str] = {}
        """Customer -> what a person reads."""

    def look(self, customers: Iterable[Customer], aliases: Mapping[str, str]) -> list[str]:
        """Compare once.

        Returns:
            Customers that have come to differ.
        """
        now: dict[str, str] = {}
        for one in customers:
            if one.active is None:
                continue
            wanted, found = names.database_of(one.customer, one.active), aliases.get(one.alias)
            if found is None or found.casefold() != wanted:
                now[one.customer] = _told(one, wanted, found)
        both = {customer: text for customer, text in now.items() if self._last.get(customer) == text}
        new = [customer for customer in both if self.differing.get(customer) != both[customer]]
        self._last, self.differing = now, both
        return new


def _told(one: Customer, wanted: str, found: str | None) -> str:
    where = "is gone" if found is None else f"points at {found}"
    step = f"`labctl snapshot switch {one.customer} {one.active}` lets it point there again"
    return f"alias {one.alias} {where}, and labd let it point at {wanted}: somebody else changed it; {step}"

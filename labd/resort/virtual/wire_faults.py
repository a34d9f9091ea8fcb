"""Faults of a virtual bus that can be switched on while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, get_args

Kind = Literal["unheard", "lost", "late", "corrupt", "duplicated"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(slots=True)
class WireFaults:
    """What goes wrong on the wire, by count or by chance; a given seed makes the same faults again.

    `unheard` instructions never reach a servo; `lost`, `late`, `corrupt` and `duplicated` befall answers, so the servo
    has done what it was told.

    Args:
        late_s: How much later a late answer comes.
    """

    random: Random
    late_s: float = 0.1
    _chances: dict[Kind, float] = field(default_factory=dict)
    _next: dict[Kind, int] = field(default_factory=dict)
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))

    def next(self, kind: Kind, count: int = 1) -> None:
        """The next `count` packets suffer this, whatever the chance."""
        self._check(kind)
        self._next[kind] = count

    def chance(self, kind: Kind, probability: float) -> None:
        """Every packet suffers this with that probability, 0 to 1."""
        self._check(kind)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"the chance of {kind} is 0 to 1, not {probability}")
        self._chances[kind] = probability

    def clear(self) -> None:
        """A sound wire again; the counts stay."""
        self._chances.clear()
        self._next.clear()

    def strikes(self, kind: Kind) -> bool:
        """Whether this packet suffers it; takes one of the `next` ones."""
        waiting = self._next.get(kind, 0)
        if waiting:
            self._next[kind] = waiting - 1
        elif not (self._chances.get(kind) and self.random.random() < self._chances[kind]):
            return False
        self.counts[kind] += 1
        return True

    def damage(self, data: bytes) -> bytes:
        """The same bytes with one bit turned."""
        at, bit = self.random.randrange(len(data)), self.random.randrange(8)
        return data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]

    def state(self) -> dict[str, Any]:
        """The settings and how often each struck."""
        return {"chances": dict(self._chances), "next": dict(self._next), "counts": dict(self.counts)}

    @staticmethod
    def _check(kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"no fault {kind!r}; known: {', '.join(KINDS)}")

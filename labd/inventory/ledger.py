"""The stock of the host: what is there now, and what people do to it.

Everything here is synchronous and stages only: the caller awaits `engine.journal.commit()`. Every act is all or
nothing: what can be refused is refused before the first movement. A correction is a further movement, nothing is ever
overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from labd.clock import Clock, iso
from labd.errors import BadRequest, BadVolume, Conflict, InsufficientStock
from labd.inventory import names, wells
from labd.inventory.book import Act, Book, Entry, Statements
from labd.inventory.claims import Shortage, shortage
from labd.inventory.movements import insufficient, view_of, where
from labd.inventory.opening import replay
from labd.inventory.reservoir import MeasurementView, MovementFilter, MovementView, ReservoirSpec, ReservoirView
from labd.inventory.settings import InventorySettings
from labd.inventory.shelf import Shelf
from labd.inventory.volumes import PL_PER_UL, all_to_pl, to_pl, to_ul

FIXED = frozenset({"key"})


class StockLedger:
    """The one owner of the stock in memory.

    Args:
        journal: Where movements are staged and read.
    """

    def __init__(self, settings: InventorySettings, journal: Statements, clock: Clock) -> None:
        self.settings = settings
        self.book = Book(journal, clock, simulated=settings.simulated)
        for place, spec in enumerate(settings.reservoirs()):
            self.book.shelves[spec.key] = Shelf(spec, place)

    # what is there

    @property
    def simulated(self) -> bool:
        """This stock is a simulator's."""
        return self.book.simulated

    @property
    def last_movement(self) -> int:
        """The newest movement's number, on disk or on its way; 0 before the first."""
        return self.book.last_id

    @property
    def drift_ul(self) -> dict[str, float]:
        """What the newest measurement of a reservoir missed the computed level by."""
        return {key: to_ul(pl) for key, pl in self.book.drift_pl.items()}

    @property
    def threshold_ul(self) -> float:
        """What admission leaves in every reservoir without a threshold of its own."""
        return self.settings.threshold_ul

    @property
    def low_ul(self) -> float:
        """Below which a reservoir without a limit of its own is low."""
        return self.settings.low_ul

    def views(self) -> list[ReservoirView]:
        """Every reservoir in use, in the configured order, at this moment."""
        return [self._view(shelf) for shelf in self.book.there()]

    def view(self, name: str) -> ReservoirView:
        """One reservoir by key or colour."""
        return self._view(self._find(name))

    def find(self, name: str) -> str:
        """The key that a name means.

        Raises:
            UnknownReservoir: With the names that are near.
        """
        return self._find(name).spec.key

    def _find(self, name: str) -> Shelf:
        shelf = self.book.shelves.get(name)  # the usual case, at no price however many there are
        if shelf is not None and shelf.removed_at is None:
            return shelf
        return names.find(self.book.there(), name)

    def _view(self, shelf: Shelf) -> ReservoirView:
        now_s = self.book.clock.now_s()
        return shelf.view(now_s, self.settings.threshold_ul, self.settings.low_ul, simulated=self.simulated)

    def threshold_pl(self, shelf: Shelf, threshold_ul: float | None = None) -> int:
        """What a job must leave there."""
        if threshold_ul is not None:
            return round(threshold_ul * PL_PER_UL)
        own_pl = shelf.figures.threshold_pl
        return round(self.settings.threshold_ul * PL_PER_UL) if own_pl is None else own_pl

    # questions

    def check_stock(self, required: Mapping[str, float], threshold_ul: float | None = None) -> list[dict[str, Any]]:
        """What a job with these volumes would find; one line a reservoir, in the order asked.

        Raises:
            BadVolume, UnknownReservoir: The question is wrong.
        """
        if threshold_ul is not None:
            to_pl(threshold_ul, "threshold")
        now_s, lines = self.book.clock.now_s(), []
        for name, required_pl in all_to_pl(required).items():
            shelf = self._find(name)
            available_pl = shelf.available_at(now_s)
            threshold_pl = self.threshold_pl(shelf, threshold_ul)
            short = shortage(shelf.spec.key, shelf.spec.color, available_pl, required_pl, threshold_pl)
            lines.append({
                "key": shelf.spec.key, "color": shelf.spec.color, "initialized": shelf.initialized,
                "required_ul": to_ul(required_pl), "available_ul": to_ul(available_pl),
                "level_ul": to_ul(shelf.level_at(now_s)), "reserved_ul": to_ul(shelf.reserved_pl),
                "threshold_ul": to_ul(threshold_pl),
                "is_sufficient": short is None and (shelf.initialized or required_pl == 0),
                "remaining_after_use_ul": to_ul(available_pl - required_pl),
            })  # fmt: skip
        return lines

    def require(self, required: Mapping[str, float], threshold_ul: float | None = None) -> None:
        """Nothing, where a job with these volumes would be accepted now.

        Raises:
            InsufficientStock, InventoryNotInitialized, BadVolume, UnknownReservoir: Why it would not.
        """
        if threshold_ul is not None:
            to_pl(threshold_ul, "threshold")
        self.refuse_short({self.find(name): pl for name, pl in all_to_pl(required).items()}, threshold_ul=threshold_ul)

    def free_pl(self, key: str, now_s: float) -> int:
        """What a job may take without leaving less than the threshold; -1 where nobody said how much is there."""
        shelf = self.book.shelves[key]
        return shelf.available_at(now_s) - self.threshold_pl(shelf) if shelf.initialized else -1

    def refuse_short(
        self, required_pl: Mapping[str, int], promised_pl: Mapping[str, int] | None = None,
        threshold_ul: float | None = None,
    ) -> None:  # fmt: skip
        """The rule of admission for one job.

        Args:
            promised_pl: What jobs of the same submission take before it.

        Raises:
            InventoryNotInitialized, InsufficientStock
        """
        now_s, short = self.book.clock.now_s(), list[Shortage]()
        for key, pl in required_pl.items():
            shelf = self.book.shelves[key]
            if pl > 0 and not shelf.initialized:
                raise names.not_initialized(names.label(shelf, self.book.shelves.values()))
            available_pl = shelf.available_at(now_s) - (promised_pl or {}).get(key, 0)
            found = shortage(key, shelf.spec.color, available_pl, pl, self.threshold_pl(shelf, threshold_ul))
            if found is not None:
                label = names.label(shelf, self.book.shelves.values())
                short.append(msgspec.structs.replace(found, color=label))
        if short:
            message, facts = insufficient(short)
            raise InsufficientStock(message, **facts)

    # what people do

    def check_initialize(self, volumes_ul: Mapping[str, float], *, reset: bool = False, reason: str = "") -> None:
        """Whether `initialize` would be refused now; raises as it does."""
        self._levels(volumes_ul, reset, reason)

    def initialize(
        self, volumes_ul: Mapping[str, float], actor: str, *, reset: bool = False, reason: str = "",
        evaporation_rate_ul_per_hour: float | None = None, job_id: int | None = None,
    ) -> list[MovementView]:  # fmt: skip
        """Say how much is there. On stock that exists only with `reset` and a reason, by compensating movements.

        Args:
            job_id: The job that asks, here as in the other acts; it stands in every movement.

        Raises:
            BadVolume, UnknownReservoir: Nothing was changed.
            Conflict: There is stock already and nobody said reset.
        """
        levels = self._levels(volumes_ul, reset, reason)
        if evaporation_rate_ul_per_hour is not None:
            to_pl(evaporation_rate_ul_per_hour, "evaporation rate")
        act = self.book.act(_person(actor), reason or "initialized", job_id)
        for shelf, level_pl in levels:
            act.settle(shelf)
            if shelf.level_pl and shelf.initialized:
                act.post(shelf, "adjustment", -shelf.level_pl, cause=f"reset: {reason}")
            elif shelf.level_pl:
                act.post(shelf, "adjustment", -shelf.level_pl, cause="taken before anybody said how much there was")
            if evaporation_rate_ul_per_hour is not None:
                rate = float(evaporation_rate_ul_per_hour)
                shelf.spec = msgspec.structs.replace(shelf.spec, evaporation_rate_ul_per_hour=rate)
            act.post(shelf, "restock", level_pl, details={"initialize": True, "reset": reset})
            shelf.initialized, shelf.carried_pl = True, 0.0
            self.book.put_shelf(shelf)
        return self._done(act)

    def _levels(self, volumes_ul: Mapping[str, float], reset: bool, reason: str) -> list[tuple[Shelf, int]]:
        levels = self._amounts(volumes_ul, "initialize")
        there = [shelf.spec.key for shelf, _ in levels if shelf.initialized]
        if there and not reset:
            raise Conflict(
                f"initialize: there is stock already in {', '.join(there)}; add to it with `labctl inventory "
                "restock`, or start anew with --reset --reason TEXT",
                reservoirs=there,
            )
        if reset and not reason.strip():
            raise BadRequest("initialize: reset needs a reason, it stands in every movement: --reason TEXT")
        for shelf, level_pl in levels:
            _refuse_overflow(shelf, 0, level_pl)
        return levels

    def check_restock(self, volumes_ul: Mapping[str, float]) -> None:
        """Whether `restock` would be refused now; raises as it does."""
        self._fillings(volumes_ul)

    def restock(
        self, volumes_ul: Mapping[str, float], operator: str, cause: str = "", lot: str = "", job_id: int | None = None
    ) -> list[MovementView]:
        """More of it; volumes of 0 are left out.

        Raises:
            BadVolume, BadRequest, UnknownReservoir, InventoryNotInitialized: Nothing was changed.
        """
        name = _person(operator, "restock: operator missing; say who fills it in: --operator NAME")
        act = self.book.act(name, cause, job_id)
        for shelf, volume_pl in self._fillings(volumes_ul):
            act.post(shelf, "restock", volume_pl, details={"lot": lot} if lot else None)
            if lot and lot != shelf.spec.lot:
                shelf.spec = msgspec.structs.replace(shelf.spec, lot=lot)
                self.book.put_shelf(shelf)
        return self._done(act)

    def _fillings(self, volumes_ul: Mapping[str, float]) -> list[tuple[Shelf, int]]:
        fillings = [(shelf, pl) for shelf, pl in self._amounts(volumes_ul, "restock") if pl > 0]
        if not fillings:
            raise BadVolume("restock: every volume is 0 ul; give more than 0 ul for one reservoir at least")
        now_s = self.book.clock.now_s()
        for shelf, volume_pl in fillings:
            self._refuse_unset(shelf)
            _refuse_overflow(shelf, shelf.level_at(now_s), volume_pl)
        return fillings

    def adjust(
        self, name: str, change_ul: float, actor: str, reason: str, job_id: int | None = None
    ) -> list[MovementView]:
        """A correction by so many ul, with a reason; not below empty unless there is a deficit already."""
        shelf, change_pl = self._find(name), to_pl(change_ul, name, signed=True)
        if not reason.strip():
            raise BadRequest(f"adjust {name}: a correction needs a reason: --reason TEXT")
        if change_pl == 0:
            raise BadVolume(f"adjust {name}: 0 ul changes nothing", reservoir=shelf.spec.key)
        self._refuse_unset(shelf)
        level_pl = shelf.level_at(self.book.clock.now_s())
        if change_pl > 0:
            _refuse_overflow(shelf, level_pl, change_pl)
        elif level_pl + change_pl < 0:
            raise BadVolume(
                f"adjust {shelf.spec.key}: {to_ul(change_pl):g} ul is more than the {to_ul(level_pl):.1f} ul that are "
                "there; to say what is really there, `labctl inventory measure`",
                reservoir=shelf.spec.key, change_ul=to_ul(change_pl), level_ul=to_ul(level_pl),
            )  # fmt: skip
        act = self.book.act(_person(actor), reason, job_id)
        act.post(shelf, "adjustment", change_pl)
        return self._done(act)

    def measure(self, name: str, level_ul: float, actor: str, job_id: int | None = None) -> list[MovementView]:
        """A level that was read: the computed one is corrected to it, and the pair is kept for the fit of the rate."""
        shelf, level_pl = self._find(name), to_pl(level_ul, name)
        self._refuse_unset(shelf)
        _refuse_overflow(shelf, 0, level_pl)
        book = self.book
        act = book.act(_person(actor), "measured", job_id)
        act.settle(shelf)
        computed_pl = shelf.level_pl
        book.last_measurement_id += 1
        book.drift_pl[shelf.spec.key] = level_pl - computed_pl
        details = {"measured_ul": to_ul(level_pl), "computed_ul": to_ul(computed_pl)}
        if level_pl != computed_pl:
            act.post(shelf, "adjustment", level_pl - computed_pl, details=details)
            shelf.carried_pl = 0.0
        moved = self._done(act)
        book.journal.execute(
            "inventory.add_measurement", book.last_measurement_id, shelf.spec.key, book.clock.wall(),
            book.clock.now_s(), level_pl, computed_pl, actor,
        )  # fmt: skip
        return moved

    def set_lid(self, name: str, lid: str, actor: str) -> list[MovementView]:
        """Open or closed; what evaporated until now is written at the old rate."""
        if lid not in ("open", "closed"):
            raise BadRequest(f"lid {lid!r} is neither open nor closed", field="lid", value=lid)
        return self.edit(name, {"lid": lid}, actor)

    # reservoirs

    def add(self, spec: ReservoirSpec, actor: str) -> list[MovementView]:
        """A new reservoir, not initialized; one that was removed comes back under the same key, empty.

        Raises:
            Conflict: It is there, or another one stands in its well.
        """
        _person(actor)
        there = {key.lower(): shelf for key, shelf in self.book.shelves.items()}
        old = there.get(spec.key.lower())
        if old is not None and old.removed_at is None:
            raise Conflict(
                f"reservoir {old.spec.key} is there already; change it with `labctl inventory reservoir edit`",
                reservoir=old.spec.key,
            )
        self._check_place(spec)
        place = 1 + max((shelf.place for shelf in self.book.shelves.values()), default=-1)
        if old is None:
            shelf = self.book.shelves[spec.key] = Shelf(spec, place)
        else:
            shelf = old
            shelf.spec = msgspec.structs.replace(spec, key=old.spec.key)
            shelf.place, shelf.removed_at, shelf.initialized = place, None, False
        shelf.settled_s, shelf.carried_pl = self.book.clock.now_s(), 0.0
        self.book.put_shelf(shelf)
        return []

    def edit(self, name: str, changes: Mapping[str, Any], actor: str) -> list[MovementView]:
        """Other facts of a reservoir; evaporation up to now is written at the old rate.

        Raises:
            BadRequest: An unknown key, a wrong value, or less capacity than there is liquid.
            Conflict: Another one stands in that well.
        """
        shelf = self._find(name)
        known = {field.name for field in msgspec.structs.fields(ReservoirSpec)}
        for key in changes:
            if key not in known or key in FIXED:
                options = ", ".join(sorted(known - FIXED))
                raise BadRequest(
                    f"reservoir {shelf.spec.key}: {key} cannot be changed; these can: {options}", field=key
                )
        try:
            spec = msgspec.convert({**msgspec.to_builtins(shelf.spec), **changes}, ReservoirSpec)
        except msgspec.ValidationError as fault:
            raise BadRequest(f"reservoir {shelf.spec.key}: {fault}", reservoir=shelf.spec.key) from None
        self._check_place(spec)
        level_pl = shelf.level_at(self.book.clock.now_s())
        if spec.capacity_ul < shelf.spec.capacity_ul and level_pl > round(spec.capacity_ul * PL_PER_UL):
            raise BadVolume(
                f"reservoir {shelf.spec.key}: it holds {to_ul(level_pl):.1f} ul now, more than a capacity of "
                f"{spec.capacity_ul:.1f} ul",
                reservoir=shelf.spec.key, level_ul=to_ul(level_pl), limit_ul=spec.capacity_ul,
            )  # fmt: skip
        act = self.book.act(_person(actor), "edited")
        act.settle(shelf)
        shelf.spec = spec
        moved = self._done(act)
        self.book.put_shelf(shelf)
        return moved

    def remove(self, name: str, actor: str, reason: str) -> list[MovementView]:
        """Take a reservoir out of use; what is in it leaves by an adjustment, its movements stay.

        Raises:
            Conflict: Jobs have reserved some of it.
        """
        shelf = self._find(name)
        if not reason.strip():
            raise BadRequest(f"remove {name}: say why: --reason TEXT")
        holders = sorted(job_id for job_id, one in self.book.claims.items() if shelf.spec.key in one.claims)
        if shelf.reserved_pl or holders:
            raise Conflict(
                f"reservoir {shelf.spec.key}: {to_ul(shelf.reserved_pl):.1f} ul are reserved by jobs "
                f"{', '.join(map(str, holders[:10]))}; cancel them first",
                reservoir=shelf.spec.key, jobs=holders,
            )  # fmt: skip
        act = self.book.act(_person(actor), f"removed: {reason}")
        act.settle(shelf)
        if shelf.level_pl:
            act.post(shelf, "adjustment", -shelf.level_pl)
        shelf.removed_at, shelf.initialized = self.book.clock.wall(), False
        self.book.put_shelf(shelf)
        return self._done(act)

    # the past

    async def history(self, which: MovementFilter) -> list[MovementView]:
        """Movements on disk, newest first unless asked otherwise."""
        statement, values = where(which)
        colors = {key: shelf.spec.color for key, shelf in self.book.shelves.items()}
        rows = await self.book.journal.read(statement, *values)
        return [view_of(Entry(*row), colors.get(row[1], "")) for row in rows]

    async def measurements(self, name: str, limit: int = 1000) -> list[MeasurementView]:
        """The newest levels that were read of a reservoir, oldest first."""
        rows = await self.book.journal.read("inventory.measurements", self.find(name), limit)
        return [
            MeasurementView(
                id=number, reservoir=key, at=iso(at) or "", ledger_s=ledger_s, level_ul=to_ul(level_pl),
                computed_ul=to_ul(computed_pl), actor=actor,
            )
            for number, key, at, ledger_s, level_pl, computed_pl, actor in rows
        ]  # fmt: skip

    async def verify(self) -> dict[str, Any]:
        """Replay all movements from zero: `{"ok", "movements", "reservoirs", "problems"}`."""
        return await replay(self.book)

    # evaporation

    def settle(self) -> int:
        """Write what evaporated since the last time, and where the ledger's time stands; the number of movements."""
        act = self.book.act("labd")
        for shelf in self.book.there():
            act.settle(shelf)
        count = len(act.stage())
        self.book.save_clock()
        return count

    # insides

    def _amounts(self, volumes_ul: Mapping[str, float], verb: str) -> list[tuple[Shelf, int]]:
        found: dict[str, tuple[Shelf, int]] = {}
        for name, pl in all_to_pl(volumes_ul).items():
            shelf = self._find(name)
            if shelf.spec.key in found:
                raise BadVolume(f"{verb}: {shelf.spec.key} is named twice; give it once", reservoir=shelf.spec.key)
            found[shelf.spec.key] = (shelf, pl)
        if not found:
            raise BadVolume(f"{verb}: no reservoir named; give a volume for one at least")
        return list(found.values())

    def _refuse_unset(self, shelf: Shelf) -> None:
        if not shelf.initialized:
            raise names.not_initialized(names.label(shelf, self.book.shelves.values()))

    def _check_place(self, spec: ReservoirSpec) -> None:
        problem = wells.taken_by(spec, [shelf.spec for shelf in self.book.there()])
        if problem is not None:
            raise Conflict(f"reservoir {problem}", reservoir=spec.key)

    def _done(self, act: Act) -> list[MovementView]:
        return [view_of(Entry(*row), self.book.shelves[row[1]].spec.color) for row in act.stage()]


def _person(name: str, problem: str = "an act on the stock needs a name: who does it") -> str:
    if not name.strip():
        raise BadRequest(problem)
    return name.strip()


def _refuse_overflow(shelf: Shelf, level_pl: int, more_pl: int) -> None:
    if level_pl + more_pl <= shelf.capacity_pl:
        return
    key, limit_ul = shelf.spec.key, shelf.spec.capacity_ul
    there = f" on top of {to_ul(level_pl):.1f} ul" if level_pl else ""
    room = f"; {to_ul(max(shelf.capacity_pl - level_pl, 0)):.1f} ul fit" if level_pl else ""
    raise BadVolume(
        f"{key}: {to_ul(more_pl):.1f} ul{there} is more than its capacity of {limit_ul:.1f} ul{room}",
        reservoir=key, volume_ul=to_ul(more_pl), level_ul=to_ul(level_pl), limit_ul=limit_ul,
    )  # fmt: skip

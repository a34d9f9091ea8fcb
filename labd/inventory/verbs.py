"""What people do to the stock: one way for the tasks and the HTTP, each act audited, and on disk at its end.

The rules (who may, how much fits, what exists) are the ledger's; nothing is checked twice here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.errors import BadRequest
from labd.inventory.ledger import StockLedger
from labd.inventory.reservoir import MovementFilter, MovementView, ReservoirSpec
from labd.inventory.transfer import Transfer

NAME_AT_MOST = 200
OF_RESERVOIRS = frozenset({"import", "reservoir.add", "reservoir.edit", "reservoir.remove"})


class InventoryVerbs:
    """Acts on one ledger.

    Every method returns `{"movements": [...], "reservoirs": [...]}`: what it did and how things stand now.

    Raises:
        BadVolume, BadRequest, UnknownReservoir, InventoryNotInitialized: Nothing was changed.
        StoreFull: Before anything was changed, or while it was being written: it is in force then.
    """

    def __init__(self, ledger: StockLedger, engine: Engine, reservoirs_changed: Callable[[], None]) -> None:
        self._ledger = ledger
        self._engine = engine
        self._reservoirs_changed = reservoirs_changed

    async def initialize(
        self, volumes_ul: Mapping[str, float], caller: Caller, operator: str = "", *, reset: bool = False,
        reason: str = "", evaporation_rate_ul_per_hour: float | None = None, job_id: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """First levels; without any volume every reservoir is taken to be full, as in the seed."""
        actor = person(operator, caller)
        volumes = self.levels(volumes_ul)
        return await self._done(
            caller, "initialize", volumes,
            lambda: self._ledger.initialize(
                volumes, actor, reset=reset, reason=reason, job_id=job_id,
                evaporation_rate_ul_per_hour=evaporation_rate_ul_per_hour,
            ),
            {"by": actor, "reset": reset, "reason": reason}, job_id,
        )  # fmt: skip

    def levels(self, volumes_ul: Mapping[str, float]) -> dict[str, float]:
        """The volumes said, or the capacity of every reservoir where none is."""
        return dict(volumes_ul) or {one.key: one.capacity_ul for one in self._ledger.views()}

    async def restock(
        self,
        volumes_ul: Mapping[str, float],
        operator: str,
        caller: Caller,
        cause: str = "",
        lot: str = "",
        job_id: int | None = None,
    ) -> dict[str, Any]:
        """More of it; a volume of 0 leaves its reservoir alone."""
        name = operator_of(operator)
        return await self._done(
            caller, "restock", volumes_ul, lambda: self._ledger.restock(volumes_ul, name, cause, lot, job_id),
            {"by": name, "cause": cause, "lot": lot}, job_id,
        )  # fmt: skip

    async def measure(
        self, reservoir: str, level_ul: float, caller: Caller, operator: str = "", job_id: int | None = None
    ) -> dict[str, Any]:
        """A level that was read."""
        actor = person(operator, caller)
        return await self._done(
            caller, "measure", {reservoir: level_ul}, lambda: self._ledger.measure(reservoir, level_ul, actor, job_id),
            {"by": actor}, job_id,
        )  # fmt: skip

    async def adjust(
        self,
        reservoir: str,
        change_ul: float,
        reason: str,
        caller: Caller,
        operator: str = "",
        job_id: int | None = None,
    ) -> dict[str, Any]:
        """A correction, with a reason."""
        actor = person(operator, caller)
        return await self._done(
            caller, "adjust", {reservoir: change_ul},
            lambda: self._ledger.adjust(reservoir, change_ul, actor, reason, job_id),
            {"by": actor, "reason": reason}, job_id,
        )  # fmt: skip

    async def set_lid(self, reservoir: str, lid: str, caller: Caller, operator: str = "") -> dict[str, Any]:
        """Open or closed."""
        actor = person(operator, caller)
        answer = await self._done(
            caller, "lid", {reservoir: 0.0}, lambda: self._ledger.set_lid(reservoir, lid, actor),
            {"by": actor, "lid": lid},
        )  # fmt: skip
        return {**answer, "reservoir": self._ledger.view(reservoir)}

    async def add(self, spec: ReservoirSpec, caller: Caller) -> dict[str, Any]:
        """A new reservoir, not initialized."""
        actor = person("", caller)
        answer = await self._done(
            caller, "reservoir.add", {spec.key: 0.0}, lambda: self._ledger.add(spec, actor), {"by": actor}
        )
        return {**answer, "reservoir": self._ledger.view(spec.key)}

    async def edit(self, reservoir: str, changes: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
        """Other facts."""
        actor = person("", caller)
        answer = await self._done(
            caller, "reservoir.edit", {reservoir: 0.0}, lambda: self._ledger.edit(reservoir, dict(changes), actor),
            {"by": actor, "changes": dict(changes)},
        )  # fmt: skip
        return {**answer, "reservoir": self._ledger.view(reservoir)}

    async def remove(self, reservoir: str, reason: str, caller: Caller, operator: str = "") -> dict[str, Any]:
        """Out of use; the movements stay."""
        actor = person(operator, caller)
        return await self._done(
            caller, "reservoir.remove", {reservoir: 0.0}, lambda: self._ledger.remove(reservoir, actor, reason),
            {"by": actor, "reason": reason},
        )  # fmt: skip

    async def take_over(self, transfer: Transfer, operator: str, reason: str, caller: Caller) -> dict[str, Any]:
        """Bring all reservoirs of an export to its levels; those that are not there are added."""
        name = operator_of(operator)
        if not reason.strip():
            raise BadRequest("import: reason missing; it stands in every movement: --reason TEXT")
        known = {one.key: one for one in self._ledger.views()}
        fresh, levels = transfer.check(known, self._ledger.simulated)

        def act() -> list[MovementView]:
            # `check` has refused whatever one of these could refuse: nothing is staged that the next would contradict.
            found = [one for spec in fresh for one in self._ledger.add(spec, name)]
            again = {key: level for key, level in levels.items() if key in known and known[key].initialized}
            first = {key: level for key, level in levels.items() if key not in again}
            told = f"import of {transfer.exported_at}: {reason.strip()}"
            if first:
                found += self._ledger.initialize(first, name, reason=told)
            if again:
                found += self._ledger.initialize(again, name, reset=True, reason=told)
            return found

        return await self._done(caller, "import", levels, act, {"by": name, "reason": reason})

    async def _done(
        self, caller: Caller, verb: str, volumes_ul: Mapping[str, float], act: Callable[[], list[MovementView]],
        facts: dict[str, Any], job_id: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Act and record in one commit; queued jobs that waited for stock are looked at again.

        A job whose movements are on disk already has done its act: the daemon died between that commit and the job's
        end, and the job runs again. Its movements are answered, nothing is filled in twice.
        """
        if job_id is not None:
            done = await self._ledger.history(MovementFilter(job_id=job_id, limit=1000))
            if done:
                return {"movements": done[::-1], "reservoirs": self._ledger.views()}
        self._engine.journal.refuse_if_full()
        movements = act()
        if verb in OF_RESERVOIRS:
            self._reservoirs_changed()
        keys = sorted({one.reservoir for one in movements}) or sorted(volumes_ul)
        if not movements or verb == "lid" or verb in OF_RESERVOIRS:  # a level that moved has told of itself
            told = {"verb": verb, "reservoirs": keys, "by": facts["by"], "simulated": self._ledger.simulated}
            self._engine.publish("stock.changed", told, job_id)
        self._engine.audit(caller, f"inventory.{verb}", ", ".join(keys), {**facts, "volumes_ul": dict(volumes_ul)})
        await self._engine.journal.commit()
        self._engine.wake()
        return {"movements": movements, "reservoirs": self._ledger.views()}


def operator_of(operator: str) -> str:
    """Who fills it in, by name.

    Raises:
        BadRequest: Nobody is named.
    """
    name = operator.strip()
    if not name:
        raise BadRequest("restock: operator missing; say who fills it in: --operator NAME")
    if len(name) > NAME_AT_MOST:
        raise BadRequest(f"operator: {len(name)} characters; at most {NAME_AT_MOST}")
    return name


def person(operator: str, caller: Caller) -> str:
    """The operator where one is named, else who asks."""
    return operator_of(operator) if operator.strip() else caller.name

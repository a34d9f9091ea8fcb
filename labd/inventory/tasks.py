"""The inventory's verbs as tasks, with the names and arguments of the seed as aliases.

`<color>_volume` in microlitres is an argument for every reservoir and every colour there is, `volumes` takes any of
them by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.errors import BadVolume
from labd.inventory.verbs import operator_of, person

if TYPE_CHECKING:
    from labd.inventory.desk import StockDesk
    from labd.inventory.service import InventoryService

VolumeUl = Annotated[float, Meta(ge=0, description="microlitres")]
Volumes = Annotated[dict[str, float], Meta(description="microlitres by reservoir or colour")]
Text = Annotated[str, Meta(max_length=1000)]
Name = Annotated[str, Meta(max_length=200)]
Reservoir = Annotated[str, Meta(min_length=1, max_length=64, description="key or colour of a reservoir")]
TIMEOUT_S = 60.0
ORIGIN = "inventory"


def aliases_of(flow: str) -> tuple[str, ...]:
    """The seed's names: as a deployment, as `flow/flow`, as a function, and as the function of the flow."""
    verb = flow.replace("-", "_")
    return (flow, f"{flow}/{flow}", verb, f"{verb}_flow")


def inventory_tasks(service: InventoryService) -> list[TaskSpec | StopSpec]:
    """The tasks of the wing."""
    return [*stock_tasks(service.desk)]


def stock_tasks(desk: StockDesk) -> list[TaskSpec]:
    """The tasks with an argument for every reservoir that there is now."""
    jobs = InventoryJobs(desk)
    colours = jobs.colours
    kept: dict[str, Any] = {
        "queue": "maintenance", "priority": 4, "timeout_s": TIMEOUT_S, "wing": "inventory", "origin": ORIGIN,
        "simulated": lambda args: desk.ledger.simulated,
    }  # fmt: skip
    looked: dict[str, Any] = {**kept, "queue": "monitoring", "priority": 5}
    filled = [("operator", Name), ("lot", Text, ""), ("cause", Text, "")]
    first = [
        ("evaporation_rate", Annotated[float, Meta(ge=0, description="microlitres an hour")] | None, None),
        ("operator", Name, ""), ("reset", bool, False), ("reason", Text, ""),
    ]  # fmt: skip
    low = Annotated[float, Meta(ge=0, description="millilitres")] | None
    return [
        TaskSpec("inventory.restock", jobs.restock, "Add to the stock of one or more reservoirs.",
                 arguments=_arguments("restock", colours, filled), precheck=jobs.check_restock,
                 aliases=(*aliases_of("restock-maintenance"), "restock_inventory"), **kept),
        TaskSpec("inventory.initialize", jobs.initialize,
                 "Say how much is there; on stock that exists only with reset and a reason.",
                 arguments=_arguments("initialize", colours, first), precheck=jobs.check_initialize,
                 aliases=aliases_of("initialize-inventory"), **kept),
        TaskSpec("inventory.check_status", jobs.check_status, "What is low, with warnings and recommendations.",
                 arguments=_arguments("check_status", {}, [("low_threshold_ml", low, None)], volumes=False),
                 aliases=aliases_of("check-inventory-status"), **looked),
        TaskSpec("inventory.get_current", jobs.get_current, "The levels now.",
                 aliases=("get-current-inventory", "get_current_inventory"), **looked),
        TaskSpec("inventory.check_availability", jobs.check_availability,
                 "Refused where a job with these volumes would be.",
                 arguments=_arguments("check_availability", colours, [("threshold", VolumeUl | None, None)]),
                 aliases=("check-stock-availability", "check_stock_availability"), **looked),
        TaskSpec("inventory.measure", jobs.measure, "Tell a level that was read.", **kept),
        TaskSpec("inventory.adjust", jobs.adjust, "Correct a level, with a reason.", **kept),
        TaskSpec("inventory.forecast", jobs.forecast, "When each reservoir runs out.", **looked),
        TaskSpec("inventory.verify", jobs.verify, "Replay all movements from zero.", **looked),
    ]  # fmt: skip


def argument_of(name: str) -> str:
    """`dark-green` as `dark_green_volume`."""
    return re.sub(r"\W", "_", name.lower()) + "_volume"


def _arguments(
    verb: str, colours: dict[str, str], more: list[tuple[Any, ...]], volumes: bool = True
) -> type[msgspec.Struct]:
    fields: list[Any] = [(argument, VolumeUl, 0.0) for argument in colours]
    if volumes:
        fields.append(("volumes", Volumes, msgspec.field(default_factory=dict)))
    return msgspec.defstruct(f"Inventory_{verb}", [*fields, *more], kw_only=True, forbid_unknown_fields=True)


class InventoryJobs:
    """What the tasks do."""

    def __init__(self, desk: StockDesk) -> None:
        self._desk = desk
        self._ledger = desk.ledger
        self._verbs = desk.verbs
        names = [name for one in self._ledger.views() for name in (one.key, one.color)]
        self.colours: dict[str, str] = {}
        for name in names:
            argument = argument_of(name)
            # 2-propanol is no identifier, and __x is kept to its class by Python; `volumes` takes both.
            if argument.isidentifier() and not argument.startswith("__"):
                self.colours.setdefault(argument, name)

    def volumes_of(self, args: dict[str, Any]) -> dict[str, float]:
        """Microlitres by reservoir of all arguments that are volumes.

        Raises:
            BadVolume: A reservoir is said twice, by its own argument and in `volumes`.
            UnknownReservoir: In `volumes`.
        """
        found: dict[str, float] = {}
        given = [(self.colours[name], value) for name, value in args.items() if name in self.colours and value]
        for name, volume_ul in [*given, *(args.get("volumes") or {}).items()]:
            key = self._ledger.find(name)
            if key in found:
                raise BadVolume(f"{key} is given twice, {found[key]:g} ul and {volume_ul:g} ul; give it once")
            found[key] = float(volume_ul)
        return found

    def check_restock(self, args: dict[str, Any]) -> None:
        """At submission: a restock that could not be is refused at the door."""
        operator_of(args["operator"])
        self._ledger.check_restock(self.volumes_of(args))

    def check_initialize(self, args: dict[str, Any]) -> None:
        """At submission."""
        self._ledger.check_initialize(
            self._verbs.levels(self.volumes_of(args)), reset=args.get("reset", False), reason=args.get("reason", "")
        )

    async def restock(self, ctx: JobContext, operator: str, lot: str = "", cause: str = "", **args: Any) -> Any:
        """The seed's `restock_maintenance_flow`."""
        before = self._desk.current()
        volumes = self.volumes_of(args)
        answer = await self._verbs.restock(volumes, operator, ctx.caller, cause, lot, ctx.job.id)
        ctx.log(f"restocked by {operator}: " + ", ".join(f"{key} {ul:g} ul" for key, ul in volumes.items() if ul))
        return {
            "status": "success",
            "operator": operator,
            "timestamp": self._desk.now(),
            "volumes_added": {f"{key}_ul": volume_ul for key, volume_ul in volumes.items()},
            "inventory_before": before,
            "inventory_after": self._desk.current(),
            "log_id": answer["movements"][0].operation if answer["movements"] else None,
        }

    async def initialize(
        self, ctx: JobContext, evaporation_rate: float | None = None, operator: str = "", reset: bool = False,
        reason: str = "", **args: Any,
    ) -> Any:  # fmt: skip
        """The seed's `initialize_inventory_flow`."""
        await self._verbs.initialize(
            self.volumes_of(args), ctx.caller, operator, reset=reset, reason=reason,
            evaporation_rate_ul_per_hour=evaporation_rate, job_id=ctx.job.id,
        )  # fmt: skip
        ctx.log(f"initialized by {person(operator, ctx.caller)}")
        return self._desk.current()

    async def check_status(self, ctx: JobContext, low_threshold_ml: float | None = None) -> Any:
        """The seed's `check_inventory_status_flow`."""
        low_ul = None if low_threshold_ml is None else low_threshold_ml * 1000.0
        found = self._desk.check(low_ul)
        for warning in found["warnings"]:
            ctx.log(warning, "warning")
        return found

    async def get_current(self, ctx: JobContext) -> dict[str, Any]:
        """The seed's `get_current_inventory`."""
        return self._desk.current()

    async def check_availability(self, ctx: JobContext, threshold: float | None = None, **args: Any) -> Any:
        """The seed's `check_stock_availability`."""
        answer = self._desk.availability(self.volumes_of(args), threshold)
        if answer.fault is not None:
            raise answer.fault
        return answer.view.availability

    async def measure(self, ctx: JobContext, reservoir: Reservoir, level_ul: VolumeUl, operator: Name = "") -> Any:
        """A level that was read."""
        answer = await self._verbs.measure(reservoir, level_ul, ctx.caller, operator, ctx.job.id)
        return msgspec.to_builtins(answer["movements"])

    async def adjust(
        self, ctx: JobContext, reservoir: Reservoir, change_ul: float, reason: Text, operator: Name = ""
    ) -> Any:
        """A correction."""
        answer = await self._verbs.adjust(reservoir, change_ul, reason, ctx.caller, operator, ctx.job.id)
        return msgspec.to_builtins(answer["movements"])

    async def forecast(self, ctx: JobContext) -> Any:
        """When each reservoir runs out."""
        return msgspec.to_builtins(await self._desk.outlook.forecast())

    async def verify(self, ctx: JobContext) -> Any:
        """Replay."""
        return await self._ledger.verify()

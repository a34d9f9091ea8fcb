"""The robot's verbs as tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from labd.engine.job import Caller
from labd.engine.registry import JobContext, StopSpec, TaskSpec

if TYPE_CHECKING:
    from labd.ot2.allowed import Verb
    from labd.ot2.device import OT2Device
    from labd.ot2.service import OT2Service

Device = Annotated[str, Meta(max_length=32, description="name of the robot; may be left out where there is one")] | None
ProtocolId = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="hash of a protocol that was given, POST /api/v1/ot2/protocols")
]
Parameters = (
    Annotated[dict[str, bool | int | float | str], Meta(description="run-time parameters by variable name")] | None
)

BESIDE_S = 300.0  # what a run may take beside the run itself: preflight, upload, the robot's analysis, a stop
READING_S = 30.0


def aliases_of(verb: str) -> tuple[str, ...]:
    """The names of a verb as Prefect deployments have them: as a function, as a flow, as `flow/flow`."""
    flow = verb.replace("_", "-")
    return (verb, flow, f"{flow}/{flow}")


def ot2_tasks(service: OT2Service) -> list[TaskSpec | StopSpec]:
    """The tasks of all robots of the host."""
    verbs = OT2Verbs(service)

    def named(args: dict[str, Any]) -> OT2Device:
        return service.device(args.get("device"))

    def resource(args: dict[str, Any]) -> tuple[str, ...]:
        return (named(args).resource,)

    def simulated(args: dict[str, Any]) -> bool:
        return named(args).simulated

    def allowed(verb: Verb) -> Callable[[dict[str, Any]], None]:
        return lambda args: named(args).require(verb)

    def check_run(args: dict[str, Any]) -> None:
        service.shelf.get(args["protocol"])
        named(args).require("run")

    def check_analyze(args: dict[str, Any]) -> None:
        service.shelf.get(args["protocol"])
        named(args)

    queues = {device.settings.queue for device in service.devices.values()}
    queue = queues.pop() if len(queues) == 1 else "standard"
    tables = [device.settings for device in service.devices.values()]
    run_s = max((table.run_timeout_s for table in tables), default=BESIDE_S) + BESIDE_S
    home_s = max((table.home_timeout_s for table in tables), default=BESIDE_S) + READING_S
    return [
        TaskSpec(
            name="ot2.analyze_protocol", function=verbs.analyze_protocol, wing="ot2", queue="low-priority",
            description="Simulate a protocol with opentrons: tips, volumes, duration, errors. Moves nothing.",
            resources=("ot2/analysis",), timeout_s=BESIDE_S, precheck=check_analyze, simulated=lambda args: True,
            aliases=aliases_of("analyze_protocol"),
        ),
        TaskSpec(
            name="ot2.run_protocol", function=verbs.run_protocol, wing="ot2", queue=queue, effect="physical",
            description="Run a protocol on a robot: simulated first, then followed to its end.",
            resources=resource, timeout_s=run_s, precheck=check_run, simulated=simulated, needs=service.needs,
            aliases=aliases_of("run_protocol"),
        ),
        TaskSpec(
            name="ot2.home", function=verbs.home, wing="ot2", queue=queue, effect="physical",
            description="All axes of a robot home; refused while a run has it.",
            resources=resource, timeout_s=home_s, precheck=allowed("home"), simulated=simulated,
        ),
        StopSpec(
            name="ot2.stop", function=verbs.stop, wing="ot2", aliases=("ot2.emergency_stop",),
            description="Stop labd's own run now, latched until reset; of all robots if none is named.",
        ),
    ]  # fmt: skip


class OT2Verbs:
    """What the tasks do; arguments are checked by their annotations."""

    def __init__(self, service: OT2Service) -> None:
        self._service = service

    async def analyze_protocol(
        self,
        ctx: JobContext,
        protocol: ProtocolId,
        parameters: Parameters = None,
        device: Device = None,
    ) -> dict[str, Any]:
        """What a protocol would do."""
        stored = self._service.shelf.get(protocol)
        ctx.log(f"simulating {stored.name}")
        found = await self._service.analyze(stored, parameters or {}, self._service.device(device))
        return {"protocol": protocol, "file": stored.name, **found}

    async def run_protocol(
        self,
        ctx: JobContext,
        protocol: ProtocolId,
        parameters: Parameters = None,
        device: Device = None,
    ) -> dict[str, Any]:
        """A protocol on the robot."""
        stored = self._service.shelf.get(protocol)
        return await self._service.run(ctx, self._service.device(device), stored, parameters or {})

    async def home(self, ctx: JobContext, device: Device = None) -> dict[str, Any]:
        """All axes home."""
        return await self._service.device(device).home_for(ctx.job.id)

    async def stop(self, args: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Stop now. A stop is not refused for an argument of the wrong type."""
        device = args.get("device")
        name = device if isinstance(device, str) and device else None
        return await self._service.emergency_stop(name, caller, str(args.get("reason") or ""))

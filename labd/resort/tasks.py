"""The carousel's verbs as tasks, with the names of the Plate Resort seed as aliases.

Every task checks at submission and again at its start with the function that also lists what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from labd.engine.job import Caller
from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.resort.turning import turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from labd.resort.device import ResortDevice
    from labd.resort.service import ResortService

Device = (
    Annotated[str, Meta(max_length=32, description="name of the carousel; may be left out where there is one")] | None
)
Hotel = Annotated[str, Meta(min_length=1, max_length=64, description="name of a hotel, such as A")]
Degrees = Annotated[float, Meta(ge=-360000, le=360000, description="place of the carousel; 360 is 0")]
SpeedRpm = Annotated[float, Meta(gt=0, le=460, description="speed of the motor in turns a minute")]

CONFIRMING_S = 30.0  # connecting tries each register a few times, on a port that may be coming back


def aliases_of(verb: str) -> tuple[str, ...]:
    """The seed's names of a verb: as a function, as a flow, and as a deployment `flow/flow`."""
    flow = verb.replace("_", "-")
    return tuple(dict.fromkeys((verb, flow, f"{flow}/{flow}")))


def resort_tasks(service: ResortService) -> list[TaskSpec | StopSpec]:
    """The tasks of all carousels of the host."""
    verbs = ResortVerbs(service)

    def named(args: dict[str, Any]) -> ResortDevice:
        return service.device(args.get("device"))

    def motion(args: dict[str, Any]) -> tuple[str, ...]:
        return named(args).resources

    def link(args: dict[str, Any]) -> tuple[str, ...]:
        return (named(args).link_resource,)

    def simulated(args: dict[str, Any]) -> bool:
        return named(args).simulated

    def allowed(action: str) -> Callable[[dict[str, Any]], None]:
        return lambda args: named(args).require(action)

    def check_connect(args: dict[str, Any]) -> None:
        named(args).require("configure" if args.get("configure") else "connect")

    def check_hotel(args: dict[str, Any]) -> None:
        named(args).geometry.hotel_named(args["hotel"])
        named(args).require("activate_hotel")

    queues = {device.settings.queue for device in service.devices.values()}
    queue = queues.pop() if len(queues) == 1 else "standard"

    def task(verb: str, function: Any, description: str, **policy: Any) -> TaskSpec:
        kind: dict[str, Any] = {
            "queue": queue,
            "simulated": simulated,
            "wing": "resort",
            "aliases": aliases_of(verb),
            **policy,
        }
        return TaskSpec(name=f"resort.{verb}", function=function, description=description, **kind)

    moving_s = service.longest_move_s + CONFIRMING_S
    moving: dict[str, Any] = {"effect": "physical", "resources": motion, "timeout_s": moving_s}
    linking: dict[str, Any] = {"effect": "physical", "resources": link, "timeout_s": CONFIRMING_S}
    reading: dict[str, Any] = {"queue": "monitoring", "timeout_s": 10.0}
    return [
        task("connect", verbs.connect, "Make a carousel ready: goal where it stands, torque on; never moves.",
             precheck=check_connect, **linking),
        task("disconnect", verbs.disconnect, "Release a carousel's torque on purpose and let go of its port.",
             precheck=allowed("disconnect"), **linking),
        task("activate_hotel", verbs.activate_hotel, "Bring a hotel to the door by the shortest way.",
             precheck=check_hotel, **moving),
        task("move_to_angle", verbs.move_to_angle, "Turn a carousel to an angle by the shortest way.",
             precheck=allowed("move_to_angle"), **moving),
        task("go_home", verbs.go_home, "Turn a carousel to its home angle.", precheck=allowed("go_home"), **moving),
        task("set_speed", verbs.set_speed, "Set the speed of the moves to come, until labd starts again.",
             precheck=allowed("set_speed"), resources=link, timeout_s=CONFIRMING_S),
        task("get_current_position", verbs.get_current_position, "Read where a carousel stands.", **reading),
        task("get_motor_health", verbs.get_motor_health, "Read a motor's heat, voltage, load and errors.", **reading),
        StopSpec(
            name="resort.emergency_stop",
            function=verbs.emergency_stop,
            description="Torque off now, latched until reset; all carousels if none is named.",
            aliases=aliases_of("emergency_stop"),
            wing="resort",
        ),
    ]  # fmt: skip


class ResortVerbs:
    """What the tasks do; arguments are checked by their annotations."""

    def __init__(self, service: ResortService) -> None:
        self._service = service

    @asynccontextmanager
    async def _using(self, ctx: JobContext, name: str | None, action: str) -> AsyncIterator[ResortDevice]:
        device = self._service.device(name)
        async with device.used_by(ctx.job.id, action):
            yield device

    async def connect(self, ctx: JobContext, configure: bool = False, device: Device = None) -> dict[str, Any]:
        """Goal where it stands, then torque on; `configure` may change the motor's modes, with torque off meanwhile."""
        async with self._using(ctx, device, "configure" if configure else "connect") as carousel:
            if configure:
                plan = carousel.configuring()
                ctx.log(plan)
                ctx.progress(0, 1, plan)
            answer = await carousel.connect(configure)
            for note in answer["notes"]:
                ctx.log(note)
            return answer

    async def disconnect(self, ctx: JobContext, device: Device = None) -> dict[str, Any]:
        """Torque off, confirmed."""
        async with self._using(ctx, device, "disconnect") as carousel:
            return await carousel.disconnect()

    async def activate_hotel(self, ctx: JobContext, hotel: Hotel, device: Device = None) -> dict[str, Any]:
        """A hotel to the door."""
        async with self._using(ctx, device, "activate_hotel") as carousel:
            name = carousel.geometry.hotel_named(hotel)
            return await turn(carousel, carousel.geometry.hotels[name], ctx, name)

    async def move_to_angle(self, ctx: JobContext, degrees: Degrees, device: Device = None) -> dict[str, Any]:
        """A place of the carousel to the door."""
        async with self._using(ctx, device, "move_to_angle") as carousel:
            return await turn(carousel, degrees, ctx)

    async def go_home(self, ctx: JobContext, device: Device = None) -> dict[str, Any]:
        """The home angle to the door."""
        async with self._using(ctx, device, "go_home") as carousel:
            return await turn(carousel, carousel.settings.home_deg, ctx)

    async def set_speed(self, ctx: JobContext, speed: SpeedRpm, device: Device = None) -> dict[str, Any]:
        """Profile velocity of the moves to come."""
        async with self._using(ctx, device, "set_speed") as carousel:
            return await carousel.set_speed(speed)

    async def get_current_position(self, ctx: JobContext, device: Device = None) -> dict[str, Any]:
        """Position now."""
        return await self._service.device(device).position()

    async def get_motor_health(self, ctx: JobContext, device: Device = None) -> dict[str, Any]:
        """Health now."""
        return await self._service.device(device).health()

    async def emergency_stop(self, args: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Torque off now; nothing is awaited before. A stop is not refused for an argument of the wrong type."""
        device = args.get("device")
        name = device if isinstance(device, str) and device else None
        return await self._service.emergency_stop(name, caller, str(args.get("reason") or ""))

"""Several carousels on one bus: they move together, are stopped alone, and none keeps another's dead-man fed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from labd.clock import SystemClock
from labd.errors import DeviceBusy, StopLatched, WatchdogTripped
from labd.resort.drive.carousel import Carousel, bus_of
from labd.resort.drive.lanes import Lane
from tests.fakes.carousel_rig import Rig, carousel_rig, extended
from tests.fakes.resort_daemon import ALICE, FAST, SLOW, Daemon, until

RECORD = "bus.jsonl"


class HangingClock(SystemClock):
    """A clock whose sleepers can be kept from waking: a supervisor that hangs while the loop lives."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.awake.set()

    async def sleep(self, delay_s: float) -> None:
        await super().sleep(delay_s)
        await self.awake.wait()


def written(frame: dict[str, Any], servo_id: int) -> list[tuple[str, int]]:
    """Registers of a servo that a packet on the record writes."""
    writes = frame.get("writes", [])
    return [(write["register"], write["value"]) for write in writes if write["servo"] == servo_id]


@pytest.fixture
async def rig(state_dir: Path) -> AsyncIterator[Rig]:
    async with carousel_rig(state_dir, extended(), extended(1020, servo_id=2), record=state_dir / RECORD) as made:
        yield made


async def two(rig: Rig, clock: SystemClock | None = None) -> tuple[Carousel, Carousel]:
    """Left is servo 1 and has the clock, right is servo 2; both ready."""
    bus = bus_of(rig.settings(), SystemClock())
    left, right = rig.carousel(clock, bus=bus), rig.carousel(bus=bus, servo_id=2)
    for carousel in (left, right):
        await carousel.open()
        await carousel.connect()
    return left, right


async def under_way(rig: Rig, carousel: Carousel, goal: int = 20_000) -> asyncio.Task[Any]:
    """A long move, a bit along its way."""
    move = asyncio.create_task(carousel.move_to(goal, on_progress=rig.on_progress))
    await rig.until(lambda: rig.progress and abs(rig.progress[-1].position_steps) > 200)
    return move


async def poll(carousel: Carousel) -> None:
    """A client that goes to the bus as fast as it can."""
    while True:
        with contextlib.suppress(DeviceBusy):
            await carousel._bus.run(Lane.POLL, carousel._servo.read_motion)


@contextlib.asynccontextmanager
async def polled(carousel: Carousel) -> AsyncIterator[None]:
    """Eight of them."""
    pollers = [asyncio.create_task(poll(carousel)) for _ in range(8)]
    yield
    for poller in pollers:
        poller.cancel()
    ends = await asyncio.gather(*pollers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


async def test_both_move_at_once_under_polling(rig: Rig) -> None:
    left, right = await two(rig)
    async with polled(left), polled(right):
        ends = await asyncio.gather(left.move_to(2500), right.move_to(-2500))
    assert [round(end.end_steps, -2) for end in ends] == [2500, -2500]
    assert [servo.counts.watchdog_trips for servo in rig.bus.servos] == [0, 0]


async def test_one_connects_again_and_again_while_the_other_moves(rig: Rig) -> None:
    left, right = await two(rig)
    move = await under_way(rig, left, 4000)
    rounds = 0
    while not move.done():
        await right.disconnect()
        await right.connect()
        rounds += 1
    assert abs((await move).end_steps - 4000) <= left.settings.tolerance_steps
    assert rounds > 2
    assert rig.servo.counts.watchdog_trips == 0


async def test_a_stop_of_one_waits_for_one_transaction_at_most_while_the_other_moves(rig: Rig, state_dir: Path) -> None:
    left, right = await two(rig)
    stopped = await under_way(rig, left)
    going = asyncio.create_task(right.move_to(3000))
    await rig.until(lambda: rig.more_servos[0].velocity != 0)
    async with polled(right):
        called_at = SystemClock().monotonic()
        left.stop_now()
        assert (await left.confirm_stop()).confirmed
    with pytest.raises(StopLatched):
        await stopped
    assert abs((await going).end_steps - 3000) <= right.settings.tolerance_steps
    assert [servo.torque_enabled for servo in rig.bus.servos] == [False, True]
    frames = [json.loads(line) for line in (state_dir / RECORD).read_text().splitlines()]
    heard = [line for line in frames if line.get("direction") == "rx" and line["mono"] >= called_at]
    behind = next(place for place, line in enumerate(heard) if ("torque_enable", 0) in written(line, servo_id=1))
    assert behind <= 1, heard[:3]


async def test_polls_of_one_do_not_feed_the_dead_man_of_the_other(rig: Rig) -> None:
    clock = HangingClock()
    left, right = await two(rig, clock)
    move = await under_way(rig, left)
    clock.awake.clear()
    async with polled(right):
        await rig.until(lambda: rig.servo.counts.watchdog_trips == 1)
    assert rig.servo.velocity == 0
    clock.awake.set()
    with pytest.raises(WatchdogTripped):
        await move
    await right.move_to(300)


async def test_the_line_that_goes_is_lost_to_both_and_comes_back_to_both(rig: Rig) -> None:
    left, right = await two(rig)
    rig.bus.unplug()
    await rig.until(lambda: not left.connected and not right.connected)
    rig.bus.plug()
    await rig.until(lambda: left.connected and right.connected)
    await left.close()
    await right.move_to(400)
    await right.disconnect()
    assert not left._bus.line.is_open


async def test_one_without_power_leaves_the_other_alone(rig: Rig) -> None:
    left, right = await two(rig)
    absent = rig.bus.servos.pop(0)
    async with polled(right):
        with contextlib.suppress(Exception):
            await left.read_state()
        await rig.until(lambda: left.state == "lost")
        await right.move_to(600)
    rig.bus.servos.insert(0, absent)
    await rig.until(lambda: left.connected)
    await asyncio.gather(left.move_to(100), right.move_to(100))


@pytest.mark.parametrize("virtual", [True, False])
async def test_the_service_hangs_carousels_of_one_device_on_one_bus(tmp_path: Path, virtual: bool) -> None:
    async with carousel_rig(tmp_path, extended(), extended(servo_id=2)) as rig:
        one: dict[str, Any] = {**SLOW, "simulated": {"bus": "one"}} if virtual else {
            **SLOW, "driver": "dynamixel", "device": str(rig.link), "baud_rate": 1_000_000,
        }  # fmt: skip
        daemon = Daemon(tmp_path, {"left": one, "right": {**one, "servo_id": 2, "speed": FAST["speed"]}})
        await daemon.start()
        try:
            buses = {id(device.carousel._bus) for device in daemon.service.devices.values()}
            assert len(buses) == 1
            going = await daemon.submit("activate_hotel", hotel="C", device="left")
            await until(lambda: daemon.service.device("left").carousel.moving)
            assert (await daemon.done("activate_hotel", hotel="C", device="right")).result["hotel"] == "C"
            answer = await daemon.service.emergency_stop("left", ALICE)
            assert (answer["confirmed"], answer["cancelled_jobs"]) == (True, [going.id])
            assert (await daemon.done("activate_hotel", hotel="A", device="right")).result["hotel"] == "A"
        finally:
            await daemon.stop()

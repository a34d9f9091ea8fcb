"""The trend of a motor's readings: what a stretch keeps, how long the ring is, and who looks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from labd.resort.drive.carousel import ServoState, WatchdogState
from labd.resort.trend import EVERY_S, KEPT, Trend
from tests.fakes.clock import FakeClock

STATE = ServoState(
    position_steps=0, position_deg=0.0, velocity_rpm=0.0, moving=False, torque_enabled=True, goal_steps=0,
    operating_mode=4, drive_mode=0, hardware_error=0, hardware_errors=(), alert=False, temperature_celsius=30.0,
    voltage_v=12.0, current_ma=10.0, load_percent=None, watchdog=WatchdogState(True, True, True, False, 0, 0.5),
    model=1060, model_name="XL430", firmware=45, read_at=1000.0,
)  # fmt: skip


async def _nothing() -> None:
    return None


def _trend() -> Trend:
    return Trend(FakeClock(), _nothing)


def test_a_stretch_keeps_the_peak_of_the_current_and_the_dip_of_the_voltage() -> None:
    trend = _trend()
    assert trend.shown("main")["latest"] is None
    readings = [(30.0, 12.0, 10.0, 0.0), (31.0, 9.5, -900.0, -50.0), (32.0, 11.9, 20.0, 1.0)]
    for number, (heat, volts, current, speed) in enumerate(readings):
        trend.take(
            replace(
                STATE, read_at=1000.0 + number, temperature_celsius=heat, voltage_v=volts, current_ma=current,
                velocity_rpm=speed,
            )
        )  # fmt: skip
    assert trend.shown("main")["latest"]["current_ma"] == 20.0
    trend.take(replace(STATE, read_at=1000.0 + EVERY_S))
    shown = trend.shown("main")
    assert shown["temperature_celsius"] == [32.0, 30.0]
    assert shown["voltage_v"] == [9.5, 12.0]
    assert shown["current_ma"] == [-900.0, 10.0]
    assert shown["velocity_rpm"] == [-50.0, 0.0]
    assert shown["load_percent"] == [None, None]
    assert shown["read_at"] == ["1970-01-01T00:16:42.000000Z", "1970-01-01T00:16:50.000000Z"]


def test_the_same_reading_counts_once_and_a_clock_set_back_begins_a_new_stretch() -> None:
    trend = _trend()
    for read_at in (1000.0, 1000.0, 400.0):
        trend.take(replace(STATE, read_at=read_at))
    assert len(trend.shown("main")["read_at"]) == 2


def test_the_ring_forgets_the_oldest() -> None:
    trend = _trend()
    for number in range(KEPT + 5):
        trend.take(replace(STATE, read_at=EVERY_S * number, temperature_celsius=float(number)))
    heat = trend.shown("main")["temperature_celsius"]
    assert (len(heat), heat[0], heat[-1]) == (KEPT, 5.0, KEPT + 4.0)


async def test_it_looks_by_itself_until_it_is_closed() -> None:
    clock, looks = FakeClock(), []
    looked = asyncio.Event()

    async def look() -> None:
        looks.append(clock.wall())
        looked.set()

    trend = Trend(clock, look)
    trend.start()
    for _ in range(2):
        looked.clear()
        await asyncio.sleep(0)
        clock.advance(EVERY_S)
        await asyncio.wait_for(looked.wait(), 2)
    await trend.close()
    await trend.close()
    clock.advance(EVERY_S)
    await asyncio.sleep(0)
    assert len(looks) == 2

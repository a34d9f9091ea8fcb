"""What a virtual servo does by itself and on writes; time moved by hand."""

from __future__ import annotations

import math

import pytest

from labd.resort.registers import MODELS, HardwareError, StatusError, steps_per_s_of_velocity
from labd.resort.virtual import physics
from labd.resort.virtual.control_table import Refusal
from labd.resort.virtual.virtual_servo import VirtualServo
from tests.fakes.virtual_bus import HandClock


class Bench:
    """A servo on a table: named writes and reads, and the clock."""

    def __init__(self, model: int = 1060, **more):
        self.clock = HandClock()
        self.events: list[tuple[str, dict]] = []
        self.servo = VirtualServo(
            model, clock=self.clock, on_event=lambda _, event, facts: self.events.append((event, facts)), **more
        )

    def write(self, name: str, value: int) -> None:
        item = self.servo.model.registers[name]
        self.servo.feed_watchdog(self.clock.monotonic())
        self.servo.write(item.address, item.encode(value))

    def refused(self, name: str, value: int) -> StatusError:
        with pytest.raises(Refusal) as caught:
            self.write(name, value)
        return caught.value.error

    def __getitem__(self, name: str) -> int:
        return self.servo.register(name)

    def after(self, seconds: float) -> int:
        self.clock.forward(seconds)
        return self["present_position"]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def moving_to(self, goal: int, velocity: int = 100) -> Bench:
        self.write("profile_velocity", velocity)
        self.write("torque_enable", 1)
        self.write("goal_position", goal)
        return self


SPEED = steps_per_s_of_velocity(100)


def test_a_move_follows_its_profile_velocity() -> None:
    bench = Bench().moving_to(2000)
    assert bench["moving"] == 1
    assert bench.after(0.5) == round(SPEED * 0.5)
    assert bench["present_velocity"] == 100
    assert bench["moving_status"] & 0x33 == 0x12, "a rectangle, under way"
    assert bench.after(2.0) == 2000
    assert (bench["moving"], bench["present_velocity"], bench["moving_status"]) == (0, 0, 1)
    assert (bench.servo.counts.moves, bench.servo.counts.arrivals) == (1, 1)


def test_acceleration_makes_a_trapezoid_or_a_triangle() -> None:
    bench = Bench()
    bench.write("profile_acceleration", 10)
    bench.moving_to(3000)
    rate = 10 * 214.577 / 3600 * 4096
    assert bench.after(0.2) == pytest.approx(0.5 * rate * 0.04, abs=1)
    assert bench["moving_status"] & 0x30 == 0x30
    bench.after(10)
    bench.write("goal_position", 2990)
    assert bench["moving_status"] & 0x30 == 0x20
    assert bench.after(5) == 2990


def test_profile_velocity_zero_is_as_fast_as_the_velocity_limit() -> None:
    bench = Bench().moving_to(4000, velocity=0)
    assert bench.after(0.1) == round(steps_per_s_of_velocity(265) * 0.1)


def test_looking_often_or_once_gives_the_same_position() -> None:
    often, once = Bench().moving_to(3000), Bench().moving_to(3000)
    for _ in range(100):
        often.after(0.01)
    assert often["present_position"] == once.after(1.0)


def test_a_new_goal_in_mid_move_goes_on_from_there_and_counts_as_a_move() -> None:
    bench = Bench().moving_to(3000)
    there = bench.after(0.5)
    bench.write("goal_position", 0)
    assert bench.after(0.1) == pytest.approx(there - SPEED * 0.1, abs=1)
    assert bench.after(5) == 0
    assert bench.servo.counts.moves == 2
    assert [facts["how"] for kind, facts in bench.events if kind == "move_ended"] == ["replaced", "arrived"]


def test_the_same_goal_again_is_no_new_move() -> None:
    bench = Bench().moving_to(3000)
    bench.after(0.5)
    bench.write("goal_position", 3000)
    bench.after(5)
    assert bench.servo.counts.moves == 1


def test_goal_at_the_present_position_holds_there() -> None:
    bench = Bench().moving_to(3000)
    there = bench.after(0.5)
    bench.write("goal_position", there)
    assert bench.after(5) == there
    assert bench["torque_enable"] == 1
    assert ("move_ended", "held") in [(kind, facts.get("how")) for kind, facts in bench.events]


def test_torque_off_lets_it_run_out_within_a_tenth_of_a_second() -> None:
    bench = Bench().moving_to(3000)
    there = bench.after(0.5)
    bench.write("torque_enable", 0)
    assert bench["present_velocity"] > 0
    rest = bench.after(0.1)
    assert there < rest < there + 60
    assert bench["present_velocity"] == 0
    assert bench.after(5) == rest


def test_eeprom_is_locked_while_torque_is_on() -> None:
    bench = Bench()
    bench.write("torque_enable", 1)
    assert bench.refused("operating_mode", 4) == StatusError.ACCESS_ERROR
    bench.write("torque_enable", 0)
    bench.write("operating_mode", 4)
    assert bench["operating_mode"] == 4


def test_writes_are_checked_for_access_range_limit_and_length() -> None:
    bench = Bench()
    assert bench.refused("present_position", 5) == StatusError.ACCESS_ERROR
    assert bench.refused("led", 2) == StatusError.DATA_RANGE_ERROR
    assert bench.refused("operating_mode", 0) == StatusError.DATA_RANGE_ERROR, "an XL430 has no current mode"
    assert bench.refused("goal_position", 4096) == StatusError.DATA_LIMIT_ERROR
    assert bench.refused("goal_velocity", 300) == StatusError.DATA_LIMIT_ERROR
    bench.write("pwm_limit", 400)
    assert bench.refused("goal_pwm", 401) == StatusError.DATA_LIMIT_ERROR
    for address, data, error in (
        (116, b"\x00\x01", StatusError.DATA_LENGTH_ERROR),
        (117, b"\x00", StatusError.ACCESS_ERROR),
        (102, b"\x00\x00", StatusError.ACCESS_ERROR),
        (64, b"", StatusError.DATA_LENGTH_ERROR),
    ):
        with pytest.raises(Refusal) as caught:
            bench.servo.write(address, data)
        assert caught.value.error == error


def test_a_block_write_is_done_whole_or_not_at_all() -> None:
    bench = Bench()
    good = (5).to_bytes(4, "little") + (100).to_bytes(4, "little") + (700).to_bytes(4, "little")
    bench.servo.write(108, good)
    assert (bench["profile_acceleration"], bench["profile_velocity"], bench["goal_position"]) == (5, 100, 700)
    with pytest.raises(Refusal):
        bench.servo.write(108, bytes(8) + (9999).to_bytes(4, "little"))
    assert bench["profile_velocity"] == 100


def test_reading_what_the_model_lacks_is_an_access_error_and_gaps_read_zero() -> None:
    bench = Bench()
    with pytest.raises(Refusal) as caught:
        bench.servo.read(102, 2)
    assert caught.value.error == StatusError.ACCESS_ERROR
    assert len(bench.servo.read(64, 84)) == 84
    assert Bench(1020).servo.read(102, 2) == (1193).to_bytes(2, "little")


def test_mode_change_resets_what_the_manual_says() -> None:
    bench = Bench(1020)
    for name, value in (("profile_velocity", 50), ("profile_acceleration", 5), ("goal_pwm", 300), ("goal_current", 9)):
        bench.write(name, value)
    bench.write("position_p_gain", 1)
    bench.write("operating_mode", 4)
    assert [bench[n] for n in ("profile_velocity", "profile_acceleration", "goal_pwm", "goal_current")] == [
        0, 0, 885, 1193,
    ]  # fmt: skip
    assert bench["position_p_gain"] == 800


def test_pushed_by_hand_it_counts_on_and_torque_folds_the_turns_away_in_mode_3() -> None:
    bench = Bench()
    assert bench.servo.push(5000)
    assert bench["present_position"] == 5000
    bench.write("goal_position", 904)
    bench.write("torque_enable", 1)
    assert bench["present_position"] == 904
    assert bench.servo.counts.moves == 0
    assert not bench.servo.push(10), "a motor under torque does not give way"
    assert bench.servo.state()["shaft"] == 5000


def test_extended_mode_keeps_turns_until_reboot() -> None:
    bench = Bench()
    bench.write("operating_mode", 4)
    bench.moving_to(9000, velocity=0)
    assert bench.after(10) == 9000
    bench.servo.reboot()
    assert bench["present_position"] == 9000 - 2 * 4096
    assert bench["torque_enable"] == 0
    assert bench["goal_position"] == bench["present_position"]


def test_a_stored_goal_is_driven_to_when_torque_comes_on() -> None:
    bench = Bench()
    bench.write("goal_position", 1000)
    assert bench.after(1) == 0
    bench.write("torque_enable", 1)
    assert bench.after(5) == 1000


def test_homing_offset_and_direction_change_the_reading_and_not_the_shaft() -> None:
    bench = Bench(position=100)
    bench.write("homing_offset", 50)
    assert (bench["present_position"], bench.servo.state()["shaft"]) == (150, 100)
    bench.write("homing_offset", 2000)
    assert bench["present_position"] == 100, "beyond a quarter turn it is ignored in mode 3"
    bench.write("homing_offset", 0)
    bench.write("drive_mode", 1)
    assert (bench["present_position"], bench.servo.state()["shaft"]) == (-100, 100)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_watchdog_trip_stops_zeroes_the_profile_and_refuses_goals_until_cleared(model) -> None:
    bench = Bench(model).moving_to(4000)
    bench.write("bus_watchdog", 5)
    bench.clock.forward(0.05)
    bench.servo.feed_watchdog(bench.clock.monotonic())
    fed_at = bench["present_position"]
    stop = fed_at + SPEED * 0.1
    assert bench.after(3) == pytest.approx(stop, abs=1), "it stopped when it tripped, not when somebody looked"
    assert (bench["bus_watchdog"], bench["profile_velocity"], bench["profile_acceleration"]) == (-1, 0, 0)
    assert (bench["torque_enable"], bench["present_velocity"], bench["moving"]) == (1, 0, 0)
    assert bench.refused("goal_position", 10) == StatusError.DATA_RANGE_ERROR
    bench.write("bus_watchdog", 0)
    assert bench.after(1) == pytest.approx(stop, abs=1)
    bench.write("goal_position", 10)
    assert bench.after(10) == 10
    assert bench.servo.counts.watchdog_trips == 1


def test_watchdog_rests_while_torque_is_off_and_is_absent_before_firmware_38() -> None:
    bench = Bench()
    bench.write("bus_watchdog", 1)
    bench.clock.forward(10)
    assert bench["bus_watchdog"] == 1
    old = Bench(firmware=37)
    assert old.refused("bus_watchdog", 1) == StatusError.ACCESS_ERROR


def test_watchdog_of_a_330_with_faulty_firmware_trips_and_drives_on() -> None:
    bench = Bench(1220, firmware=51).moving_to(4000)
    bench.write("bus_watchdog", 5)
    assert bench.after(20) == 4000
    assert bench["bus_watchdog"] == -1


def test_stall_freezes_it_loads_it_and_ends_in_overload() -> None:
    bench = Bench().moving_to(3000)
    there = bench.after(0.5)
    bench.servo.stall = True
    bench.clock.forward(1.0)
    assert (bench["present_position"], bench["present_velocity"], bench["present_load"]) == (there, 0, 1000)
    assert bench["moving_status"] & 0x09 == 0x08, "not in position, not following"
    bench.clock.forward(5.0)
    assert bench["hardware_error_status"] == HardwareError.OVERLOAD
    assert bench["torque_enable"] == 0


def test_a_stall_that_ends_in_time_lets_the_move_arrive() -> None:
    bench = Bench().moving_to(3000)
    bench.after(0.5)
    bench.servo.stall = True
    bench.clock.forward(2.0)
    bench.servo.stall = False
    assert bench.after(10) == 3000
    assert (bench.servo.counts.moves, bench.servo.counts.arrivals) == (1, 1)


def test_a_wall_is_not_passed_and_lets_it_go_back() -> None:
    bench = Bench()
    bench.servo.surround(wall=1000)
    bench.moving_to(3000)
    assert bench.after(3) == 1000
    assert bench["present_load"] == 1000
    bench.write("goal_position", 1500)
    assert bench.after(0.5) == 1000
    bench.write("goal_position", 200)
    assert bench.after(3) == 200
    assert bench["hardware_error_status"] == 0


def test_a_shutdown_error_takes_torque_until_reboot() -> None:
    bench = Bench().moving_to(3000)
    bench.after(0.5)
    bench.servo.hardware_error(HardwareError.ELECTRICAL_SHOCK)
    assert bench["torque_enable"] == 0
    bench.write("torque_enable", 1)
    assert bench["torque_enable"] == 0
    bench.servo.reboot()
    assert bench["hardware_error_status"] == 0
    bench.write("torque_enable", 1)
    assert bench["torque_enable"] == 1


def test_an_error_outside_the_shutdown_mask_is_shown_and_torque_stays() -> None:
    bench = Bench().moving_to(3000)
    bench.servo.surround(supply_v=5.0)
    assert bench["hardware_error_status"] == HardwareError.INPUT_VOLTAGE
    assert bench["torque_enable"] == 1
    assert bench["present_input_voltage"] < 60


def test_pushing_long_heats_until_it_shuts_down() -> None:
    bench = Bench()
    bench.servo.surround(overload_s=math.inf, stalled=True)
    bench.moving_to(3000)
    bench.clock.forward(60)
    warm = bench["present_temperature"]
    assert 30 < warm < 72
    bench.clock.forward(3600)
    assert bench["hardware_error_status"] == HardwareError.OVERHEATING
    assert bench["torque_enable"] == 0
    assert "hardware_error" in bench.kinds()


def test_load_pulls_the_voltage_down_and_current_is_shown_where_it_is_measured() -> None:
    bench = Bench(1020).moving_to(3000)
    bench.clock.forward(0.1)
    assert bench["present_current"] > 0
    bench.servo.surround(load=0.5)
    assert bench["present_input_voltage"] < 120


def test_velocity_and_pwm_mode_turn_on_and_on() -> None:
    bench = Bench()
    bench.write("operating_mode", 1)
    bench.write("torque_enable", 1)
    bench.write("goal_velocity", -100)
    assert bench.after(10) == round(-SPEED * 10)
    bench.write("goal_velocity", 0)
    assert bench["present_velocity"] == 0


def test_nothing_happens_by_itself_on_an_idle_servo() -> None:
    bench = Bench()
    assert bench.servo.next_event_s() is None
    bench.moving_to(2000)
    assert bench.servo.next_event_s() == pytest.approx(1000 + 2000 / SPEED)
    bench.after(10)
    assert bench.servo.next_event_s() is None


def test_factory_reset_keeps_what_its_option_says() -> None:
    bench = Bench()
    bench.write("id", 9)
    bench.write("baud_rate", 3)
    assert bench.servo.factory_reset(2)
    assert (bench["id"], bench["baud_rate"]) == (9, 3)
    assert bench.servo.factory_reset(1)
    assert (bench["id"], bench["baud_rate"]) == (9, 1)
    assert bench.servo.factory_reset(0xFF)
    assert bench["id"] == 1
    assert bench["firmware_version"] == 52
    assert not bench.servo.factory_reset(7)


@pytest.mark.parametrize("start_velocity", [-900.0, -10.0, 0.0, 300.0, 900.0])
@pytest.mark.parametrize("goal", [-500.0, 0.0, 3.0, 800.0])
@pytest.mark.parametrize("acceleration", [500.0, 5000.0, math.inf])
def test_every_profile_is_continuous_within_its_limit_and_ends_at_its_goal(start_velocity, goal, acceleration) -> None:
    motion = physics.move(100.0, start_velocity, goal, 600.0, acceleration, 5.0)
    assert motion.position_at(motion.end_s + 1) == goal
    assert motion.velocity_at(motion.end_s + 1) == 0
    steps = 400
    before = 100.0
    for n in range(steps + 1):
        moment = 5.0 + (motion.end_s - 5.0) * n / steps
        position = motion.position_at(moment)
        assert abs(position - before) <= 900.0 * (motion.end_s - 5.0) / steps + 1e-6
        assert abs(motion.velocity_at(moment)) <= max(600.0, abs(start_velocity)) + 1e-6
        before = position
    assert before == pytest.approx(goal, abs=1e-6)

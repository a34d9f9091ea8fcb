"""The control table is what the e-Manual says, and conversions go both ways."""

from __future__ import annotations

import pytest

from labd.resort import registers
from labd.resort.registers import MODELS, Instruction, Register, StatusError


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_no_two_registers_of_a_model_share_a_byte(model) -> None:
    taken: dict[int, str] = {}
    for item in model.registers.values():
        for at in range(item.address, item.address + item.size):
            assert at not in taken, f"{item.name} and {taken[at]} share byte {at}"
            taken[at] = item.name


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_every_default_is_within_its_range_and_fits_its_bytes(model) -> None:
    for item in model.registers.values():
        assert item.minimum <= item.default <= item.maximum, item
        assert item.decode(item.encode(item.default)) == item.default


@pytest.mark.parametrize(
    ("number", "name", "has_current", "unit_ma", "velocity_limit", "temperature_limit", "shutdown"),
    [
        (1060, "XL430-W250", False, None, 265, 72, 52),
        (1080, "XC430-W240", False, None, 306, 80, 52),
        (1020, "XM430-W350", True, 2.69, 200, 80, 52),
        (1200, "XL330-M288", True, 1.0, 445, 70, 53),
        (1220, "XC330-T288", True, 1.0, 320, 70, 52),
        (1030, "XM430-W210", True, 2.69, 330, 80, 52),
        (1070, "XC430-W150", False, None, 460, 80, 52),
        (1120, "XM540-W270", True, 2.69, 128, 80, 52),
        (1190, "XL330-M077", True, 1.0, 1620, 70, 53),
        (1210, "XC330-T181", True, 1.0, 510, 70, 52),
        (1240, "XC330-M288", True, 1.0, 350, 70, 52),
    ],
)
def test_model_facts(number, name, has_current, unit_ma, velocity_limit, temperature_limit, shutdown) -> None:
    model = MODELS[number]
    assert (model.name, model.has_current, model.has_load) == (name, has_current, not has_current)
    assert model.current_unit_ma == unit_ma
    assert model.velocity_limit == velocity_limit == model.register("velocity_limit").default
    assert model.temperature_limit_celsius == temperature_limit
    assert model.shutdown == shutdown
    at_126 = [item.name for item in model.registers.values() if item.address == 126]
    assert at_126 == (["present_current"] if has_current else ["present_load"])


def test_a_model_without_current_sensing_has_no_current_registers_and_no_current_modes() -> None:
    model = MODELS[1060]
    assert not {"current_limit", "goal_current", "present_current"} & set(model.registers)
    assert model.operating_modes == {1, 3, 4, 16}
    with pytest.raises(KeyError, match=r"XL430-W250 \(model 1060\) has no register 'present_current'"):
        model.register("present_current")


def test_watchdog_came_with_firmware_38_and_does_not_stop_a_330_up_to_firmware_51() -> None:
    assert not MODELS[1060].supports_watchdog(37)
    assert MODELS[1060].supports_watchdog(38)
    assert MODELS[1060].watchdog_stops_motor(38)
    assert MODELS[1220].supports_watchdog(51)
    assert not MODELS[1220].watchdog_stops_motor(51)
    assert MODELS[1220].watchdog_stops_motor(52)


@pytest.mark.parametrize(
    ("degrees", "steps"), [(0.0, 0), (90.0, 1024), (180.0, 2048), (360.0, 4096), (-90.0, -1024), (0.087890625, 1)]
)
def test_4096_steps_are_a_turn(degrees, steps) -> None:
    assert registers.steps_of_degrees(degrees) == steps
    assert registers.degrees_of_steps(steps) == degrees


def test_velocity_unit_and_the_smallest_speed_that_is_not_endless() -> None:
    assert registers.rpm_of_velocity(100) == pytest.approx(22.9)
    assert registers.velocity_of_rpm(22.9) == 100
    assert registers.velocity_of_rpm(0.01) == 1
    assert registers.velocity_of_rpm(0) == 0
    assert registers.steps_per_s_of_velocity(100) == pytest.approx(22.9 / 60 * 4096)


@pytest.mark.parametrize(
    ("value", "size", "number"), [(4294967291, 4, -5), (0xFF, 1, -1), (0xFFFE, 2, -2), (5, 4, 5), (0x7F, 1, 127)]
)
def test_sign_of_unsigned_readings(value, size, number) -> None:
    assert registers.signed(value, size) == number


def test_hardware_errors_in_words() -> None:
    assert registers.hardware_error_words(0x34) == [
        "overheating",
        "electrical shock or too little power",
        "overload",
    ]
    assert registers.hardware_error_words(0) == []
    assert registers.hardware_error_words(0x42) == ["unknown bits 0x42"]


def test_status_errors_in_words() -> None:
    assert registers.status_error_words(0x87) == "register is read-only, undefined, or locked because torque is on", (
        "the alert bit is left aside"
    )
    assert registers.status_error_words(0x80) == ""
    assert registers.status_error_words(0x19) == "unknown error number 25"
    assert all(registers.status_error_words(error) for error in StatusError if error)


def test_a_value_that_does_not_fit_is_told_with_its_register() -> None:
    item = Register("profile_velocity", 112, 4, False, "RW", "rpm", 0, 32767)
    with pytest.raises(ValueError, match=r"profile_velocity \(112\): -1 does not fit 4 unsigned bytes"):
        item.encode(-1)
    with pytest.raises(ValueError, match=r"profile_velocity \(112\) has 4 bytes, got 2: b0 89"):
        item.decode(b"\xb0\x89")


def test_instruction_codes() -> None:
    assert [int(code) for code in Instruction] == [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x10, 0x20, 0x55, 0x82, 0x83, 0x8A, 0x92, 0x93, 0x9A,
    ]  # fmt: skip


def test_models_are_found_by_name_and_an_unknown_one_is_told_the_others() -> None:
    assert registers.model_named("xl430-w250").number == 1060
    with pytest.raises(KeyError, match=r"no model 'AX-12'; known: .*XM430-W350"):
        registers.model_named("AX-12")

"""The `[resort]` table."""

from __future__ import annotations

import tomllib

import pytest

from labd.resort.settings import ResortWingSettings, parse
from labd.settings import Problems


def read(text: str) -> tuple[ResortWingSettings, list[str]]:
    problems = Problems()
    settings = parse(tomllib.loads(text).get("resort", {}), "labd.toml", problems)
    return settings, problems.lines()


def test_an_empty_table_is_one_carousel_named_main() -> None:
    settings, problems = read("[resort]")
    assert problems == []
    main = settings.carousels["main"]
    assert (main.device, main.hotels, main.driver, main.auto_connect) == (
        "/dev/ttyUSB0",
        ("A", "B", "C", "D"),
        "dynamixel",
        True,
    )
    assert main.drive("/dev/x").operating_mode == 4
    assert main.drive("/dev/x").torque_off_at_close is False


def test_the_seeds_keys() -> None:
    settings, problems = read('[resort]\ndevice = "/dev/ttyUSB1"\nhotels = ["A", "B"]')
    assert problems == []
    assert settings.carousels["main"].geometry().hotels == {"A": 0.0, "B": 180.0}


def test_several_carousels_share_what_stands_beside_them() -> None:
    settings, problems = read(
        '[resort]\nspeed = 5.0\n[resort.left]\ndevice = "/dev/a"\n[resort.right]\ndevice = "/dev/b"\nspeed = 7.0'
    )
    assert problems == []
    assert {name: (one.device, one.speed) for name, one in settings.carousels.items()} == {
        "left": ("/dev/a", 5.0),
        "right": ("/dev/b", 7.0),
    }


def test_tables_that_are_keys_make_no_carousel() -> None:
    settings, problems = read(
        '[resort]\ndriver = "simulated"\nhotels = ["A", "B"]\n[resort.hotel_angles]\nA = 10\nB = 200.5\n'
        "[resort.limits]\ntemperature_celsius = 50\n[resort.simulated]\nmodel_number = 1020"
    )
    assert problems == []
    assert settings.carousels["main"].geometry().hotels == {"A": 10.0, "B": 200.5}
    assert settings.carousels["main"].limits.temperature_celsius == 50


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[resort]\ndevise = "x"', "labd.toml: resort.devise: unknown key; did you mean device?"),
        ("[resort]\nhotels = []", "labd.toml: resort.hotels: "),
        ('[resort]\nhotels = ["A", "A"]', "labd.toml: resort: hotels has A more than once (A and a count as the same)"),
        (
            "[resort]\nbaud_rate = 1234",
            "labd.toml: resort: baud_rate 1234 is none that the motor and the driver share: ",
        ),
        ("[resort]\nservo_id = 253", "labd.toml: resort.servo_id: "),
        ("[resort]\ndirection = 2", "labd.toml: resort.direction: must be one of "),
        ('[resort]\nmode = "velocity"', "labd.toml: resort.mode: must be one of extended_position, position"),
        ("[resort]\nlease_s = 0.5", "labd.toml: resort: lease_s 0.5 must be shorter than watchdog_period_s 0.5"),
        ("[resort]\noffset_deg = nan", "labd.toml: resort: degrees must be finite numbers"),
        ('[resort]\nhotels = ["A", "B"]\nhotel_angles = {E = 0}', "labd.toml: resort: hotel_angles names E, which"),
        ("[resort.Left]\nspeed = 1", "labd.toml: resort.Left: the name of a carousel is a-z"),
        (
            '[resort]\ndevice = "/dev/a"\n[resort.left]\n[resort.right]',
            "labd.toml: resort.right.servo_id: servo 1 on /dev/a is already that of left; give each motor of a bus its",
        ),
        (
            '[resort]\ndevice = "/dev/a"\n[resort.left]\n[resort.right]\nservo_id = 2\nbaud_rate = 115200',
            "labd.toml: resort.right.baud_rate: 115200, but left on the same /dev/a has 57600; all motors of a bus ",
        ),
        (
            '[resort]\ndriver = "simulated"\n[resort.simulated]\nbus = "one"\n[resort.left]\n[resort.right]',
            "labd.toml: resort.right.servo_id: servo 1 on virtual bus one is already that of left; ",
        ),
    ],
)
def test_faults_name_file_and_key(text: str, line: str) -> None:
    problems = read(text)[1]
    assert any(found.startswith(line) for found in problems), problems


def test_carousels_may_hang_on_one_bus_and_virtual_ones_have_their_own() -> None:
    settings, problems = read('[resort]\ndevice = "/dev/a"\n[resort.left]\n[resort.right]\nservo_id = 2')
    assert problems == []
    assert {name: one.bus(name) for name, one in settings.carousels.items()} == {"left": "/dev/a", "right": "/dev/a"}
    assert read('[resort]\ndriver = "simulated"\n[resort.left]\n[resort.right]')[1] == []


def test_every_fault_is_told_at_once() -> None:
    problems = read('[resort]\nspeed = -1\nservo_id = "one"\nhotel = ["A"]')[1]
    assert len(problems) == 3

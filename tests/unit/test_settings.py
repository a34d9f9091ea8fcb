"""Settings: layers, faults all at once, paths, listener rule, queues, schedules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from labd.errors import SettingsFault
from labd.settings import Problems, Settings, load, read_table


class WingTable(msgspec.Struct, frozen=True, kw_only=True):
    device: str = "/dev/ttyUSB0"
    speed: Annotated[float, msgspec.Meta(gt=0, le=460)] = 8.0
    hotels: tuple[str, ...] = ("A", "B")


class FakeFactory:
    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Any:
        return read_table(WingTable, table, where, "resort", problems)


WINGS = {"resort": FakeFactory()}


def loaded(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None, **more: Any) -> Settings:
    folder = tmp_path / "etc"
    folder.mkdir(exist_ok=True)
    (folder / "labd.toml").write_text(text)
    return load(WINGS, environ=environ or {}, system_folder=folder, home=tmp_path / "home", uid=1000, **more)


def faults(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsFault) as caught:
        loaded(tmp_path, text, environ)
    prefix = f"{tmp_path}/etc/"
    return [line.removeprefix(prefix) for line in caught.value.details["problems"]]


def test_every_fault_is_told_at_once_with_file_key_and_problem(tmp_path: Path) -> None:
    text = """
        stat_dir = "/x"
        log_level = "verbose"
        [api]
        listen = "0.0.0.0:8780"
        max_body_bytes = "big"
        [access]
        users = { alice = ["reed"] }
        [queue.standard]
        concurrency = 0
        [schedule.nightly]
        task = "resort.go_home"
        cron = "* * *"
        queue = "standrd"
        [resort]
        sped = 4
        speed = 900
        [resrt]
        device = "/dev/x"
    """
    assert faults(tmp_path, text) == [
        "labd.toml: log_level: must be one of critical, debug, error, info, warning, got 'verbose'",
        "labd.toml: api.max_body_bytes: expected int, got str",
        "labd.toml: api.listen: 0.0.0.0:8780 reaches beyond this host without TLS; set tls_cert and tls_key, or "
        "behind_proxy = true if a proxy in front ends TLS, or listen on 127.0.0.1",
        "labd.toml: access.users.alice[0]: must be one of admin, operate, read, got 'reed'; did you mean read?",
        "labd.toml: queue.standard.concurrency: expected int >= 1, got 0",
        "labd.toml: schedule.nightly.cron: '* * *' has 3 fields, needs 5, such as '0 6 * * 1-5'",
        "labd.toml: schedule.nightly.queue: no queue 'standrd'; did you mean standard?",
        "labd.toml: stat_dir: unknown key; did you mean state_dir?",
        "labd.toml: resort.sped: unknown key; did you mean speed?",
        "labd.toml: resort.speed: expected float <= 460.0, got 900",
        "labd.toml: resrt: unknown table; did you mean resort?",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("api = 5", "labd.toml: api: needs a table, got 5"),
        ("resort = 5", "labd.toml: resort: needs a table, got 5"),
        ("queue = 5", "labd.toml: queue: needs tables such as [queue.NAME], got 5"),
        ("[queue]\nstandard = 5", "labd.toml: queue.standard: needs a table [queue.standard], got 5"),
        (
            "[queue.'a b']",
            "labd.toml: queue.a b: a name has letters, digits, dot, minus and underscore, at most 63",
        ),
        ("[queue.a]\npriority = 10", "labd.toml: queue.a.priority: expected int <= 9, got 10"),
        ("[schedule.a]\ninterval_s = 5", "labd.toml: schedule.a.task: is missing"),
        ("[schedule.a]\ntask = 'x'", "labd.toml: schedule.a: needs exactly one of cron and interval_s"),
        (
            "[schedule.a]\ntask = 'x'\ncron = '99 * * * *'",
            "labd.toml: schedule.a.cron: '99 * * * *' is no cron rule: Bad minute",
        ),
        (
            "[schedule.a]\ntask = 'x'\ninterval_s = 1\ntimezone = 'Vienna'",
            "labd.toml: schedule.a.timezone: 'Vienna' is no time zone, such as Europe/Vienna",
        ),
        (
            "[api]\nlisten = 'nowhere'",
            "labd.toml: api.listen: 'nowhere' is no host:port, such as 127.0.0.1:8780 or [::1]:8780",
        ),
        (
            "[api]\ntls_cert = '/x'",
            "labd.toml: api.tls_cert: tls_cert and tls_key belong together; one of them is missing",
        ),
        ("[engine]\ndrain_s = true", "labd.toml: engine.drain_s: expected float, got bool"),
        ("[access]\nusers = ['alice']", "labd.toml: access.users: needs a table, got ['alice']"),
    ],
)
def test_fault(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(tmp_path, text) == [fault]


def test_tls_files_must_be_there(tmp_path: Path) -> None:
    text = "[api]\nlisten = '0.0.0.0:1'\ntls_cert = '/no/cert'\ntls_key = 'credential:key'"
    assert faults(tmp_path, text) == [
        "labd.toml: api.tls_cert: no file /no/cert",
        "labd.toml: api.tls_key: credential:key: systemd gave no credentials; add LoadCredential=key:/path to the unit",
    ]


@pytest.mark.parametrize("listen", ["127.0.0.1:8780", "[::1]:8780", "localhost:0", "127.9.9.9:1"])
def test_a_loopback_listener_needs_no_tls(tmp_path: Path, listen: str) -> None:
    assert loaded(tmp_path, f"[api]\nlisten = '{listen}'").api.listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8780", "[::]:8780", "192.168.1.4:1", "lab.example:443"])
def test_a_listener_beyond_loopback_needs_tls_or_a_proxy(tmp_path: Path, listen: str) -> None:
    assert "reaches beyond this host without TLS" in faults(tmp_path, f"[api]\nlisten = '{listen}'")[0]
    assert loaded(tmp_path, f"[api]\nlisten = '{listen}'\nbehind_proxy = true").api.behind_proxy


def test_defaults_need_no_file(tmp_path: Path) -> None:
    settings = load(WINGS, environ={}, system_folder=tmp_path, home=tmp_path, uid=1000)
    assert settings.files == ()
    assert settings.wings == {}
    assert settings.api.listen is None
    assert settings.host.name
    assert {name: queue.priority for name, queue in settings.queues.items()} == {
        "high-priority": 1,
        "standard": 2,
        "low-priority": 3,
        "maintenance": 4,
        "monitoring": 5,
    }


def test_a_queue_keeps_what_is_not_said(tmp_path: Path) -> None:
    queues = loaded(tmp_path, "[queue.maintenance]\nconcurrency = 7\n[queue.night]\npriority = 9").queues
    assert (queues["maintenance"].priority, queues["maintenance"].concurrency) == (4, 7)
    assert queues["night"].priority == 9


def test_a_wing_that_is_known_but_not_installed_is_no_fault(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[ot2]\nrobot = 'x'").absent_wings == ("ot2",)


def test_an_empty_wing_table_turns_the_wing_on(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[resort]").wings == {"resort": WingTable()}


def test_later_layers_win_key_by_key_and_are_named(tmp_path: Path) -> None:
    dropped = tmp_path / "etc" / "labd.d"
    dropped.mkdir(parents=True)
    (dropped / "20.toml").write_text("[resort]\nspeed = 3")
    (dropped / "10.toml").write_text("[resort]\nspeed = 2\ndevice = '/dev/ten'")
    user = tmp_path / "home" / ".config" / "labd" / "labd.toml"
    user.parent.mkdir(parents=True)
    user.write_text("[host]\nname = 'mine'")
    settings = loaded(tmp_path, "[resort]\nspeed = 1\nhotels = ['X']", {"LABD_ENGINE__DRAIN_S": "5"})
    assert settings.wings["resort"] == WingTable(device="/dev/ten", speed=3, hotels=("X",))
    assert settings.host.name == "mine"
    assert settings.engine.drain_s == 5
    assert settings.origin == {
        "resort.speed": str(dropped / "20.toml"),
        "resort.hotels": str(tmp_path / "etc" / "labd.toml"),
        "resort.device": str(dropped / "10.toml"),
        "host.name": str(user),
        "engine.drain_s": "environment LABD_ENGINE__DRAIN_S",
    }
    assert settings.given["resort.speed"] == 3


def test_a_fault_names_the_file_its_key_came_from(tmp_path: Path) -> None:
    dropped = tmp_path / "etc" / "labd.d"
    dropped.mkdir(parents=True)
    (dropped / "10.toml").write_text("[resort]\nspeed = -1")
    assert faults(tmp_path, "[resort]\ndevice = 3", {"LABD_RESORT__HOTELS": "A", "LABD_API__MAX_BODY_BYTES": "x"}) == [
        "environment LABD_API__MAX_BODY_BYTES: api.max_body_bytes: expected int, got str",
        "labd.toml: resort.device: expected str, got int",
        "labd.d/10.toml: resort.speed: expected float > 0.0, got -1",
    ]


def test_config_stands_for_all_files(tmp_path: Path) -> None:
    only = tmp_path / "only.toml"
    only.write_text("log_level = 'debug'")
    settings = loaded(tmp_path, "[api]\nlisten = '127.0.0.1:1'", config=only)
    assert (settings.log_level, settings.api.listen, settings.files) == ("debug", None, (only,))


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"[api", "is not TOML: "), (b"\xff", "is not UTF-8 text: byte 0"), (None, "cannot be read: No such file")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, fault: str) -> None:
    only = tmp_path / "only.toml"
    if content is not None:
        only.write_bytes(content)
    with pytest.raises(SettingsFault) as caught:
        loaded(tmp_path, config=only)
    assert caught.value.details["problems"][0].startswith(f"{only}: (file): {fault}")

"""Variables, paths, secret references and `labd check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd import credentials
from labd.check import check
from labd.errors import SettingsFault
from labd.settings import Problems, Settings, default_folders, load, read_table


class WingTable(msgspec.Struct, frozen=True, kw_only=True):
    device: str = "/dev/ttyUSB0"
    hotels: tuple[str, ...] = ("A", "B")
    password: credentials.SecretReference | None = None


class FakeFactory:
    name = "resort"
    extra = "resort"
    modules = ("no_such_module_of_anybody",)

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Any:
        return read_table(WingTable, table, where, "resort", problems)


WINGS = {"resort": FakeFactory()}


def loaded(tmp_path: Path, environ: Mapping[str, str], **more: Any) -> Settings:
    return load(WINGS, environ=environ, system_folder=tmp_path / "none", home=tmp_path, uid=1000, **more)


def test_variables_reach_every_key(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        {
            "LABD_LOG_LEVEL": "debug",
            "LABD_API__LISTEN": "127.0.0.1:9",
            "LABD_API__BEHIND_PROXY": "true",
            "LABD_API__ALLOWED_HOSTS": "a.example, b.example",
            "LABD_QUEUE__HIGH_PRIORITY__CONCURRENCY": "3",
            "LABD_ACCESS__USERS__ALICE": "read,operate",
            "LABD_RESORT__HOTELS": "X,Y",
        },
    )
    assert settings.log_level == "debug"
    assert settings.api.listen == "127.0.0.1:9"
    assert settings.api.behind_proxy
    assert settings.api.allowed_hosts == ("a.example", "b.example")
    assert settings.queues["high-priority"].concurrency == 3
    assert settings.access.users == {"alice": ("read", "operate")}
    assert settings.wings["resort"].hotels == ("X", "Y")


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"LABD_HOST": "unix:/x", "LABD_TOKEN": "t", "LABD_KILL_POINT": "1", "PATH": "/bin"})
    assert settings.origin == {}


@pytest.mark.parametrize(
    ("variable", "fault"),
    [
        ("LABD_LOGLEVEL", "environment: LABD_LOGLEVEL: unknown variable; did you mean LABD_LOG_LEVEL?"),
        ("LABD_APi__LISTN", "environment LABD_APi__LISTN: api.listn: unknown key; did you mean listen?"),
        ("LABD___X", "environment: LABD___X: an empty name between underscores; write LABD_TABLE__KEY"),
        ("LABD_API", None),
    ],
)
def test_a_mistyped_variable_is_named(tmp_path: Path, variable: str, fault: str | None) -> None:
    if fault is None:
        assert loaded(tmp_path, {variable: "x"}).origin == {}
        return
    with pytest.raises(SettingsFault) as caught:
        loaded(tmp_path, {variable: "x"})
    assert caught.value.details["problems"] == [fault]


@pytest.mark.parametrize(
    ("environ", "uid", "state", "runtime"),
    [
        ({}, 0, "/var/lib/labd", "/run/labd"),
        ({}, 1000, "/home/a/.local/state/labd", "/home/a/.local/state/labd/run"),
        ({"XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/run/user/1000"}, 1000, "/s/labd", "/run/user/1000/labd"),
        ({"STATE_DIRECTORY": "/st/a:/st/b", "RUNTIME_DIRECTORY": "/rt"}, 1000, "/st/a", "/rt"),
    ],
)
def test_default_folders(environ: dict[str, str], uid: int, state: str, runtime: str) -> None:
    assert default_folders(environ, Path("/home/a"), uid) == (Path(state), Path(runtime))


def test_a_daemon_with_its_own_state_folder_shares_no_runtime_folder(tmp_path: Path) -> None:
    settings = loaded(tmp_path, {"XDG_RUNTIME_DIR": "/run/user/1"}, overrides={"state_dir": "/srv/two", "socket": None})
    assert settings.runtime_dir == Path("/srv/two/run")
    assert settings.socket == Path("/srv/two/run/labd.sock")
    assert settings.origin == {"state_dir": "command line"}


def test_a_socket_path_that_is_too_long_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault) as caught:
        loaded(tmp_path, {}, overrides={"socket": "/" + "x" * 107})
    assert "is 108 bytes long, a Unix socket takes 107; set a shorter socket" in caught.value.message


def test_secrets_are_read_where_the_reference_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\nmore\n")
    environ = {"TOKEN": "t0ken", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credentials.resolve("env:TOKEN", environ) == "t0ken"
    assert credentials.resolve(f"file:{tmp_path}/token", environ) == "s3cret"
    assert credentials.resolve("credential:token", environ) == "s3cret"


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("env:NOT_THERE", "env:NOT_THERE: the environment variable NOT_THERE is not set or empty"),
        ("file:/no/such", "file:/no/such: /no/such cannot be read: No such file or directory"),
        ("credential:../x", "credential:../x: the name of a credential has no slash"),
        ("vault:x", "vault:x: unknown kind of reference; use env:NAME, file:/path or credential:name"),
    ],
)
def test_a_secret_that_is_not_there(reference: str, fault: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        credentials.resolve(reference, {"CREDENTIALS_DIRECTORY": "/c"})
    assert caught.value.message == fault


def test_a_secret_written_into_the_settings_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault) as caught:
        loaded(tmp_path, {"LABD_RESORT__PASSWORD": "hunter2"})
    assert "never the secret itself" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_check_says_that_there_is_no_fault_and_what_is_off(tmp_path: Path) -> None:
    config = tmp_path / "labd.toml"
    config.write_text("[resort]\n[snapshots]\n")
    lines, ok = check(WINGS, config=config, environ={"HOME": str(tmp_path)})
    assert ok
    assert lines == [
        "wing resort: off: no_such_module_of_anybody is not installed; pip install 'labd[resort]'",
        "wing snapshots: is configured, but this labd has no such wing; it stays off",
        f"no fault found in the settings ({config})",
    ]


def test_check_shows_where_every_value_comes_from(tmp_path: Path) -> None:
    config = tmp_path / "labd.toml"
    config.write_text("[resort]\ndevice = '/dev/x'\n[queue.night]\npriority = 7\n")
    lines, _ = check(WINGS, config=config, environ={"LABD_LOG_LEVEL": "debug", "HOME": "/h"}, show_origin=True)
    shown = [" ".join(line.split()) for line in lines]
    assert 'log_level = "debug" (environment LABD_LOG_LEVEL)' in shown
    assert "api.listen = none (default)" in shown
    assert f"queue.night.priority = 7 ({config})" in shown
    assert "queue.night.concurrency = 4 (default)" in shown
    assert f'resort.device = "/dev/x" ({config})' in shown


def test_check_lists_every_fault(tmp_path: Path) -> None:
    config = tmp_path / "labd.toml"
    config.write_text("a = 1\n[b]\n")
    lines, ok = check(WINGS, config=config, environ={})
    assert not ok
    assert lines == [
        f"{config}: a: unknown key",
        f"{config}: b: unknown table",
        "2 faults; labd would not start with these settings",
    ]

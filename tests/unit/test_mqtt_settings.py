"""`[mqtt]`: what `labd check` finds before a broker is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.errors import SettingsFault
from labd.settings import Settings, load

USERS = 'users = { alice = ["read", "operate"] }'


def read(folder: Path, table: str, host: str = "pi") -> Settings:
    config = folder / "labd.toml"
    config.write_text(f'[host]\nname = "{host}"\n[mqtt]\n{table}\n')
    return load({}, config=config, environ={}, uid=0)


def test_it_is_off_unless_it_is_configured(tmp_path: Path) -> None:
    (tmp_path / "labd.toml").write_text("")
    assert load({}, config=tmp_path / "labd.toml", environ={}, uid=0).mqtt is None


def test_the_hosts_name_is_the_device_unless_said(tmp_path: Path) -> None:
    settings = read(tmp_path, f'broker = "127.0.0.1"\n{USERS}').mqtt
    assert settings is not None
    assert (settings.device_id, settings.topic, settings.users) == ("pi", "labd", {"alice": ("read", "operate")})
    named = read(tmp_path, f'broker = "localhost"\ndevice_id = "ot2-001"\n{USERS}').mqtt
    assert named is not None
    assert named.device_id == "ot2-001"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "mqtt.broker: is missing"),
        ('broker = "127.0.0.1"', "mqtt.users: nobody could ask anything"),
        (f'broker = "lab.example"\n{USERS}', "mqtt.tls: lab.example is another host; set tls = true"),
        (f'broker = "::1"\nca_file = "/ca"\n{USERS}', "mqtt.tls: ca_file and cert_file are for TLS"),
        (f'broker = "::1"\ntls = true\nca_file = "/nowhere/ca.pem"\n{USERS}', "mqtt.ca_file: no file /nowhere/ca.pem"),
        (f'broker = "::1"\ntls = true\ncert_file = "/c"\n{USERS}', "mqtt.cert_file: cert_file and key_file belong"),
        (f'broker = "::1"\npassword = "env:X"\n{USERS}', "mqtt.username: a password needs a username"),
        (f'broker = "::1"\nusername = "labd"\npassword = "hunter2"\n{USERS}', "mqtt.password: needs a reference"),
        (f'broker = "::1"\ndevice_id = "a/b"\n{USERS}', "mqtt.device_id: 'a/b' is no level of a topic"),
        (f'broker = "::1"\ntopic = "lab/#"\n{USERS}', "mqtt.topic:"),
        (f'broker = "::1"\nport = 70000\n{USERS}', "mqtt.port:"),
        ('broker = "::1"\nusers = { "a/b" = ["read"] }', "mqtt.users.a/b: a name of the broker's that is no level"),
        ('broker = "::1"\nusers = { alice = ["all"] }', "must be one of admin, operate, read, got 'all'"),
        (f'broker = "::1"\nbrokr = 1\n{USERS}', "mqtt.brokr: unknown key; did you mean broker?"),
    ],
)
def test_faults_are_named_by_key(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        read(tmp_path, table)
    assert problem in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_host_whose_name_is_no_topic_needs_a_device_id(tmp_path: Path) -> None:
    with pytest.raises(SettingsFault, match="the host's name 'bench one' is no level of a topic; set device_id"):
        read(tmp_path, f'broker = "127.0.0.1"\n{USERS}', host="bench one")

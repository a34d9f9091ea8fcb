"""`[notify]`: what `labd check` finds before anybody is told anything; no fault shows a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.errors import SettingsFault
from labd.notify_outlets import place_of
from labd.settings import Settings, load

MQTT = '[mqtt]\nbroker = "127.0.0.1"\nusers = { alice = ["read"] }\n'


def read(folder: Path, text: str) -> Settings:
    config = folder / "labd.toml"
    config.write_text(f'[host]\nname = "pi"\n{text}\n')
    return load({}, config=config, environ={}, uid=0)


def test_it_is_off_unless_it_is_configured(tmp_path: Path) -> None:
    assert read(tmp_path, "").notify is None


def test_outlets_have_names_of_their_own(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        f'{MQTT}[notify]\nremind_after_s = 3600\n[notify.ops]\nkind = "apprise"\nurl = "credential:ops"\n'
        '[notify.hook]\nkind = "webhook"\nurl = "https://lab.example/x/s3cret"\nonly = ["low_stock"]\n'
        '[notify.lab]\nkind = "mqtt"\nmin_severity = "error"',
    ).notify
    assert settings is not None
    assert (settings.remind_after_s, settings.quiet_s, list(settings.outlets)) == (3600.0, 60.0, ["ops", "hook", "lab"])
    assert [place_of(outlet) for outlet in settings.outlets.values()] == [
        "credential:ops", "https://lab.example", "the broker of [mqtt]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[notify.ops]\nkind = "mail"', "notify.ops.kind: must be one of apprise, mqtt, webhook, got 'mail'"),
        ('[notify.ops]\nkind = "webhook"', "notify.ops.url: an outlet of kind webhook needs one"),
        ('[notify.ops]\nkind = "webhook"\nurl = "s3cret"', "notify.ops.url: needs a reference"),
        ('[notify.ops]\nkind = "webhook"\nurl = "http://lab.example/s3cret"', "notify.ops.url: lab.example is another"),
        ('[notify.ops]\nkind = "webhook"\nurl = "https:///s3cret"', "notify.ops.url: needs http:// or https://"),
        ('[notify.ops]\nkind = "apprise"\nurl = "https://x/s3cret"', "notify.ops.url: of apprise needs a reference"),
        (
            '[notify.ops]\nkind = "apprise"\nurl = "env:X"\nsecret = "env:Y"',
            "notify.ops.secret: secret and ca_file are",
        ),
        ('[notify.ops]\nkind = "webhook"\nurl = "env:X"\nsecret = "s3cret"', "notify.ops.secret: needs a reference"),
        ('[notify.ops]\nkind = "webhook"\nurl = "env:X"\nca_file = "/no/ca"', "notify.ops.ca_file: no file /no/ca"),
        ('[notify.ops]\nkind = "mqtt"', "notify.ops.kind: mqtt goes through the broker of [mqtt], which is not"),
        (f'{MQTT}[notify.ops]\nkind = "mqtt"\nurl = "env:X"', "notify.ops.url: an outlet over MQTT goes through"),
        ('[notify.ops]\nkind = "webhook"\nurl = "env:X"\nmin_severity = "bad"', "must be one of critical, error, info"),
        ('[notify.ops]\nkind = "webhook"\nurl = "env:X"\nonly = ["Low Stock"]', "notify.ops.only[0]:"),
        ('[notify.ops]\nkind = "webhook"\nurl = "env:X"\nurll = ""', "notify.ops.urll: unknown key; did you mean url?"),
        ('[notify."a/b"]\nkind = "webhook"', "notify.a/b: a name has letters"),
        ("[notify]\nquiet_s = -1", "notify.quiet_s:"),
        ("[notify]\nquiet = 1", "notify.quiet: unknown key; did you mean quiet_s?"),
    ],
)
def test_faults_are_named_by_key(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        read(tmp_path, table)
    assert problem in caught.value.message
    assert "s3cret" not in caught.value.message

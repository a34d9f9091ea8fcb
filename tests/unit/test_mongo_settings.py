"""`[mongo]`: what `labd check` finds, and the address that settings and variables give together."""

from __future__ import annotations

from pathlib import Path

import pytest

from labd.errors import SettingsFault
from labd.mongo_address import address_of
from labd.settings import load
from labd.settings_types import MongoSettings

SEED = {
    "blinded_connection_string": "mongodb+srv://ann:<db_password>@lab.example/?w=majority",
    "MONGODB_PASSWORD": "pw",
}


def read(folder: Path, table: str) -> MongoSettings:
    config = folder / "labd.toml"
    config.write_text(f"[mongo]\n{table}\n[inventory]\n")
    mongo = load({}, config=config, environ={}, uid=0).mongo
    assert mongo is not None
    return mongo


def test_it_is_off_unless_it_is_configured(tmp_path: Path) -> None:
    (tmp_path / "labd.toml").write_text("")
    assert load({}, config=tmp_path / "labd.toml", environ=SEED, uid=0).mongo is None


def test_without_an_inventory_there_is_nothing_to_show(tmp_path: Path) -> None:
    (tmp_path / "labd.toml").write_text("[mongo]\n")
    with pytest.raises(SettingsFault, match=r"mongo: shows the inventory; the table \[inventory\] is missing"):
        load({}, config=tmp_path / "labd.toml", environ=SEED, uid=0)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('url = "http://lab.example"', "mongo.url: needs mongodb://HOST:PORT or mongodb+srv://HOST"),
        ('url = "mongodb://ann:hunter2@127.0.0.1/"', "mongo.url: it shows a password; write <db_password> there"),
        ('url = "mongodb+srv://ann:hunter2@lab.example/"', "mongo.url: it shows a password; write <db_password> there"),
        ('url = "mongodb://lab.example:27017/"', "mongo.tls: lab.example:27017 is another host; set tls = true"),
        ('url = "mongodb://127.0.0.1,lab.example/"', "mongo.tls: lab.example is another host; set tls = true"),
        ('username = "ann"', "mongo.password: a username needs a password"),
        ('username = "ann"\npassword = "hunter2"', "mongo.password: needs a reference"),
        ('ca_file = "/nowhere/ca.pem"', "mongo.ca_file: no file /nowhere/ca.pem"),
        ('database = "a.b"', "mongo.database:"),
        ('color_keys = { red = "R", rose = "R" }', "mongo.color_keys: two reservoirs have the same color_key"),
        ("batch = 0", "mongo.batch:"),
        ('colour_keys = { red = "R" }', "mongo.colour_keys: unknown key; did you mean color_keys?"),
    ],
)
def test_faults_are_named_by_key(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        read(tmp_path, table)
    assert problem in caught.value.message
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "table",
    [
        'url = "mongodb://127.0.0.1:27017/"',
        'url = "mongodb://[::1]:27017/?appName=x"',
        'url = "mongodb://ann:<db_password>@localhost/"',
        'url = "mongodb+srv://ann:<db_password>@lab.example/"',
        'url = "mongodb://lab.example/?tls=true"',
        'url = "mongodb://lab.example/"\ntls = true',
        'url = "mongodb://lab.example/"\nplaintext = true',
        'url = "env:LAB_MONGO"',
    ],
)
def test_a_safe_address_is_taken(tmp_path: Path, table: str) -> None:
    assert read(tmp_path, table).url is not None


def test_the_labs_variables_are_enough() -> None:
    address = address_of(MongoSettings(), SEED)
    assert address.url == "mongodb+srv://ann:pw@lab.example/?w=majority"
    assert (address.shown, address.username, address.password) == ("lab.example", None, None)


@pytest.mark.parametrize(
    ("password", "written"),
    [("plain", "plain"), ("p%40ss", "p%40ss"), ("p@ss", "p%40ss"), ("50%", "50%25"), ("a/b:c?", "a%2Fb%3Ac%3F")],
)
def test_a_password_is_escaped_unless_it_already_was(password: str, written: str) -> None:
    address = address_of(MongoSettings(), {**SEED, "MONGODB_PASSWORD": password})
    assert address.url == f"mongodb+srv://ann:{written}@lab.example/?w=majority"


def test_a_user_of_the_settings_goes_beside_the_address() -> None:
    settings = MongoSettings(url="mongodb://127.0.0.1/", username="ann", password="env:WORD")
    address = address_of(settings, {"WORD": "p@ss"})
    assert (address.url, address.username, address.password) == ("mongodb://127.0.0.1/", "ann", "p@ss")


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "env:blinded_connection_string: the environment variable blinded_connection_string is not set or empty"),
        (
            {"blinded_connection_string": SEED["blinded_connection_string"]},
            "env:MONGODB_PASSWORD: the environment variable MONGODB_PASSWORD is not set or empty",
        ),
        (
            {"blinded_connection_string": "mongodb://ann:hunter2@lab.example:27017/"},
            "mongo.tls: lab.example:27017 is another host; set tls = true, or plaintext = true if the line between is "
            "safe",
        ),
        (
            {"blinded_connection_string": "ann:hunter2"},
            "mongo.url: needs mongodb://HOST:PORT or mongodb+srv://HOST, or a reference such as env:NAME to it",
        ),
    ],
)
def test_what_is_missing_is_named_and_no_secret_is(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsFault) as caught:
        address_of(MongoSettings(), environ)
    assert caught.value.message == problem


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://ann:hunter2@lab.example/?tls=true",
        "mongodb://ann:hun/ter2@lab.example/?tls=true",
        "mongodb://ann:hun?ter2@lab.example/?tls=true",
        "mongodb://ann:hun@ter2@lab.example/?tls=true",
    ],
)
def test_no_text_shows_a_secret_of_an_address(url: str) -> None:
    address = address_of(MongoSettings(url="env:LAB"), {"LAB": url})
    assert address.shown == "lab.example"
    password = url.removeprefix("mongodb://ann:").rpartition("@")[0]
    told = address.clean(f"{url} is no address: {password!r} has a colon")
    assert password not in told
    assert "lab.example" not in told.partition(" is no")[0]

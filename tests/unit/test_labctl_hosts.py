"""Which daemon is meant, and the file of known daemons."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from labctl import deadman, hosts
from labctl.transport import parse_address
from labd.errors import BadRequest, NotFound


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    names = ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "APPDATA")
    return {name: str(tmp_path / name.lower()) for name in names}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("unix:/run/labd.sock", "unix:/run/labd.sock"),
        ("unix:///run/labd.sock", "unix:/run/labd.sock"),
        ("/run/labd.sock", "unix:/run/labd.sock"),
        ("http://pi:8780", "http://pi:8780"),
        ("http://pi:8780/", "http://pi:8780"),
        ("https://lab.example/labd/", "https://lab.example:443/labd"),
        ("http://[::1]:8780", "http://[::1]:8780"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert parse_address(text).url == url


@pytest.mark.parametrize("text", ["", "pi", "pi:8780", "ftp://pi", "unix:", "http://", "http://pi:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="not an address of a daemon"):
        parse_address(text)


def test_the_order_is_option_variable_chosen_usual(environ: dict[str, str]) -> None:
    def url(host: str | None = None) -> str:
        return hosts.find(host, environ=environ)[0].url

    if sys.platform != "win32":
        assert [one.url for one in hosts.find(environ=environ)] == [
            f"unix:{environ['XDG_RUNTIME_DIR']}/labd/labd.sock",
            f"unix:{environ['XDG_STATE_HOME']}/labd/run/labd.sock",
            "unix:/run/labd/labd.sock",
        ]
    hosts.host_file(environ).add("pi", "http://pi:1", None, None, choose=True)
    assert url() == "http://pi:1"
    environ["LABD_HOST"] = "http://other:2"
    assert url() == "http://other:2"
    assert url("http://third:3") == "http://third:3"
    assert url("pi") == "http://pi:1"


def test_the_token_is_argument_variable_or_kept_one(environ: dict[str, str]) -> None:
    hosts.host_file(environ).add("pi", "https://pi", "kept", None, choose=False)
    assert hosts.find("pi", environ=environ)[0].token == "kept"
    environ["LABD_TOKEN"] = "variable"
    assert hosts.find("pi", environ=environ)[0].token == "variable"
    assert hosts.find("pi", token="argument", environ=environ)[0].token == "argument"


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_the_file_is_readable_by_its_owner_only(environ: dict[str, str]) -> None:
    file = hosts.host_file(environ)
    file.add("pi", "http://pi", "secret", None, choose=False)
    file.add("hall", "http://hall", None, None, choose=False)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["hosts.json"]


def test_the_first_host_is_chosen_and_a_removed_one_is_not(environ: dict[str, str]) -> None:
    file = hosts.host_file(environ)
    file.add("pi", "http://pi", None, None, choose=False)
    file.add("hall", "http://hall", None, None, choose=False)
    assert file.read()["chosen"] == "pi"
    file.use("hall")
    file.remove("hall")
    assert file.read() == {"chosen": None, "hosts": {"pi": {"url": "http://pi"}}}


def test_an_unknown_name_names_the_known_ones(environ: dict[str, str]) -> None:
    file = hosts.host_file(environ)
    file.add("pi", "http://pi", None, None, choose=False)
    with pytest.raises(NotFound, match="no host is named hall; known: pi; add it with `labctl host add hall URL`"):
        file.use("hall")


@pytest.mark.parametrize("name", ["", "a/b", "unix:x", "a:1"])
def test_a_name_that_could_be_an_address_is_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(BadRequest):
        hosts.host_file(environ).add(name, "http://pi", None, None, choose=False)


def test_a_damaged_file_is_named_and_left_alone(environ: dict[str, str]) -> None:
    file = hosts.host_file(environ)
    file.path.parent.mkdir(parents=True)
    file.path.write_text("{", encoding="utf-8")
    with pytest.raises(BadRequest, match=r"hosts\.json cannot be read"):
        file.add("pi", "http://pi", None, None, choose=False)
    assert file.path.read_text(encoding="utf-8") == "{"


def test_the_watchdog_period_is_kept_for_the_day_without_a_daemon(environ: dict[str, str]) -> None:
    status = {"device": "left", "watchdog": {"supported": True, "period_s": 0.4}}
    deadman.remember("unix:/s", status, environ)
    assert deadman.sentence("unix:/s", None, environ) == (
        "if labd is dead, the motor's own watchdog ends a move within 0.4 s"
    )
    assert "not known here" in deadman.sentence("unix:/other", None, environ)
    assert json.loads(deadman.cache_file(environ).read_text(encoding="utf-8"))["unix:/s"]["left"]["supported"]


def test_a_motor_without_watchdog_is_told_plainly(environ: dict[str, str]) -> None:
    deadman.remember("unix:/s", {"device": "main", "watchdog": {"supported": False}}, environ)
    assert deadman.sentence("unix:/s", "main", environ) == "its motor has no watchdog: IT MAY MOVE ON"


def test_only_the_latest_daemons_are_remembered(environ: dict[str, str]) -> None:
    for number in range(deadman.DAEMONS_AT_MOST + 5):
        deadman.remember(f"unix:/{number}", {"device": "main", "watchdog": {"supported": True}}, environ)
    known = json.loads(deadman.cache_file(environ).read_text(encoding="utf-8"))
    assert list(known) == [f"unix:/{number}" for number in range(5, deadman.DAEMONS_AT_MOST + 5)]

"""Which daemon is meant, and the file of known daemons."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from labctl import deadman, hosts, stop_latch
from labctl.transport import parse_address
from labd.errors import BadRequest, NotFound
from labd.resort.latch_file import LatchFile


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
    assert deadman.sentence("unix:/s", "main", environ) == "its motor has no watchdog that stops it: IT MAY MOVE ON"


def test_only_the_latest_daemons_are_remembered(environ: dict[str, str]) -> None:
    for number in range(deadman.DAEMONS_AT_MOST + 5):
        deadman.remember(f"unix:/{number}", {"device": "main", "watchdog": {"supported": True}}, environ)
    known = json.loads(deadman.cache_file(environ).read_text(encoding="utf-8"))
    assert list(known) == [f"unix:/{number}" for number in range(5, deadman.DAEMONS_AT_MOST + 5)]


def test_the_note_of_a_dead_daemon_goes_before_what_a_status_once_said(tmp_path: Path, environ: dict[str, str]) -> None:
    url = f"unix:{tmp_path}/labd.sock"
    status = {"device": "left", "port": "/dev/old", "watchdog": {"supported": True, "period_s": 0.5}}
    deadman.remember(url, status, environ)
    note = {"device": "left", "port": "/dev/a", "baud_rate": 57600, "servo_id": 3, "watchdog_period_s": 0.9,
            "watchdog_stops_motor": True, "state_dir": "/srv/labd"}  # fmt: skip
    (tmp_path / "resort-left.json").write_text(json.dumps(note), encoding="utf-8")
    assert "within 0.9 s" in deadman.sentence(url, None, environ)
    assert deadman.motor(url, "left", environ) == {
        "device": "left", "supported": True, "period_s": 0.9, "port": "/dev/a", "servo_id": 3, "baud_rate": 57600,
        "state_dir": "/srv/labd", "runtime_dir": str(tmp_path),
    }  # fmt: skip
    (tmp_path / "resort-left.json").write_text("{", encoding="utf-8")
    assert deadman.motor(url, None, environ)["port"] == "/dev/old"


def test_the_note_is_found_where_a_status_said_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    note = {"device": "main", "port": "/dev/a", "watchdog_period_s": 0.5, "watchdog_stops_motor": False}
    (elsewhere / "resort-main.json").write_text(json.dumps(note), encoding="utf-8")
    status = {"device": "main", "motor_note": f"{elsewhere}/resort-main.json", "watchdog": {"supported": True}}
    deadman.remember("unix:/s", status, environ)
    assert "IT MAY MOVE ON" in deadman.sentence("unix:/s", None, environ)


@pytest.mark.parametrize(("folders", "lands"), [("state run", "state"), ("run", "run"), ("", None)])
def test_a_direct_stop_is_latched_where_labd_looks(tmp_path: Path, folders: str, lands: str | None) -> None:
    for folder in folders.split():
        (tmp_path / folder).mkdir()
    facts = {"device": "left", "state_dir": str(tmp_path / "state"), "runtime_dir": str(tmp_path / "run")}
    path = stop_latch.leave(facts, "smoke")
    assert path == (tmp_path / lands / "resort-left.stop-latched" if lands else None)
    if path is not None:
        record = LatchFile(path).read()
        assert record is not None
        assert (record.reason, "by labctl without labd" in record.by) == ("smoke", True)
        assert stop_latch.leave(facts, "again") == path
        assert LatchFile(path).read() == record

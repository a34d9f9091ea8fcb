"""What labd's start leaves out, and that it is there as soon as somebody wants it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "import sys, threading; from labd import lean; lean.import_lightly(); "


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", BEGIN + code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_server_is_imported_without_the_client_and_without_rich() -> None:
    loaded = set(run("from aiohttp import web; web.Response; import structlog; print(*sys.modules)").split())
    assert {"aiohttp.web", "aiohttp.web_response", "structlog"} <= loaded
    assert not {"aiohttp.client", "aiohttp.connector", "aiohttp.web_app", "rich"} & loaded


def test_the_doors_take_nothing_of_the_server_that_is_not_theirs() -> None:
    loaded = set(run("import labd.doors; print(*sys.modules)").split())
    assert {"aiohttp.web_protocol", "aiohttp.web_server"} <= loaded
    assert not {"aiohttp.client", "aiohttp.web_app", "aiohttp.web_fileresponse", "aiohttp.connector"} & loaded


def test_the_parts_that_are_had_alone_are_those_of_the_whole() -> None:
    code = "from aiohttp import web; parts = [getattr(web, name) for name in lean.SERVER_PARTS]; web.Application; "
    assert run(code + "print([getattr(web, name) for name in lean.SERVER_PARTS] == parts, len(parts))") == "True 5"


@pytest.mark.parametrize(
    "code",
    [
        "import aiohttp; print(aiohttp.ClientSession.__module__)",
        "from aiohttp import ClientSession; print(ClientSession.__module__)",
        "from aiohttp import web; import aiohttp; web.Application; print(aiohttp.ClientSession.__module__)",
        "from aiohttp.web import Application, run_app; import aiohttp.client as found; print(found.__name__)",
        "from aiohttp import *; print(ClientSession.__module__)",
        "import aiohttp.client; print(aiohttp.client.ClientSession.__module__)",
    ],
)
def test_the_client_is_there_when_it_is_asked_for(code: str) -> None:
    assert run(code) == "aiohttp.client"


def test_everything_is_as_aiohttp_itself_has_it() -> None:
    code = "import aiohttp; from aiohttp import web; aiohttp.ClientSession, web.Application; "
    code += "print(*vars(aiohttp), *vars(web))"
    plain = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(run(code).split()) >= set(plain.stdout.split()) > {"ClientSession", "Application", "__version__"}


def test_what_aiohttp_has_not_is_missed_as_ever_and_brings_nothing_in() -> None:
    found = "hasattr(aiohttp, '__wrapped__'), 'aiohttp.client' in sys.modules, hasattr(aiohttp, 'no')"
    assert run(f"import aiohttp; print({found})") == "False False False"


def test_of_two_threads_that_ask_at_once_both_get_it() -> None:
    code = """import aiohttp
barrier, found = threading.Barrier(8), []
def ask(): barrier.wait(); found.append(aiohttp.ClientSession is aiohttp.client.ClientSession)
threads = [threading.Thread(target=ask) for _ in range(8)]
[one.start() for one in threads]; [one.join() for one in threads]; print(len(found), set(found))"""
    assert run(code) == "8 {True}"


def test_who_comes_too_late_changes_nothing() -> None:
    code = "import aiohttp, sys; from labd import lean; lean.import_lightly(); print('aiohttp.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"

"""A canary in every secret that the settings take; everything that labd writes, answers or starts is searched for them.

What is reached with them is away or says no, so that every message of a failure is made as well.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import tempfile
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.processes import Daemon, script, toml

TASKS = """
import os
from labd import log, task

@task
def looks():
    return dict(os.environ)

@task
def breaks():
    raise RuntimeError("the task breaks")
"""
READS = (
    "status", "tasks", "jobs?limit=500", "queues", "schedules", "audit?limit=500", "tokens", "alerts", "settings",
    "doctor", "environments", "ingestions", "snapshots", "inventory", "resort/status", "openapi.json",
)  # fmt: skip


class Canaries:
    """Each is a word of its own, so that the one that was found tells which secret got out."""

    def __init__(self, folder: Path) -> None:
        self.words: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        self._folder = folder

    def variable(self, name: str, form: str = "{}") -> str:
        word = self.words[name] = f"c4n4ry{name.replace('_', '')}{secrets.token_hex(6)}"
        self.environ[f"THE_{name.upper()}"] = form.format(word)
        return f"env:THE_{name.upper()}"

    def file(self, name: str, form: str = "{}") -> str:
        word = self.words[name] = f"c4n4ry{name.replace('_', '')}{secrets.token_hex(6)}"
        path = self._folder / f"{name}.secret"
        path.write_text(form.format(word) + "\n")
        path.chmod(0o600)
        return f"file:{path}"

    def found_in(self, data: bytes) -> list[str]:
        """Names of those that are in it, plain, as in URLs, in base64 or in hex."""
        found = []
        for name, word in self.words.items():
            raw = word.encode()
            forms = [raw, urllib.parse.quote(word).encode(), raw.hex().encode()]
            forms += [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
            if any(form in data for form in forms):
                found.append(name)
        return found


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def settings_of(folder: Path, canaries: Canaries) -> str:
    """All tables that take a secret, each with one of its own."""
    away = closed_port()
    (folder / "tasks.d").mkdir()
    (folder / "tasks.d" / "own.py").write_text(TASKS)
    credentials = {
        "access_key_id": canaries.variable("key_id"),
        "secret_access_key": canaries.file("access_key"),
    }
    inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in credentials.items())
    tables = [
        toml("tasks", folders=[str(folder / "tasks.d")], poll_s=0),
        toml("resort", driver="simulated"),
        toml("inventory", simulated=True),
        toml("mqtt", broker="127.0.0.1", port=away, username="labd", password=canaries.variable("mqtt_password"))
        + 'users = { alice = ["operate"] }\n',
        toml("mongo", url=canaries.variable("mongo_url", f"mongodb://labd:{{}}@127.0.0.1:{away}/?timeoutMS=300")),
        toml("notify.hook", kind="webhook", url=canaries.variable("hook_url", f"http://127.0.0.1:{away}/{{}}"))
        + f"secret = {json.dumps(canaries.file('hook_secret'))}\n",
        toml("notify.chat", kind="apprise", url=canaries.variable("chat_url", f"json://u:{{}}@127.0.0.1:{away}/")),
        toml("snapshots", engine="neo4j", watch=False),
        toml("snapshots.dataset", base_path=str(folder / "snapshots")),
        toml("snapshots.neo4j", bolt_port=away, arrow_port=away, password=canaries.file("neo4j_password"))
        + "answer_timeout_s = 1.0\n",
        toml("ingest"),
        f"[ingest.credentials.lake]\noptions = {{ endpoint = 'http://127.0.0.1:{away}', region = 'x' }}\n"
        f"secrets = {{ {inline} }}\n",
        f"[ingest.catalog.far]\ntype = 'rest'\nuri = 'http://127.0.0.1:{away}'\n"
        f"secrets = {{ token = {json.dumps(canaries.variable('catalog_token'))} }}\n",
        f"[ingest.catalog.near]\ntype = 'sql'\nwarehouse = '{folder / 'warehouse'}'\n"
        f"secrets = {{ uri = {json.dumps(canaries.variable('catalog_uri', 'postgresql://u:{}@127.0.0.1:1/x'))} }}\n",
        toml("ingest.spark", url=f"sc://localhost:{away}", token=canaries.variable("spark_token"))
        + "connect_timeout_s = 1.0\n",
    ]
    return "".join(tables)


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Daemon, Canaries]]:
    """One daemon for all; the last test ends it, to search its files at rest as well."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    canaries = Canaries(folder)
    daemon = Daemon(folder, settings_of(folder, canaries))
    daemon.env.update(canaries.environ)
    try:
        yield daemon.start(), canaries
    finally:
        daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def answer(daemon: Daemon, path: str) -> bytes:
    """What the API says, head and all."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(20.0)
        line.connect(str(daemon.socket))
        line.sendall(f"GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while part := line.recv(65536):
            said += part
    return said


def test_workers_do_not_inherit_the_variables_that_hold_secrets(guarded: tuple[Daemon, Canaries]) -> None:
    """What a task prints goes into logs and bundles, and many a library prints its environment."""
    daemon, canaries = guarded
    text = json.dumps(daemon.client.execute("looks", timeout_s=30)).encode()
    assert b"PATH" in text
    assert not canaries.found_in(text)


def test_a_token_is_kept_as_a_digest_only(guarded: tuple[Daemon, Canaries]) -> None:
    daemon, _ = guarded
    made: dict[str, Any] = daemon.labctl.json("token", "create", "keeper", "--scope", "admin")
    word = next(value for value in made.values() if isinstance(value, str) and value.startswith("labd_"))
    for path in daemon.folder.rglob("*"):
        if path.is_file():
            assert word.encode() not in path.read_bytes(), path.name
    assert b"keeper" in answer(daemon, "tokens")


def everything(daemon: Daemon) -> dict[str, bytes]:
    """Use every part, and collect what comes out of it: text by what said it."""
    said: dict[str, bytes] = {}

    def run(*words: object, **env: str) -> None:
        code, out, err = daemon.labctl(*words, **env)
        said[f"labctl {' '.join(map(str, words))}"] = f"{code} {out} {err}".encode()

    lake = ("--source", "s3://raw/x", "--format", "jsonl", "--credentials", "lake")
    run("--json", "task", "run", "breaks")
    run("--json", "ingest", "preview", *lake, "--table", "a.b")
    for name, catalog in (("far", "far"), ("near", "near")):
        (daemon.folder / "in").mkdir(exist_ok=True)
        (daemon.folder / "in" / "one.jsonl").write_text('{"a": 1}\n')
        source = ("--source", f"file://{daemon.folder / 'in'}", "--format", "jsonl", "--settle", "0")
        run("ingest", "create", name, *source, "--table", f"{catalog}/a.{name}")
        run("--json", "--timeout", "6", "ingest", "run", name)
    run("ingest", "create", "objects", *lake, "--table", "a.objects")
    run("--json", "--timeout", "6", "ingest", "run", "objects")
    run("ingest", "export")
    run("snapshot", "health")
    run("--json", "alert", "test", "hook")
    run("--json", "alert", "test", "chat")
    run("--json", "alert", "list")
    run("doctor")
    run("status")
    run("token", "create", "tester", "--scope", "read")
    run("bundle", daemon.folder / "bundle.tar.gz")
    for path in READS:
        said[f"GET {path}"] = answer(daemon, path)
    check = [*script("labd"), "check", "--show-origin", "--config", str(daemon.config)]
    done = psutil.Popen(check, env=daemon.env, stdout=-1, stderr=-1)
    out, err = done.communicate(timeout=40)
    said["labd check"] = out + err
    return said


def packed(data: bytes) -> bytes:
    """What is in a gzip, beside it."""
    try:
        return zlib.decompress(data, 31)
    except zlib.error:
        return b""


def test_no_canary_is_seen_anywhere(guarded: tuple[Daemon, Canaries]) -> None:
    daemon, canaries = guarded
    said = everything(daemon)
    assert b"the task breaks" in said["GET jobs?limit=500"], "the search sees what there is to see"
    wrong = [name for name, text in said.items() if name.startswith("GET ") and b"HTTP/1.1 200" not in text]
    assert not wrong, wrong
    for process in daemon.children():
        with process.oneshot():
            said[f"command line of {process.pid}"] = "\0".join(process.cmdline()).encode()
            said[f"environment of {process.pid}"] = json.dumps(process.environ()).encode()
    said["the daemon's command line"] = "\0".join(psutil.Process(daemon.pid).cmdline()).encode()
    backup = daemon.folder / "backup.tar"
    done = psutil.Popen(
        [*script("labd"), "backup", str(backup), "--config", str(daemon.config), "--socket", str(daemon.socket)],
        env=daemon.env, stdout=-1, stderr=-1,
    )  # fmt: skip
    out, err = done.communicate(timeout=40)
    said["labd backup"] = out + err
    assert backup.exists(), err
    daemon.end()
    told = [path for path in daemon.folder.rglob("*") if path.is_file() and path.suffix != ".secret"]
    for path in told:
        data = path.read_bytes()
        said[str(path.relative_to(daemon.folder))] = data + packed(data)
    assert any(path.name == "labd.db" for path in told)
    assert "bundle.tar.gz" in said
    found = {place: canaries.found_in(data) for place, data in said.items()}
    assert not {place: names for place, names in found.items() if names}


def test_the_search_would_find_them(tmp_path: Path) -> None:
    canaries = Canaries(tmp_path)
    canaries.variable("one")
    word = canaries.words["one"].encode()
    for text in (word, b"x" + base64.b64encode(b"user:" + word) + b"x", word.hex().encode(), os.urandom(9) + word):
        assert canaries.found_in(text) == ["one"]
    assert canaries.found_in(b"c4n4ry") == []

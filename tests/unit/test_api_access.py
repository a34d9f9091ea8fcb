"""Who may what: every route, every kind of caller, both transports, from one table."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import structlog

from labd.api import gate as gate_module
from labd.api.access import AccessTable, Peer, grant, peer_of
from labd.api.bearer import BrowserSessions, TokenBook, hash_of
from labd.api.dispatch import Dispatcher
from labd.api.endpoint import Call, Endpoint
from labd.api.gate import COOKIE, Gate
from labd.api.options import ApiOptions
from labd.api.server import ApiServer, build
from labd.engine.job import INTERNAL
from labd.errors import NotFound, SettingsFault
from tests.fakes.api_door import nothing_changed, open_door
from tests.fakes.api_engine import FakeStatus, MemoryEngine
from tests.fakes.raw_http import RawClient

STRANGER, READER, OPERATOR, ADMIN = 61001, 61002, 61003, 61004
READERS = 62002
SCOPES_OF = {
    "stranger": frozenset[str](),
    "reader": frozenset({"read"}),
    "operator": frozenset({"read", "operate"}),
    "admin": frozenset({"read", "operate", "admin"}),
}


class StandingClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError("nothing here sleeps")


@dataclass
class Doors:
    """A server whose handlers do nothing, with a credential for every kind of caller."""

    server: ApiServer
    tokens: TokenBook
    sessions: BrowserSessions
    gate: Gate
    clock: StandingClock
    options: ApiOptions
    engine: MemoryEngine
    secrets: dict[str, str]

    async def unix(self) -> RawClient:
        return await RawClient.unix(self.options.socket)

    async def tcp(self) -> RawClient:
        assert self.server.tcp_address is not None
        return await RawClient.tcp(self.server.tcp_address)


async def _did(call: Call) -> dict[str, str]:
    return {"did": call.caller.name}


@asynccontextmanager
async def open_doors(state_dir: Path) -> AsyncIterator[Doors]:
    clock, engine = StandingClock(), MemoryEngine()
    options = ApiOptions(
        socket=state_dir / "s",
        state_dir=state_dir,
        listen="127.0.0.1:0",
        users={str(OPERATOR): ("operate",), str(ADMIN): ("admin",)},
        groups={str(READERS): ("read",)},
    )
    real = build(engine, options, [], FakeStatus(), nothing_changed)  # type: ignore[arg-type]
    tokens = TokenBook(engine, clock)  # type: ignore[arg-type]
    sessions = BrowserSessions(tokens, clock, 3600.0)
    gate = Gate(options, tokens, sessions, clock)
    plain = [replace(endpoint, handler=_did, body=None, query=None, status=200) for endpoint in real.endpoints]
    server = ApiServer(options, Dispatcher(plain, gate, 10_000, 5.0), gate, tokens)
    await server.start()
    secrets = {}
    for kind, scope in (("reader", "read"), ("operator", "operate"), ("admin", "admin")):
        _, secrets[kind] = await tokens.make(kind, (scope,), "test", None)
    try:
        yield Doors(server, tokens, sessions, gate, clock, options, engine, secrets)
    finally:
        await server.stop()


def concrete(endpoint: Endpoint) -> str:
    for part in ("{id}", "{name}", "{name:.+}", "{task:.+}"):
        endpoint = replace(endpoint, path=endpoint.path.replace(part, "1"))
    return endpoint.path


def expected(endpoint: Endpoint, kind: str) -> int:
    """The whole rule in four lines."""
    if endpoint.scope == "none":
        return 200
    if kind == "nobody":
        return 401
    return 200 if endpoint.scope in SCOPES_OF[kind] else 403


PEERS = {
    "stranger": Peer(1, STRANGER, frozenset({STRANGER})),
    "reader": Peer(1, READER, frozenset({READER, READERS})),
    "operator": Peer(1, OPERATOR, frozenset()),
    "admin": Peer(1, ADMIN, frozenset()),
}


@pytest.mark.parametrize("kind", PEERS)
async def test_matrix_on_the_socket(kind: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "peer_of", lambda _: PEERS[kind])
    async with open_doors(state_dir) as doors, await doors.unix() as client:
        with structlog.testing.capture_logs():
            wrong = []
            for endpoint in doors.server.endpoints:
                answer = await client.ask(endpoint.method, concrete(endpoint))
                if answer.status != expected(endpoint, kind):
                    wrong.append(f"{endpoint.method} {endpoint.path} as {kind}: {answer.status} {answer.body!r}")
        assert not wrong


@pytest.mark.parametrize("by", ["bearer", "cookie"])
@pytest.mark.parametrize("kind", ["nobody", "reader", "operator", "admin"])
async def test_matrix_on_tcp(kind: str, by: str, state_dir: Path) -> None:
    async with open_doors(state_dir) as doors, await doors.tcp() as client:
        headers = {}
        if kind != "nobody" and by == "bearer":
            headers = {"Authorization": f"Bearer {doors.secrets[kind]}"}
        elif kind != "nobody":
            cookie = await doors.sessions.open(doors.secrets[kind])
            headers = {"Cookie": f"{COOKIE}={cookie}", "Origin": f"http://{client.host}"}
        with structlog.testing.capture_logs():
            wrong = []
            for endpoint in doors.server.endpoints:
                answer = await client.ask(endpoint.method, concrete(endpoint), headers=headers)
                if answer.status != expected(endpoint, kind):
                    wrong.append(f"{endpoint.method} {endpoint.path} as {kind}: {answer.status} {answer.body!r}")
        assert not wrong


async def test_bad_credentials_are_nobody(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        row, revoked = await doors.tokens.make("revoked", ("admin",), "test", None)
        await doors.tokens.revoke(row.id, INTERNAL)
        _, expired = await doors.tokens.make("expired", ("admin",), "test", 10.0)
        doors.clock.now += 10.0
        stored = doors.tokens.rows()[0].hash
        for credential in (
            f"Bearer {revoked}",
            f"Bearer {expired}",
            f"Bearer {stored}",
            "Bearer ",
            "Bearer labd_nonsense",
            f"Basic {doors.secrets['admin']}",
            doors.secrets["admin"],
        ):
            async with await doors.tcp() as client:
                answer = await client.ask("GET", "/api/v1/status", headers={"Authorization": credential})
                assert (answer.status, answer.code) == (401, "not_authenticated"), credential
                answer = await client.ask("GET", "/api/v1/status", headers={"Cookie": f"{COOKIE}={credential}"})
                assert answer.status == 401


async def test_a_revoked_token_ends_on_an_open_connection(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors, await doors.tcp() as client:
        headers = {"Authorization": f"Bearer {doors.secrets['reader']}"}
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 200
        await doors.tokens.revoke(doors.tokens.rows()[0].id, INTERNAL)
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 401


async def test_a_token_expires_on_an_open_connection(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors, await doors.tcp() as client:
        _, secret = await doors.tokens.make("short", ("read",), "test", 30.0)
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 200
        doors.clock.now += 30.0
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).status == 401


async def test_one_connection_may_change_its_caller(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors, await doors.tcp() as client:
        for kind in ("admin", "reader", "admin"):
            headers = {"Authorization": f"Bearer {doors.secrets[kind]}"}
            answer = await client.ask("GET", "/api/v1/status", headers=headers)
            assert answer.json == {"did": f"token:{kind}"}
        assert (await client.ask("GET", "/api/v1/status")).status == 401


async def test_a_token_also_counts_on_the_socket(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "peer_of", lambda _: PEERS["stranger"])
    async with open_doors(state_dir) as doors, await doors.unix() as client:
        headers = {"Authorization": f"Bearer {doors.secrets['reader']}"}
        assert (await client.ask("GET", "/api/v1/status", headers=headers)).json == {"did": "token:reader"}
        assert (await client.ask("GET", "/api/v1/status")).status == 403


async def test_another_access_table_rules_on_open_connections(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "peer_of", lambda _: PEERS["operator"])
    async with open_doors(state_dir) as doors, await doors.unix() as client:
        assert (await client.ask("GET", "/api/v1/status")).status == 200
        doors.server.change_access(replace(doors.options, users={}))
        refused = await client.ask("GET", "/api/v1/status")
        assert (refused.status, refused.code) == (403, "scope_missing")
        assert refused.json["message"] == (
            f"unix:{OPERATOR} lacks the scope read for GET /api/v1/status; "
            "it is granted by the [access] table of labd.toml"
        )


async def test_only_a_hash_is_stored_and_use_is_noted_once_a_minute(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        row, secret = await doors.tokens.make("dashboard", ("read",), "unix:alice", None)
        stored = doors.engine.tokens()[-1]
        assert secret not in repr(stored)
        assert stored.hash == hash_of(secret)
        assert len(secret) >= 43  # 256 bits in base64
        assert row.last_used_at is None
        for moved_s, noted_s in ((0.0, 0.0), (59.0, 0.0), (1.0, 60.0)):
            doors.clock.now += moved_s
            await doors.tokens.login(secret)
            assert doors.engine.tokens()[-1].last_used_at == 1_000_000.0 + noted_s
        with pytest.raises(NotFound):
            await doors.tokens.revoke(999, INTERNAL)


async def test_a_browser_logs_in_and_out(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, listen="127.0.0.1:0") as server:
        assert server.tcp_address is not None
        async with await RawClient.unix(state_dir / "labd.sock") as admin:
            token = (await admin.ask("POST", "/api/v1/tokens", {"name": "web", "scopes": ["operate"]})).json["token"]
        async with await RawClient.tcp(server.tcp_address) as client:
            own = {"Origin": f"http://{client.host}"}
            assert (await client.ask("POST", "/api/v1/session", {"token": "labd_wrong"}, own)).status == 401
            login = await client.ask("POST", "/api/v1/session", {"token": token}, own)
            cookie, *marks = login.headers["set-cookie"].split("; ")
            assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(marks)
            assert token not in login.headers["set-cookie"]
            headers = {"Cookie": cookie}
            assert (await client.ask("GET", "/api/v1/session", headers=headers)).json["name"] == "token:web"
            submit = {"task": "x"}
            assert (await client.ask("POST", "/api/v1/jobs", submit, {**headers, **own})).status == 201
            refused = await client.ask("POST", "/api/v1/jobs", submit, headers)
            assert (refused.status, refused.code) == (403, "origin_refused")
            out = await client.ask("DELETE", "/api/v1/session", headers={**headers, **own})
            assert out.json == {"logged_in": False}
            assert (await client.ask("GET", "/api/v1/session", headers=headers)).status == 401


async def test_a_session_ends_with_its_time_and_with_its_token(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        row, secret = await doors.tokens.make("web", ("read",), "test", None)
        cookie = await doors.sessions.open(secret)
        assert cookie is not None
        assert await doors.sessions.login(cookie) is not None
        doors.clock.now += 3600.0
        assert await doors.sessions.login(cookie) is None
        again = await doors.sessions.open(secret)
        assert again is not None
        await doors.tokens.revoke(row.id, INTERNAL)
        assert await doors.sessions.login(again) is None


async def test_a_session_that_is_used_goes_on_but_not_for_ever(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        engine, secret = doors.engine, doors.secrets["reader"]

        def reborn() -> BrowserSessions:
            return BrowserSessions(doors.tokens, doors.clock, 3600.0, engine, 10_000.0)  # type: ignore[arg-type]

        sessions = reborn()
        used, left = await sessions.open(secret), await sessions.open(secret)
        assert used is not None
        assert left is not None
        for _ in range(3):
            doors.clock.now += 3000.0
            login = await sessions.login(used)
            assert login is not None
        assert await sessions.login(left) is None
        doors.clock.now += 900.0
        last = await reborn().login(used)
        assert last is not None, "the renewal is on disk"
        assert last.until <= doors.clock.now + 100.0
        doors.clock.now += 100.0
        assert await sessions.login(used) is None


async def test_a_session_of_an_older_labd_is_known_and_ends_in_its_time(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        now = doors.clock.now
        stored = {hash_of("cookie"): [hash_of(doors.secrets["reader"]), now + 50.0]}
        await doors.engine.store_value("browser_sessions", stored)
        sessions = BrowserSessions(doors.tokens, doors.clock, 3600.0, doors.engine, 10_000.0)  # type: ignore[arg-type]
        assert await sessions.login("cookie") is not None
        doors.clock.now += 50.0
        assert await sessions.login("cookie") is None


async def test_a_session_outlives_the_daemon_and_its_end_too(state_dir: Path) -> None:
    async with open_doors(state_dir) as doors:
        secret = doors.secrets["reader"]

        def reborn() -> BrowserSessions:
            return BrowserSessions(doors.tokens, doors.clock, 3600.0, doors.engine)  # type: ignore[arg-type]

        cookie = await reborn().open(secret)
        assert cookie is not None
        login = await reborn().login(cookie)
        assert login is not None
        assert login.caller.name == "token:reader"
        assert cookie not in str(await doors.engine.stored_value("browser_sessions"))
        assert secret not in str(await doors.engine.stored_value("browser_sessions"))
        await reborn().close(cookie)
        assert await reborn().login(cookie) is None


HOSTS = [
    ("127.0.0.1:8780", 200),
    ("localhost", 200),
    ("LOCALHOST:1", 200),
    ("[::1]:8780", 200),
    ("bench3.lab", 200),
    ("labd.example", 200),
    ("evil.example", 403),
    ("127.0.0.1.evil.example", 403),
    ("localhost.", 403),
    ("", 403),
    ("[", 403),
]


@pytest.mark.parametrize(("host", "status"), HOSTS)
async def test_only_own_names_are_answered_on_tcp(host: str, status: int, state_dir: Path) -> None:
    options = {"listen": "127.0.0.1:0", "host_name": "bench3.lab", "allowed_hosts": ("labd.example",)}
    async with open_door(MemoryEngine(), state_dir, **options) as server:
        assert server.tcp_address is not None
        async with await RawClient.tcp(server.tcp_address) as client:
            answer = await client.ask("GET", "/healthz", headers={"Host": host})
            assert answer.status == status
            if status == 403:
                assert answer.code == "origin_refused"


ORIGINS = [
    (None, 200),
    ("http://{host}", 200),
    ("https://lab.example", 200),
    ("https://{host}", 403),
    ("http://evil.example", 403),
    ("http://{host}.evil.example", 403),
    ("https://lab.example.evil.example", 403),
    ("null", 403),
    ("file://", 403),
    ("*", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
async def test_pages_from_elsewhere_are_refused(origin: str | None, status: int, state_dir: Path) -> None:
    options = {"listen": "127.0.0.1:0", "allowed_origins": ("https://lab.example",)}
    async with open_door(MemoryEngine(), state_dir, **options) as server:
        assert server.tcp_address is not None
        async with await RawClient.tcp(server.tcp_address) as client:
            headers = {} if origin is None else {"Origin": origin.format(host=client.host)}
            answer = await client.ask("GET", "/healthz", headers=headers)
            assert answer.status == status
            assert "access-control-allow-origin" not in answer.headers


async def test_a_page_gets_no_further_by_asking_before(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, listen="127.0.0.1:0") as server:
        assert server.tcp_address is not None
        async with await RawClient.tcp(server.tcp_address) as client:
            good = await client.ask("GET", "/healthz")
            bad = await client.ask("GET", "/healthz", headers={"Origin": "http://evil.example"})
            preflight = await client.ask("OPTIONS", "/api/v1/jobs", headers={"Origin": f"http://{client.host}"})
            assert (good.status, bad.status, preflight.status) == (200, 403, 405)
            assert "access-control-allow-origin" not in preflight.headers


async def test_a_foreign_origin_is_refused_on_the_socket_too(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir), await RawClient.unix(state_dir / "labd.sock") as client:
        assert (await client.ask("GET", "/healthz", headers={"Origin": "http://evil.example"})).status == 403
        assert (await client.ask("GET", "/healthz", headers={"Host": "whatever"})).status == 200


def test_scopes_include_the_lesser_ones() -> None:
    assert grant(("admin",)) == SCOPES_OF["admin"]
    assert grant(("operate",)) == SCOPES_OF["operator"]
    assert grant(()) == frozenset()
    with pytest.raises(SettingsFault, match="scope root is unknown; labd knows read, operate, admin"):
        grant(("root",))


def test_users_groups_and_everybody_add_up() -> None:
    table = AccessTable({"*": ("read",), "61003": ("operate",)}, {"62002": ("admin",)})
    assert table.scopes(Peer(1, 61009, frozenset())) == SCOPES_OF["reader"]
    assert table.scopes(Peer(1, 61003, frozenset())) == SCOPES_OF["operator"]
    assert table.scopes(Peer(1, 61003, frozenset({62002}))) == SCOPES_OF["admin"]
    assert table.scopes(Peer(1, 0, frozenset())) == SCOPES_OF["admin"]
    assert table.scopes(Peer(1, os.geteuid(), frozenset())) == SCOPES_OF["admin"]


def test_names_that_do_not_exist_on_this_host_are_told_and_skipped() -> None:
    with structlog.testing.capture_logs() as lines:
        AccessTable({"no-such-user": ("read",), "root": ("read",)}, {"no-such-group": ("read",)})
    assert [(line["kind"], line["name"]) for line in lines] == [("user", "no-such-user"), ("group", "no-such-group")]


def test_the_kernel_tells_who_is_there() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours)
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
    assert peer.gids == {os.getegid(), *os.getgroups()}


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root: only root can become somebody else")
def test_supplementary_groups_of_another_user_are_seen(state_dir: Path) -> None:
    state_dir.chmod(0o755)
    path = state_dir / "s"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        path.chmod(0o666)
        door.settimeout(10)
        # A fork and no new program: the interpreter may lie where nobody else can read it.
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([READERS])
                os.setgid(STRANGER)
                os.setuid(STRANGER)
                with socket.socket(socket.AF_UNIX) as caller:
                    caller.connect(str(path))
                    caller.recv(1)
            finally:
                os._exit(0)
        try:
            connection, _ = door.accept()
            with connection:
                peer = peer_of(connection)
        finally:
            os.waitpid(child, 0)
    assert (peer.pid, peer.uid) == (child, STRANGER)
    assert peer.gids == {STRANGER, READERS}
    assert AccessTable({}, {str(READERS): ("operate",)}).scopes(peer) == SCOPES_OF["operator"]

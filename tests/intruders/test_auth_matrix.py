"""Every route, every caller, every transport: who is let in and who is not, against a table written by hand.

Why a query parameter that no route knows: whoever is let through to a route gets `bad_request` for it, before any
handler runs. So the real doors of a whole daemon are asked, and nothing moves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from labd.api.gate import COOKIE
from labd.api.openapi import plain_path
from labd.engine.job import INTERNAL
from labd.errors import NotAuthenticated, ScopeMissing
from tests.fakes.raw_http import Answer, RawClient
from tests.intruders.matrix import allows, table
from tests.intruders.whole_house import (
    ADMIN,
    GROUP,
    NOBODY,
    OF_GROUP,
    OPERATOR,
    READER,
    House,
    may_be_others,
)

TABLE = table()
SCOPES = ("read", "operate", "admin")
SAFE = ("GET", "HEAD")


@dataclass(frozen=True)
class Credential:
    """What a caller shows over TCP, and what they may with it; `held` None is nobody at all."""

    headers: dict[str, str]
    held: str | None
    needs_origin: bool = False


async def credentials(house: House) -> dict[str, Credential]:
    """Every kind of caller over TCP."""
    assert house.app._api is not None
    tokens = house.app._api._tokens
    sessions = house.app._api._gate._sessions

    async def make() -> dict[str, Credential]:
        own = {"Origin": house.origin}
        found = {
            "nobody": Credential({}, None),
            "a guess": Credential({"Authorization": "Bearer labd_guess"}, None),
            "bytes that are no text": Credential({"Authorization": "Bearer \xff\xfe"}, None),
            "another scheme": Credential({"Authorization": "Basic bGFiZDpsYWJk"}, None),
            "a made-up session": Credential({"Cookie": f"{COOKIE}=guess", **own}, None),
        }
        for scope in SCOPES:
            _, secret = await tokens.make(f"m-{scope}", (scope,), "test", None)
            cookie = await sessions.open(secret)
            found[f"token {scope}"] = Credential({"Authorization": f"Bearer {secret}"}, scope)
            found[f"session {scope}"] = Credential({"Cookie": f"{COOKIE}={cookie}", **own}, scope)
            found[f"session {scope} without an origin"] = Credential({"Cookie": f"{COOKIE}={cookie}"}, scope, True)
        row, revoked = await tokens.make("m-revoked", ("admin",), "test", None)
        cookie = await sessions.open(revoked)
        await tokens.revoke(row.id, INTERNAL)
        _, expired = await tokens.make("m-expired", ("admin",), "test", 1e-6)
        found["a revoked token"] = Credential({"Authorization": f"Bearer {revoked}"}, None)
        found["an expired token"] = Credential({"Authorization": f"Bearer {expired}"}, None)
        found["a session of a revoked token"] = Credential({"Cookie": f"{COOKIE}={cookie}", **own}, None)
        found["what is stored of a token"] = Credential({"Authorization": f"Bearer {tokens.rows()[0].hash}"}, None)
        return found

    return await asyncio.to_thread(house.run, make())


def rows(house: House) -> list[tuple[str, str, str]]:
    """Method, a path that fits, and the scope of the table."""
    return [
        (one.method, re.sub(r"\{[^}]*\}", "1", one.path), TABLE[f"{one.method} {plain_path(one.path)}"])
        for one in house.endpoints
    ]


def verdict(answer: Answer) -> str:
    """What the door said."""
    if answer.status == 400 and answer.json["details"].get("parameter") == "intruder":
        return "let in"
    return f"{answer.status} {answer.code}"


@asynccontextmanager
async def asked(client: RawClient) -> AsyncIterator[Callable[..., object]]:
    async with client:

        async def ask(method: str, path: str, headers: dict[str, str]) -> str:
            return verdict(await client.ask(method, f"{path}?intruder=1", headers=headers))

        yield ask


def test_the_table_and_the_routes_are_the_same(house: House) -> None:
    served = {f"{one.method} {plain_path(one.path)}": one.scope for one in house.endpoints}
    assert served == TABLE


async def test_every_caller_over_tcp(house: House) -> None:
    wrong, looked = [], 0
    for name, shown in (await credentials(house)).items():
        async with asked(await house.tcp()) as ask:
            for method, path, scope in rows(house):
                if scope == "none":
                    expected = "let in"
                elif shown.needs_origin and method not in SAFE:
                    expected = "403 origin_refused"
                elif shown.held is None:
                    expected = "401 not_authenticated"
                else:
                    expected = "let in" if allows(shown.held, scope) else "403 scope_missing"
                looked += 1
                if (told := await ask(method, path, shown.headers)) != expected:
                    wrong.append(f"{method} {path} with {name}: {told}, not {expected}")
    assert not wrong
    assert looked > 2500


async def test_every_caller_at_a_foreign_page_or_a_foreign_name(house: House) -> None:
    shown = (await credentials(house))["token admin"].headers
    ways = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}]
    wrong = []
    async with asked(await house.tcp()) as ask:
        for way in ways:
            for method, path, _ in rows(house):
                if (told := await ask(method, path, {**shown, **way})) != "403 origin_refused":
                    wrong.append(f"{method} {path} with {way}: {told}")
    assert not wrong


UNIX = [(NOBODY, (), "none"), (READER, (), "read"), (OPERATOR, (), "operate"), (ADMIN, (), "admin"),
        (OF_GROUP, (GROUP,), "read"), (OPERATOR, (GROUP,), "operate"), (0, (), "admin")]  # fmt: skip


@pytest.mark.skipif(not may_be_others(), reason="requires root: only root can become somebody else")
@pytest.mark.parametrize(("uid", "groups", "held"), UNIX)
async def test_every_caller_on_the_socket(house: House, uid: int, groups: tuple[int, ...], held: str) -> None:
    wrong = []
    house.socket.parent.chmod(0o755)
    house.socket.chmod(0o666)  # so that who it is decides, not the mode
    try:
        async with asked(await house.unix(uid, groups)) as ask:
            for method, path, scope in rows(house):
                expected = "let in" if allows(held, scope) else "403 scope_missing"
                if (told := await ask(method, path, {})) != expected:
                    wrong.append(f"{method} {path} as {uid}: {told}, not {expected}")
    finally:
        house.socket.chmod(0o660)
    assert not wrong


@pytest.mark.skipif(not may_be_others(), reason="requires root: only root can become somebody else")
async def test_the_mode_of_the_socket_keeps_strangers_from_even_asking(house: House) -> None:
    house.socket.parent.chmod(0o755)
    with pytest.raises(PermissionError):
        await house.unix(ADMIN)


@pytest.mark.skipif(not may_be_others(), reason="requires root: only root can become somebody else")
async def test_a_token_counts_on_the_socket_and_a_cookie_does_not(house: House) -> None:
    shown = await credentials(house)
    house.socket.parent.chmod(0o755)
    house.socket.chmod(0o666)
    try:
        async with asked(await house.unix(NOBODY)) as ask:
            assert await ask("GET", "/api/v1/status", shown["token read"].headers) == "let in"
            assert await ask("GET", "/api/v1/tokens", shown["token read"].headers) == "403 scope_missing"
            cookie = {"Cookie": shown["session admin"].headers["Cookie"]}
            assert await ask("GET", "/api/v1/status", cookie) == "403 scope_missing"
        async with asked(await house.unix(0)) as ask:
            assert await ask("GET", "/api/v1/status", shown["a revoked token"].headers) == "401 not_authenticated"
    finally:
        house.socket.chmod(0o660)


MQTT = [("alice", None), ("root", None), ("dashboard", ScopeMissing), ("guest", ScopeMissing),
        ("mallory", NotAuthenticated)]  # fmt: skip


@pytest.mark.parametrize(("user", "refusal"), MQTT)
def test_a_user_of_the_broker_may_what_the_scope_says(house: House, user: str, refusal: type[Exception] | None) -> None:
    door = house.app._mqtt
    assert door is not None
    if refusal is not None:
        with pytest.raises(refusal):
            door._caller(user)
    else:
        assert {"read", "operate"} <= door._caller(user).scopes

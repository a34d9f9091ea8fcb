"""`/api/v1/session`: a browser trades a token for a cookie; anybody may ask who labd takes them for.

Why a cookie at all: a page that keeps the token itself hands it to every script on the page; a cookie marked HttpOnly
is out of their reach, and SameSite=Strict keeps other sites from using it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from labd.api.answer import ENCODER, JSON_HEADERS
from labd.api.bearer import BrowserSessions
from labd.api.connection import connection_of
from labd.api.endpoint import Call, Endpoint
from labd.api.gate import COOKIE
from labd.api.options import ApiOptions
from labd.errors import NotAuthenticated


class LoginBody(msgspec.Struct, forbid_unknown_fields=True):
    """The token that the session stands for."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]


class CallerView(msgspec.Struct):
    """Who labd takes the caller for, and what they may."""

    name: str
    scopes: list[str]
    via: str


class SessionState(msgspec.Struct):
    """Whether there is a session now."""

    logged_in: bool


def endpoints(options: ApiOptions, sessions: BrowserSessions) -> list[Endpoint]:
    """Routes of browser sessions."""

    def answer(call: Call, logged_in: bool, cookie: str, max_age_s: int) -> web.Response:
        response = web.Response(body=ENCODER.encode(SessionState(logged_in)), headers=JSON_HEADERS)
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=max_age_s,
            path="/",
            secure=connection_of(call.request).listener.tls or options.behind_proxy,
            httponly=True,
            samesite="Strict",
        )
        return response

    async def open_session(call: Call) -> web.Response:
        cookie = await sessions.open(call.body.token)
        if cookie is None:
            raise NotAuthenticated("the token is unknown, expired or revoked; `labctl token create` makes a new one")
        # The browser keeps it as long as it can last at most; labd alone knows how long it lasts without use.
        return answer(call, True, cookie, int(options.session_most_s))

    async def close_session(call: Call) -> web.Response:
        cookie = call.request.cookies.get(COOKIE)
        if cookie is not None:
            await sessions.close(cookie)
        return answer(call, False, "", 0)

    async def who(call: Call) -> CallerView:
        return CallerView(call.caller.name, sorted(call.caller.scopes), call.caller.via)

    at, tags = "/api/v1/session", ("session",)
    return [
        Endpoint(
            "POST",
            at,
            open_session,
            "none",
            "Log a browser in: token for cookie",
            body=LoginBody,
            answer=SessionState,
            tags=tags,
            errors=("not_authenticated",),
        ),
        Endpoint("DELETE", at, close_session, "none", "Log a browser out", answer=SessionState, tags=tags),
        Endpoint("GET", at, who, "read", "Who the caller is to labd", answer=CallerView, tags=tags),
    ]

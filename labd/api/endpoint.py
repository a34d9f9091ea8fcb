"""One route of the HTTP API as a value: what OpenAPI shows and what the server does come from the same line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from labd.engine.job import Caller

Scope = Literal["none", "read", "operate", "admin"]


@dataclass(slots=True)
class Call:
    """One request, already authenticated and decoded.

    `path` holds the parts of the route in braces, `query` and `body` the decoded values of the types that the endpoint
    names; `request` is aiohttp's, for the few handlers that stream.
    """

    caller: Caller
    path: dict[str, str]
    query: Any
    body: Any
    request: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route.

    Args:
        method: `GET`, `POST`, `PUT` or `DELETE`.
        path: As aiohttp writes it, such as `/api/v1/jobs/{id}`.
        handler: Takes a `Call`; returns anything msgspec can encode, or an aiohttp response of its own.
        scope: What the caller must hold; `none` is open to everybody who reaches the listener.
        body, query, answer: msgspec types (a Struct for `query`), None where there is none.
        status: Status of a normal answer.
        also: Further statuses of normal answers, of the same type.
        errors: Codes of `labd.errors` that callers should expect.
        refusal: Body of the errors that another contract than labd's own describes.
        refused: Codes of these; a code stands here or in `errors`.
        streams: The handler writes its answer by itself, piece by piece; HEAD is then refused, for a body would follow.
        urgent: A stop, or what says whether labd is there: it passes the line, and is heard where all room is taken.
            A rule over the parts of the route where only some are.
        urgent_body: A rule over the body where that says it, for bodies up to `body.SHORT_BYTES`; it must cost little,
            since who stands in no line may ask it.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Any]]
    scope: Scope
    summary: str
    body: Any = None
    query: Any = None
    answer: Any = None
    status: int = 200
    tags: tuple[str, ...] = ()
    errors: tuple[str, ...] = field(default=())
    streams: bool = False
    also: tuple[int, ...] = ()
    refusal: Any = None
    refused: tuple[str, ...] = ()
    urgent: bool | Callable[[dict[str, str]], bool] = False
    urgent_body: Callable[[bytes], bool] | None = None

"""`/api/v1/tokens`: bearer tokens for programs and for browsers' logins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from labd.api.bearer import TokenBook
from labd.api.endpoint import Call, Endpoint
from labd.clock import iso
from labd.engine.views import TokenRow
from labd.errors import NotFound

if TYPE_CHECKING:
    from labd.engine.engine import Engine

LONGEST_S = 10 * 366 * 86_400.0


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """What a token is for and what it may do."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    scopes: Annotated[tuple[Literal["read", "operate", "admin"], ...], Meta(min_length=1, max_length=3)] = ("read",)
    expires_in_s: Annotated[float, Meta(gt=0, le=LONGEST_S)] | None = None


class TokenView(msgspec.Struct):
    """A token, without its secret."""

    id: int
    name: str
    scopes: tuple[str, ...]
    created_at: str
    created_by: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class TokenSecret(TokenView):
    """A new token with its secret, which is never shown again."""

    token: str


class TokenList(msgspec.Struct):
    """All tokens."""

    tokens: list[TokenView]


def _view(row: TokenRow) -> TokenView:
    return TokenView(
        row.id,
        row.name,
        tuple(row.scopes),
        iso(row.created_at) or "",
        row.created_by,
        iso(row.expires_at),
        iso(row.last_used_at),
        iso(row.revoked_at),
    )


def endpoints(engine: Engine, tokens: TokenBook, token_made: Callable[[], Awaitable[None]]) -> list[Endpoint]:
    """Routes of the tokens."""

    async def list_tokens(call: Call) -> TokenList:
        return TokenList([_view(row) for row in tokens.rows()])

    async def make(call: Call) -> TokenSecret:
        wish: NewToken = call.body
        scopes = tuple(dict.fromkeys(wish.scopes))
        engine.audit(
            call.caller, "token.create", wish.name, {"scopes": list(scopes), "expires_in_s": wish.expires_in_s}
        )
        row, secret = await tokens.make(wish.name, scopes, call.caller.name, wish.expires_in_s)
        await token_made()
        return TokenSecret(**msgspec.structs.asdict(_view(row)), token=secret)

    async def revoke(call: Call) -> TokenView:
        text = call.path["id"]
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotFound(f"{text[:80]} is no token number; `labctl token list` shows them", token=text[:80])
        return _view(await tokens.revoke(int(text), call.caller))

    tags = ("tokens",)
    return [
        Endpoint("GET", "/api/v1/tokens", list_tokens, "admin", "All tokens", answer=TokenList, tags=tags),
        Endpoint(
            "POST",
            "/api/v1/tokens",
            make,
            "admin",
            "Make a token; its secret is only in this answer",
            body=NewToken,
            answer=TokenSecret,
            status=201,
            tags=tags,
            errors=("store_full",),
        ),
        Endpoint(
            "DELETE",
            "/api/v1/tokens/{id}",
            revoke,
            "admin",
            "Revoke a token at once",
            answer=TokenView,
            tags=tags,
            errors=("not_found",),
        ),
    ]

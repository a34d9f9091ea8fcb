"""Bearer tokens and the browser sessions made from them.

Why only a hash is kept: the database and its backups then give nobody access. A token is 256 random bits, so a plain
SHA-256 is enough; there is nothing to guess that a slow hash would protect. Every comparison walks the whole list in
constant time per row, so the time of a refusal tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from labd.api.access import grant
from labd.clock import Clock
from labd.engine.job import Caller
from labd.engine.views import TokenRow
from labd.errors import LabdError, NotFound

if TYPE_CHECKING:
    from labd.engine.engine import Engine

PREFIX = "labd_"
USE_NOTED_EVERY_S = 60.0
SESSIONS_AT_MOST = 1000
SESSIONS_KEY = "browser_sessions"
RENEWED_AFTER = (
    1 / 12
)  # of its lifetime: an hour of twelve, so that a display on the wall costs one small write an hour


def hash_of(secret: str) -> str:
    """What is stored of a token; bytes of a header that are no text are bytes like others."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Login:
    """A caller and the instant at which labd must ask again."""

    caller: Caller
    until: float


class TokenBook:
    """All tokens, in memory and in the store; the store is written before a change is answered."""

    def __init__(self, engine: Engine, clock: Clock, make_secret: Callable[[], str] | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._make_secret = make_secret or (lambda: PREFIX + secrets.token_urlsafe(32))
        self._rows: list[TokenRow] = []
        self.version = 0

    def load(self) -> None:
        """Read the tokens of the store."""
        self._rows = self._engine.tokens()
        self.version += 1

    def rows(self) -> list[TokenRow]:
        """All tokens, revoked and expired ones too, without anything secret."""
        return list(self._rows)

    def has_valid(self) -> bool:
        """Whether anybody could come in by token now."""
        now = self._clock.wall()
        return any(_is_valid(row, now) for row in self._rows)

    async def make(
        self, name: str, scopes: tuple[str, ...], created_by: str, expires_in_s: float | None
    ) -> tuple[TokenRow, str]:
        """Store a new token and return it with its secret, which is told only this once."""
        secret, now = self._make_secret(), self._clock.wall()
        expires_at = None if expires_in_s is None else now + expires_in_s
        row = TokenRow(0, name, hash_of(secret), scopes, now, created_by, expires_at)
        await self._engine.put_token(row)
        self.load()
        return next(stored for stored in self._rows if stored.hash == row.hash), secret

    async def revoke(self, token_id: int, caller: Caller) -> TokenRow:
        """End a token at once; a second call changes nothing.

        Raises:
            NotFound: No token of that id.
        """
        for place, row in enumerate(self._rows):
            if row.id == token_id:
                if row.revoked_at is None:
                    # Out of memory first: a disk that takes no more must not keep a stolen token alive.
                    row = msgspec.structs.replace(row, revoked_at=self._clock.wall())
                    self._rows[place] = row
                    self.version += 1
                    self._engine.audit(caller, "token.revoke", row.name, {"id": row.id})
                    await self._engine.put_token(row)
                return row
        raise NotFound(f"no token has the id {token_id}; `labctl token list` shows all", token=token_id)

    async def login(self, secret: str) -> Login | None:
        """The caller that holds the token, None if it is unknown, expired or revoked."""
        return await self.login_by_hash(hash_of(secret))

    async def login_by_hash(self, offered: str) -> Login | None:
        """The same for a caller whose token was checked before and is known by its hash only."""
        now = self._clock.wall()
        place = -1
        for number, row in enumerate(self._rows):
            if hmac.compare_digest(row.hash, offered) and _is_valid(row, now):
                place = number
        if place < 0:
            return None
        row = self._rows[place]
        if row.last_used_at is None or now - row.last_used_at >= USE_NOTED_EVERY_S:
            row = msgspec.structs.replace(row, last_used_at=now)
            self._rows[place] = row
            with suppress(LabdError):  # a full disk must not lock everybody out
                await self._engine.put_token(row)
        caller = Caller(f"token:{row.name}", grant(tuple(row.scopes)), "token")
        until = now + USE_NOTED_EVERY_S
        return Login(caller, until if row.expires_at is None else min(until, row.expires_at))


def _is_valid(row: TokenRow, now: float) -> bool:
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


class SessionShelf(Protocol):
    """Where sessions outlive the daemon; the engine is one."""

    async def store_value(self, key: str, value: Any) -> None:
        """Keep a small JSON value."""
        ...

    async def stored_value(self, key: str) -> Any:
        """The value, None if there is none."""
        ...


class BrowserSession(msgspec.Struct, array_like=True, frozen=True):
    """One session on disk; `most_until` is the instant beyond which no use carries it."""

    token_hash: str
    ends_at: float
    most_until: float = 0.0


class BrowserSessions:
    """Cookies of browsers: each stands for the token it was made from and ends with it.

    A session that is used goes on: with each use it ends `lifetime_s` later, up to `most_s` after its login. So a
    display on the wall stays logged in, and a browser that was left behind does not.

    Why they outlive the daemon: a dashboard whose session ends with every restart cannot stop a carousel right after
    one. On disk is the hash of the cookie, which is 256 random bits, so what is there gives access to nobody.

    Args:
        lifetime_s: How long one lasts without use.
        shelf: Keeps them; None for sessions that end with the process.
        most_s: How long one lasts at most; None for `lifetime_s`.
    """

    def __init__(
        self,
        tokens: TokenBook,
        clock: Clock,
        lifetime_s: float,
        shelf: SessionShelf | None = None,
        most_s: float | None = None,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._most_s = lifetime_s if most_s is None else most_s
        self._shelf = shelf
        self._is_read = shelf is None
        self._sessions: dict[str, BrowserSession] = {}

    async def open(self, token: str) -> str | None:
        """Value of a new cookie, None if the token is not valid."""
        token_hash = hash_of(token)
        if await self._tokens.login_by_hash(token_hash) is None:
            return None
        await self._read()
        now = self._clock.wall()
        self._sessions = {key: kept for key, kept in self._sessions.items() if kept.ends_at > now}
        while len(self._sessions) >= SESSIONS_AT_MOST:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        most_until = now + self._most_s
        self._sessions[hash_of(cookie)] = BrowserSession(
            token_hash, min(now + self._lifetime_s, most_until), most_until
        )
        await self._keep()
        return cookie

    async def login(self, cookie: str) -> Login | None:
        """The caller behind a cookie, None if it is unknown, over, or its token is no longer valid."""
        await self._read()
        key, now = hash_of(cookie), self._clock.wall()
        session = self._sessions.get(key)
        if session is None or now >= session.ends_at:
            return None
        login = await self._tokens.login_by_hash(session.token_hash)
        if login is None:
            return None
        ends_at = min(now + self._lifetime_s, session.most_until)
        if ends_at - session.ends_at >= self._lifetime_s * RENEWED_AFTER and key in self._sessions:
            session = self._sessions[key] = msgspec.structs.replace(session, ends_at=ends_at)
            await self._keep()
        return Login(login.caller, min(login.until, session.ends_at))

    async def close(self, cookie: str) -> None:
        """End a session; an unknown one is no fault."""
        await self._read()
        known = self._sessions.pop(hash_of(cookie), None)
        self._tokens.version += 1
        if known is not None:
            await self._keep()

    async def _read(self) -> None:
        if self._is_read or self._shelf is None:
            return
        stored = msgspec.convert(await self._shelf.stored_value(SESSIONS_KEY) or {}, dict[str, BrowserSession])
        self._sessions = {**stored, **self._sessions}
        self._is_read = True

    async def _keep(self) -> None:
        if self._shelf is not None:
            with suppress(LabdError):  # a full disk must not lock anybody out; the session then ends with the daemon
                await self._shelf.store_value(SESSIONS_KEY, msgspec.to_builtins(self._sessions))

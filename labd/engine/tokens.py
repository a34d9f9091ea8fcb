"""Access tokens as the journal keeps them: the hash of the secret, never the secret."""

from __future__ import annotations

import json

from labd.clock import Clock
from labd.engine.journal import Journal
from labd.engine.views import TokenRow
from labd.errors import NotFound


class TokenShelf:
    """All tokens, in memory and in the journal."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._tokens: dict[int, TokenRow] = {}
        self._last_id = 0

    async def open(self) -> None:
        """Read what is stored."""
        for row in await self._journal.read("tokens"):
            token = TokenRow(row[0], row[1], row[2], tuple(json.loads(row[3])), *row[4:])
            self._tokens[token.id] = token
            self._last_id = token.id

    def all(self) -> list[TokenRow]:
        """All tokens, revoked ones too."""
        return list(self._tokens.values())

    async def put(self, token: TokenRow) -> TokenRow:
        """Keep a new token (id 0) or a changed one; on disk when it returns."""
        if token.id == 0:
            self._last_id += 1
            token.id = self._last_id
        self._tokens[token.id] = token
        scopes = json.dumps(token.scopes)
        self._journal.execute(
            "put_token", token.id, token.name, token.hash, scopes, token.created_at, token.created_by,
            token.expires_at, token.last_used_at, token.revoked_at,
        )  # fmt: skip
        await self._journal.commit()
        return token

    async def revoke(self, token_id: int) -> TokenRow:
        """Let a token count no more; it stays in the list.

        Raises:
            NotFound: No token of that id.
        """
        token = self._tokens.get(token_id)
        if token is None:
            raise NotFound(f"no token has the id {token_id}; `labctl token list` shows all", token=token_id)
        token.revoked_at = token.revoked_at or self._clock.wall()
        return await self.put(token)

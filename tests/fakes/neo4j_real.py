"""A Neo4j server that is not emulated: one that the environment names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import neo4j

from labd.snapshots.neo4j_bolt import Address
from tests.conftest import NEO4J_URL

__all__ = ["NEO4J_URL", "address_of", "held_open"]


def address_of(url: str) -> Address:
    """`bolt://user:password@host:port`, or `bolt+s://`; Arrow is on 8491 of the same host."""
    parts = urlsplit(url)
    return Address(
        parts.hostname or "localhost", parts.port or 7687, 8491, unquote(parts.username or "neo4j"),
        unquote(parts.password or ""), tls=parts.scheme.endswith("+s"),
    )  # fmt: skip


@asynccontextmanager
async def held_open(address: Address, database: str) -> AsyncIterator[None]:
    """A transaction that somebody else has open in a database."""
    async with (
        neo4j.AsyncGraphDatabase.driver(
            f"bolt://{address.bolt}", auth=(address.user, address.password), encrypted=address.tls
        ) as driver,
        driver.session(database=database) as session,
        await session.begin_transaction() as transaction,
    ):
        await (await transaction.run("RETURN 1")).consume()
        yield

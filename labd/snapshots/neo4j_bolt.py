"""Statements to Neo4j over Bolt, through its official async driver: one face, one place where faults are translated.

Why `bolt://` and not `neo4j://`: loads go to one named host's Arrow port; a routing table could send the statements of
the same load to another. Administration is passed on to the right member by the server itself.
Why a connection is tried before each use: the daemon is quiet for hours, and a firewall forgets quiet connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from labd.errors import GraphRefused, GraphUnreachable
from labd.snapshots import neo4j_faults

SYSTEM = "system"
GRACE_S = 5.0  # the server ends a statement that runs too long; labd waits so much longer for it to say so
Access = Literal["READ", "WRITE"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is and who labd is there.

    Args:
        tls_ca: A PEM file of the authority that signed the server's certificate; None trusts what the host trusts.
    """

    host: str
    bolt_port: int
    arrow_port: int
    user: str
    password: str
    tls: bool = False
    tls_ca: str | None = None

    def __repr__(self) -> str:
        """Without the password."""
        return f"Address({self.user}@{self.bolt})"

    @property
    def bolt(self) -> str:
        """As messages name it."""
        return f"{self.host}:{self.bolt_port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows as the driver has them; `more` if `limit` cut them."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    more: bool = False


class Bolt:
    """Connections to one server; the first statement opens the first of them.

    Raises, all methods:
        GraphUnreachable: No answer, or the server cannot now.
        GraphRefused: The server says no.
    """

    def __init__(self, address: Address, *, answer_timeout_s: float = 30.0) -> None:
        self.where = address.bolt
        self._address = address
        self._answer_timeout_s = answer_timeout_s
        self._driver: Any = None

    def _opened(self) -> Any:
        if self._driver is None:
            try:
                import neo4j
            except ImportError as fault:
                raise GraphRefused(f"the neo4j driver is missing ({fault}); pip install 'labd[neo4j]'") from fault
            secure: dict[str, Any] = {"encrypted": self._address.tls}
            if self._address.tls and self._address.tls_ca is not None:
                secure["trusted_certificates"] = neo4j.TrustCustomCAs(self._address.tls_ca)
            host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
            self._driver = neo4j.AsyncGraphDatabase.driver(
                f"bolt://{host}:{self._address.bolt_port}", auth=(self._address.user, self._address.password),
                connection_timeout=self._answer_timeout_s, connection_acquisition_timeout=self._answer_timeout_s,
                liveness_check_timeout=0, max_connection_pool_size=32, user_agent="labd",
                notifications_min_severity="OFF", **secure,
            )  # fmt: skip
        return self._driver

    async def run(
        self, database: str, statement: str, parameters: Mapping[str, Any] | None = None, *,
        doing: str, timeout_s: float | None = None,
    ) -> Answer:  # fmt: skip
        """One statement in a transaction that the server makes for it; needed for administration and `WAIT`.

        Args:
            doing: What it is for, in the messages.
            timeout_s: The server ends it after this; `answer_timeout_s` unless told.
        """
        limit_s = timeout_s or self._answer_timeout_s
        async with self._session(database, "WRITE", doing, limit_s) as session:
            import neo4j

            result = await session.run(neo4j.Query(statement, timeout=limit_s), dict(parameters or {}))
            return Answer(tuple(result.keys()), [record.values() async for record in result])

    async def read(
        self, database: str, statement: str, parameters: Mapping[str, Any] | None = None, *,
        doing: str, timeout_s: float | None = None, limit: int | None = None,
    ) -> Answer:  # fmt: skip
        """One statement in a transaction that cannot write, given up after it.

        Args:
            limit: Rows that are fetched; the rest is discarded in the server.
        """
        limit_s = timeout_s or self._answer_timeout_s
        async with (
            self._session(database, "READ", doing, limit_s) as session,
            await session.begin_transaction(timeout=limit_s) as transaction,
        ):
            result = await transaction.run(statement, dict(parameters or {}))
            rows: list[Sequence[Any]] = []
            async for record in result:
                if limit is not None and len(rows) >= limit:
                    return Answer(tuple(result.keys()), rows, more=True)
                rows.append(record.values())
            return Answer(tuple(result.keys()), rows)

    async def kind(self, database: str, statement: str, parameters: Mapping[str, Any], *, doing: str) -> str:
        """What a statement would do, without doing it: `r`, `w`, `rw` or `s` (schema and administration)."""
        async with (
            self._session(database, "READ", doing, self._answer_timeout_s) as session,
            await session.begin_transaction(timeout=self._answer_timeout_s) as transaction,
        ):
            result = await transaction.run(f"EXPLAIN {statement}", dict(parameters))
            return str((await result.consume()).query_type or "")

    @asynccontextmanager
    async def _session(self, database: str, access: Access, doing: str, limit_s: float) -> AsyncIterator[Any]:
        driver = self._opened()
        from neo4j import exceptions

        try:
            async with asyncio.timeout(limit_s + GRACE_S):
                session = driver.session(
                    database=database, default_access_mode=access, fetch_size=1000
                )  # a cancelled session closes its connection: a statement cut off in the middle cannot be answered
                try:
                    yield session
                except asyncio.CancelledError:
                    session.cancel()
                    raise
                finally:
                    await session.close()
        except TimeoutError as fault:
            raise GraphUnreachable(
                f"neo4j at {self.where}: no answer within {limit_s + GRACE_S:g} s to {doing}; is it overloaded?"
            ) from fault
        except exceptions.Neo4jError as fault:
            said = neo4j_faults.of_answer(self.where, doing, fault.code or "unknown", fault.message or str(fault))
            raise said from fault
        except (exceptions.ServiceUnavailable, exceptions.SessionExpired) as fault:
            raise GraphUnreachable(
                f"neo4j at {self.where} is away, so labd cannot {doing}; check host, port, tls ({_first(fault)})"
            ) from fault
        except (exceptions.DriverError, OSError) as fault:
            raise GraphUnreachable(f"neo4j at {self.where}: cannot {doing} ({_first(fault)})") from fault

    async def close(self) -> None:
        """All connections; a second call does nothing."""
        driver, self._driver = self._driver, None
        if driver is not None:
            await driver.close()


def _first(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]

"""An emulated Neo4j server: both ports on one catalogue, with or without TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from labd.snapshots.neo4j_bolt import Address
from labd.snapshots.neo4j_store import Neo4jStore
from tests.fakes.bolt_server import BoltServer
from tests.fakes.flight_server import FlightServer
from tests.fakes.neo4j_catalogue import Catalogue


async def no_sleep(_: float) -> None:
    """Time does not pass."""


@dataclass
class Neo4jRig:
    """A running server.

    Args:
        address: Where a store finds it.
    """

    catalogue: Catalogue
    address: Address

    def store(self, **more: Any) -> Neo4jStore:
        """A new store on it, with short times."""
        return Neo4jStore(
            self.address, **{"streams": 3, "answer_timeout_s": 5.0, "simulated": True, "sleep": no_sleep, **more}
        )


@contextmanager
def neo4j_rig(catalogue: Catalogue | None = None, *, tls_folder: Path | None = None) -> Iterator[Neo4jRig]:
    """Serve for the length of the context.

    Args:
        tls_folder: Where the authority's certificate is put; with it both ports speak TLS only.
    """
    catalogue = catalogue or Catalogue()
    context, pair, authority = _secured(tls_folder) if tls_folder else (None, None, None)
    with BoltServer(catalogue, context) as bolt:
        flight = FlightServer(catalogue, pair)
        try:
            yield Neo4jRig(
                catalogue,
                Address(
                    "127.0.0.1", bolt.port, flight.port, catalogue.user, catalogue.password, authority is not None,
                    authority,
                ),
            )  # fmt: skip
        finally:
            for running in catalogue.imports.values():
                running.aborted.set()
            flight.shutdown()


def _secured(folder: Path) -> tuple[Any, tuple[bytes, bytes], str]:
    import ssl

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    return context, (chain, certificate.private_key_pem.bytes()), str(folder / "authority.pem")

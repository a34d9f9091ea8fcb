"""Houses that intruders come to: one whole daemon for a module, over plain loopback or over TLS."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.intruders.whole_house import House, temporary_house


@pytest.fixture(scope="session")
def tls_files() -> Iterator[tuple[Path, Path, ssl.SSLContext]]:
    """Certificate, key, and what trusts them."""
    folder = Path(tempfile.mkdtemp(prefix="labd-tls-"))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    yield folder / "cert.pem", folder / "key.pem", client
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", params=["loopback", "tls"])
def house(request: pytest.FixtureRequest, tls_files: tuple[Path, Path, ssl.SSLContext]) -> Iterator[House]:
    """A daemon with all wings, once with plain HTTP on loopback and once with TLS; the socket is there both times."""
    with temporary_house(tls_files if request.param == "tls" else None) as found:
        yield found

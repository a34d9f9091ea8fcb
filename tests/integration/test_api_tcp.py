"""The TCP listener: TLS, tokens, and when it must not open."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
import trustme

from labd.api.options import ApiOptions
from labd.api.server import build
from labd.errors import SettingsFault
from tests.fakes.api_door import nothing_changed, open_door, open_engine
from tests.fakes.api_engine import FakeStatus, MemoryEngine
from tests.fakes.raw_http import RawClient


@dataclass
class Certificates:
    """A pair of files for the server, and what a client needs to trust them."""

    certificate: Path
    key: Path
    client: ssl.SSLContext


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=number > 0)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(folder / "cert.pem", folder / "key.pem", client)


async def test_a_token_made_on_the_socket_opens_tls(state_dir: Path, certificates: Certificates) -> None:
    tls = {"listen": "127.0.0.1:0", "tls_cert": certificates.certificate, "tls_key": certificates.key}
    async with open_engine(state_dir) as engine, open_door(engine, state_dir, **tls) as server:
        assert server.tcp_address is not None
        async with await RawClient.unix(state_dir / "labd.sock") as admin:
            made = await admin.ask("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["operate"]})
        async with await RawClient.tcp(server.tcp_address, certificates.client) as client:
            bearer = {"Authorization": f"Bearer {made.json['token']}"}
            assert (await client.ask("GET", "/api/v1/status")).status == 401
            job = await client.ask("POST", "/api/v1/jobs", {"task": "test.add", "args": {"a": 1, "b": 1}}, bearer)
            assert (job.status, job.json["submitted_by"]) == (201, "token:ci")
            done = await client.ask("GET", f"/api/v1/jobs/{job.json['id']}?wait=10", headers=bearer)
            assert done.json["result"] == 2
            stop = await client.ask("POST", "/execute/emergency_stop", {}, bearer)
            assert stop.json["result"] == {"stopped": True}
            refused = await client.ask("GET", "/api/v1/tokens", headers=bearer)
            assert (refused.status, refused.code) == (403, "scope_missing")
            assert "it is granted by the token's scopes" in refused.json["message"]
        tokens = engine.tokens()
        assert tokens[0].last_used_at is not None


async def test_a_cookie_of_a_tls_login_is_secure(state_dir: Path, certificates: Certificates) -> None:
    tls = {"listen": "127.0.0.1:0", "tls_cert": certificates.certificate, "tls_key": certificates.key}
    async with open_door(MemoryEngine(), state_dir, **tls) as server:
        assert server.tcp_address is not None
        async with await RawClient.unix(state_dir / "labd.sock") as admin:
            token = (await admin.ask("POST", "/api/v1/tokens", {"name": "web"})).json["token"]
        async with await RawClient.tcp(server.tcp_address, certificates.client) as client:
            origin = {"Origin": f"https://{client.host}"}
            login = await client.ask("POST", "/api/v1/session", {"token": token}, origin)
            assert "Secure" in login.headers["set-cookie"].split("; ")
            plain = {"Origin": f"http://{client.host}"}
            assert (await client.ask("POST", "/api/v1/session", {"token": token}, plain)).code == "origin_refused"


async def test_plain_http_and_old_tls_get_nothing_from_a_tls_listener(
    state_dir: Path, certificates: Certificates
) -> None:
    tls = {"listen": "127.0.0.1:0", "tls_cert": certificates.certificate, "tls_key": certificates.key}
    async with open_door(MemoryEngine(), state_dir, **tls) as server:
        assert server.tcp_address is not None
        async with await RawClient.tcp(server.tcp_address) as client:
            client.send("GET", "/healthz")
            assert await client.at_end()
        stranger = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            await RawClient.tcp(server.tcp_address, stranger)


async def test_ipv6_loopback(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, listen="[::1]:0") as server:
        assert server.tcp_address is not None
        client = await RawClient.tcp(server.tcp_address)
        async with client:
            answer = await client.ask("GET", "/healthz", headers={"Host": f"[::1]:{server.tcp_address[1]}"})
            assert answer.status == 200


async def test_beyond_loopback_the_listener_waits_for_the_first_token(
    state_dir: Path, certificates: Certificates
) -> None:
    tls = {"listen": "0.0.0.0:0", "tls_cert": certificates.certificate, "tls_key": certificates.key}
    with structlog.testing.capture_logs() as lines:
        async with open_door(MemoryEngine(), state_dir, **tls) as server:
            assert server.tcp_address is None
            assert "api.listener_deferred" in {line["event"] for line in lines}
            async with await RawClient.unix(state_dir / "labd.sock") as admin:
                token = (await admin.ask("POST", "/api/v1/tokens", {"name": "first"})).json["token"]
            assert server.tcp_address is not None
            address = ("127.0.0.1", server.tcp_address[1])
            async with await RawClient.tcp(address, certificates.client) as client:
                bearer = {"Authorization": f"Bearer {token}"}
                assert (await client.ask("GET", "/api/v1/status", headers=bearer)).status == 200


REFUSED = [
    ({"listen": "0.0.0.0:8780"}, "reaches beyond this host without TLS"),
    ({"listen": "192.0.2.1:8780"}, "reaches beyond this host without TLS"),
    ({"listen": "lab.example:8780"}, "reaches beyond this host without TLS"),
    ({"listen": "[::]:8780"}, "reaches beyond this host without TLS"),
    ({"listen": "127.0.0.1:0", "tls_cert": Path("/x")}, "set both or none"),
    ({"listen": "127.0.0.1"}, "expected address:port"),
    ({"listen": ":8780"}, "expected address:port"),
    ({"listen": "127.0.0.1:99999"}, "expected address:port"),
    ({"listen": "127.0.0.1:0", "tls_cert": Path("/missing"), "tls_key": Path("/missing")}, "tls_cert = /missing"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
async def test_listeners_that_must_not_open(options: dict[str, object], message: str, state_dir: Path) -> None:
    with pytest.raises(SettingsFault, match=message):
        async with open_door(MemoryEngine(), state_dir, **options):
            pass
    assert not (state_dir / "labd.sock").exists()


async def test_a_taken_port_is_named_and_the_socket_is_closed_again(state_dir: Path) -> None:
    async with open_door(MemoryEngine(), state_dir, listen="127.0.0.1:0") as server:
        assert server.tcp_address is not None
        listen = f"127.0.0.1:{server.tcp_address[1]}"
        options = ApiOptions(socket=state_dir / "other.sock", state_dir=state_dir, listen=listen)
        second = build(MemoryEngine(), options, [], FakeStatus(), nothing_changed)  # type: ignore[arg-type]
        with pytest.raises(SettingsFault, match=f"api.listen = {listen}: Address already in use"):
            await second.start()
        assert not (state_dir / "other.sock").exists()


async def test_behind_a_proxy_plain_http_is_allowed_and_cookies_are_secure(state_dir: Path) -> None:
    options = {"listen": "127.0.0.1:0", "behind_proxy": True, "allowed_hosts": ("lab.example",)}
    async with open_door(MemoryEngine(), state_dir, **options) as server:
        assert server.tcp_address is not None
        async with await RawClient.unix(state_dir / "labd.sock") as admin:
            token = (await admin.ask("POST", "/api/v1/tokens", {"name": "web"})).json["token"]
        async with await RawClient.tcp(server.tcp_address) as client:
            headers = {"Host": "lab.example", "Origin": "https://lab.example"}
            login = await client.ask("POST", "/api/v1/session", {"token": token}, headers)
            assert login.status == 200
            assert "Secure" in login.headers["set-cookie"].split("; ")

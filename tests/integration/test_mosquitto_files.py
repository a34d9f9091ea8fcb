"""The configuration and the ACL that ship for Mosquitto, loaded by a real one: who may write and read what."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
import trustme

from tests.fakes.broker import PASSWORDS, program, until

SHIPPED = Path(__file__).resolve().parents[2] / "contrib" / "mosquitto"
USERS = {**PASSWORDS, "+": "dangerous"}
DEADLINE_S = 15.0
PATHS = ("/etc/mosquitto/certs/ca.pem", "/etc/mosquitto/certs/broker.pem", "/etc/mosquitto/certs/broker.key",
         "/etc/mosquitto/labd.passwd", "/etc/mosquitto/labd.acl")  # fmt: skip


class Installed:
    """The shipped files as an administrator puts them in place, and a broker that has read them."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        here = {path: folder / Path(path).name for path in PATHS}
        ca, broker, key, passwords, acl = here.values()
        authority.cert_pem.write_to_path(ca)
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(broker)
        certificate.private_key_pem.write_to_path(key)
        for number, (user, password) in enumerate(USERS.items()):
            first = ["-c"] if number == 0 else []  # as the comment in labd.conf says
            subprocess.run([program("mosquitto_passwd"), *first, "-b", passwords, user, password], check=True)
        acl.write_text((SHIPPED / "labd.acl").read_text())
        for secret in (passwords, acl, key):
            secret.chmod(0o600)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        text = (SHIPPED / "labd.conf").read_text()
        for path, place in here.items():
            assert len(re.findall(rf"^\w+ {re.escape(path)}$", text, re.MULTILINE)) == 1, path
            text = re.sub(rf"^(\w+) {re.escape(path)}$", rf"\1 {place}", text, flags=re.MULTILINE)
        text, found = re.subn(r"^listener 8883$", f"listener {self.port} 127.0.0.1", text, flags=re.MULTILINE)
        assert found == 1
        # what Debian's mosquitto.conf says before it reads conf.d
        text += f"persistence_location {folder}/\nlog_dest stderr\n" + ("user root\n" if os.geteuid() == 0 else "")
        (folder / "labd.conf").write_text(text)
        self.log = folder / "log"
        self.ca = ca
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program("mosquitto"), "-c", folder / "labd.conf"], stdout=log, stderr=log, start_new_session=True
            )

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE_S)

    @asynccontextmanager
    async def client(self, user: str | None, password: str | None = None) -> AsyncIterator[aiomqtt.Client]:
        """Somebody at the broker, over TLS."""
        async with aiomqtt.Client(
            "localhost", self.port, username=user, password=password or USERS.get(user or ""),
            protocol=aiomqtt.ProtocolVersion.V5, tls_context=ssl.create_default_context(cafile=str(self.ca)),
        ) as line:  # fmt: skip
            yield line


@pytest.fixture
def installed(state_dir: Path) -> Iterator[Installed]:
    program("mosquitto")
    one = Installed(state_dir)
    yield one
    one.end()


@pytest.fixture
async def broker(installed: Installed) -> Installed:
    await until(installed.answers)
    return installed


async def heard(line: aiomqtt.Client, fence: bytes) -> list[tuple[str, bytes]]:
    """What came until the fence did; overlapping subscriptions bring a message more than once."""
    found: list[tuple[str, bytes]] = []
    async with asyncio.timeout(DEADLINE_S):
        async for message in line.messages:
            assert isinstance(message.payload, bytes)
            if (message.topic.value, message.payload) not in found:
                found.append((message.topic.value, message.payload))
            if message.payload == fence:
                return found
    raise AssertionError(found)


async def test_the_shipped_configuration_is_read_without_a_complaint(broker: Installed) -> None:
    async with broker.client("alice"):
        pass
    lines = broker.log.read_text().splitlines()
    told = [line.partition(": ")[2] for line in lines if re.search(r"^\d+: (Error|Warning)|deprecated|should be", line)]
    assert [line for line in told if "root" not in line] == [
        f"Warning: ACL pattern '{pattern}' does not contain '%c' or '%u'."  # labd.acl says that it does
        for pattern in ("labd/+/status", "labd/+/alerts/#")
    ]


async def test_a_command_goes_out_on_the_own_level_and_on_no_other(broker: Installed) -> None:
    async with broker.client("labd") as labd, broker.client("alice") as alice, broker.client("bob") as bob:
        await labd.subscribe("labd/+/cmd/#", qos=1)
        for topic in ("cmd/bob/mix_color", "cmd/labd/mix_color", "cmd/mix_color", "reply/bob/here", "status"):
            await alice.publish(f"labd/bench/{topic}", b"from alice", qos=1)
        await alice.publish("labd/bench/cmd/alice/mix_color", b"from alice", qos=1)
        await bob.publish("labd/bench/cmd/bob/mix_color", b"from bob", qos=1)
        assert await heard(labd, b"from bob") == [
            ("labd/bench/cmd/alice/mix_color", b"from alice"), ("labd/bench/cmd/bob/mix_color", b"from bob"),
        ]  # fmt: skip


async def test_an_answer_reaches_the_one_who_asked_and_nobody_else(broker: Installed) -> None:
    async with broker.client("labd") as labd, broker.client("alice") as alice, broker.client("bob") as bob:
        for person in (alice, bob):
            for wanted in ("labd/+/reply/#", "labd/bench/reply/alice/#", "labd/bench/reply/bob/#", "labd/bench/cmd/#"):
                await person.subscribe(wanted, qos=1)
            await person.subscribe("labd/bench/status", qos=1)
        await bob.publish("labd/bench/cmd/bob/mix_color", b"secret of bob", qos=1)
        await bob.publish("labd/bench/reply/alice/here", b"forged by bob", qos=1)
        await labd.publish("labd/bench/reply/bob/here", b"for bob", qos=1)
        await labd.publish("labd/bench/reply/alice/here", b"for alice", qos=1)
        await labd.publish("labd/bench/status", b"online", qos=1, retain=True)
        online = ("labd/bench/status", b"online")
        assert await heard(alice, b"online") == [("labd/bench/reply/alice/here", b"for alice"), online]
        assert await heard(bob, b"online") == [("labd/bench/reply/bob/here", b"for bob"), online]


async def test_a_name_that_is_a_wildcard_opens_nothing(broker: Installed) -> None:
    async with broker.client("labd") as labd, broker.client("alice") as alice, broker.client("+") as wild:
        await labd.subscribe("labd/+/cmd/#", qos=1)
        await wild.subscribe("labd/bench/reply/+/#", qos=0)
        await wild.publish("labd/bench/cmd/alice/mix_color", b"from +", qos=1)
        await alice.publish("labd/bench/cmd/alice/mix_color", b"from alice", qos=1)
        assert await heard(labd, b"from alice") == [("labd/bench/cmd/alice/mix_color", b"from alice")]
        await labd.publish("labd/bench/reply/alice/here", b"for alice", qos=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await anext(aiter(wild.messages))


@pytest.mark.parametrize(("user", "password"), [(None, None), ("alice", "wrong"), ("mallory", "x")])
async def test_nobody_comes_in_without_a_password(broker: Installed, user: str | None, password: str | None) -> None:
    with pytest.raises(aiomqtt.MqttError, match="Not authorized"):
        async with broker.client(user, password):
            pass


async def test_without_tls_nothing_is_said(broker: Installed) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(bytes.fromhex("100f00044d5154540402003c0003616263"))  # CONNECT of MQTT 3.1.1, in the open
    async with asyncio.timeout(DEADLINE_S):
        try:
            answer = await reader.read(4)
        except ConnectionError:
            answer = b""
    writer.close()
    assert not answer.startswith(b"\x20")  # no CONNACK

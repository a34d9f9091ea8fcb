"""A real Mosquitto for tests: Debian's, on a loopback port, with passwords, the ACL file that ships, and TLS."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.conftest import requires

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {"labd": "engine", "alice": "wonder", "bob": "builder", "carol": "reader"}
DEADLINE_S = 15.0


def program(name: str) -> str:
    """Path of one of Mosquitto's programs; Debian puts the broker where only root looks."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    requires(name, path is not None, "apt-get install mosquitto")
    return path or ""


class Broker:
    """One broker over one folder; may be stopped and started again, with what it kept.

    Args:
        certificate: PEM files of certificate, key and authority; with them it speaks TLS.
    """

    def __init__(self, folder: Path, certificate: tuple[Path, Path, Path] | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self.certificate = certificate
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._binary = program("mosquitto")
        self._process: subprocess.Popen[bytes] | None = None
        passwords = folder / "passwords"
        for number, (user, password) in enumerate(PASSWORDS.items()):
            first = ["-c"] if number == 0 else []
            subprocess.run([program("mosquitto_passwd"), *first, "-b", passwords, user, password], check=True)
        passwords.chmod(0o600)
        acl = folder / "acl"
        shutil.copyfile(ROOT / "contrib" / "mosquitto" / "labd.acl", acl)
        acl.chmod(0o600)
        lines = [
            f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {passwords}", f"acl_file {acl}",
            "max_packet_size 524288", "persistence true", f"persistence_location {folder}/", "log_dest stderr",
            "log_type all",
        ]  # fmt: skip
        if os.geteuid() == 0:
            lines.append("user root")  # else it could not read this folder
        if certificate is not None:
            lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}", "tls_version tlsv1.2"]
        (folder / "conf").write_text("\n".join(lines) + "\n")

    async def start(self) -> Broker:
        """Serve; returns when it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, "-c", self.folder / "conf"], stdout=log, stderr=log)
        async with asyncio.timeout(DEADLINE_S):
            await until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it; what it kept is on disk."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_S)
            self._process = None

    def settings(self, **more: Any) -> dict[str, Any]:
        """The `[mqtt]` table of a labd at this broker."""
        users = {"alice": ["read", "operate"], "bob": ["operate"], "carol": ["read"]}
        table: dict[str, Any] = {
            "broker": "127.0.0.1", "port": self.port, "device_id": "bench", "username": "labd",
            "password": "env:LABD_TEST_MQTT_PASSWORD", "users": users, "reconnect_s": 1.0,
        }  # fmt: skip
        if self.certificate is not None:
            table |= {"tls": True, "ca_file": str(self.certificate[2])}
        return {**table, **more}

    @asynccontextmanager
    async def client(self, user: str, **more: Any) -> AsyncIterator[Person]:
        """Somebody at the broker, who hears all own answers."""
        async with aiomqtt.Client(
            "127.0.0.1", self.port, username=user, password=PASSWORDS[user], protocol=aiomqtt.ProtocolVersion.V5, **more
        ) as line:
            await line.subscribe(f"labd/bench/reply/{user}/#", qos=1)
            yield Person(line, user)


class Person:
    """A client by hand, which can be as rude as a test likes."""

    def __init__(self, line: aiomqtt.Client, user: str) -> None:
        self.line = line
        self.user = user
        self.topics: list[str] = []

    async def ask(
        self, task: str, args: Any = None, *, correlation: bytes | None = b"", reply: str | None = "",
        expires_in_s: int | None = None, user: str | None = None, payload: bytes | None = None, retain: bool = False,
    ) -> bytes | None:  # fmt: skip
        """Send a request; empty correlation and reply mean good ones."""
        user = user or self.user
        correlation = secrets.token_bytes(16) if correlation == b"" else correlation
        reply = f"labd/bench/reply/{user}/here" if reply == "" else reply
        properties = Properties(PacketTypes.PUBLISH)
        if correlation is not None:
            properties.CorrelationData = correlation
        if reply is not None:
            properties.ResponseTopic = reply
        if expires_in_s is not None:
            properties.MessageExpiryInterval = expires_in_s
        body = msgspec.json.encode({} if args is None else args) if payload is None else payload
        await self.line.publish(f"labd/bench/cmd/{user}/{task}", body, qos=1, retain=retain, properties=properties)
        return correlation

    async def hear(self) -> dict[str, Any]:
        """The next answer; its correlation data under `correlation`."""
        async with asyncio.timeout(DEADLINE_S):
            message = await anext(aiter(self.line.messages))
        self.topics.append(message.topic.value)
        told: dict[str, Any] = msgspec.json.decode(message.payload)
        told["correlation"] = getattr(message.properties, "CorrelationData", None)
        return told

    async def end(self, *wanted: str) -> dict[str, Any]:
        """The next answer that is an end, or one of the named."""
        while True:
            told = await self.hear()
            if told["status"] in (wanted or ("success", "error")):
                return told


def session_of(expiry_s: int) -> Properties:
    """Properties of a connection whose session outlives it."""
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = expiry_s
    return properties


async def until(holds: Callable[[], Any]) -> None:
    """Return when it holds; another process tells nobody, so it is looked at again every few milliseconds."""
    never = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            try:
                await asyncio.wait_for(never.wait(), 0.01)
            except TimeoutError:
                continue

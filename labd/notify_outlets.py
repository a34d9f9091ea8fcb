"""The outlets of alerts: a webhook, the broker of the MQTT door, and everything that apprise knows.

Each hands one message over, or says why it could not; who is owed what, and when it is tried again, is decided
elsewhere. No secret, and no URL (which may hold one), is in any error.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib.util
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import msgspec

from labd import credentials
from labd.clock import Clock
from labd.errors import LabdError
from labd.notify_settings import OutletSettings, check_webhook

ANSWER_LIMIT_BYTES = 4096
SHOWN = 200
APPRISE_KINDS = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}


class Message(msgspec.Struct):
    """An alert on its way out: the JSON of webhooks and of MQTT.

    `id` is another one each time the alert is raised: a message of an `id` (and `reminder`) that a receiver has had is
    the same message again, sent twice since labd was cut off before it could note that it had been taken.
    """

    id: int
    key: str
    code: str
    subject: str
    severity: str
    message: str
    host: str
    raised_at: str | None
    changed_at: str | None
    count: int = 1
    reminder: int = 0
    test: bool = False


class Undelivered(Exception):
    """An outlet did not take a message; the text says why, without secrets."""


class Outlet(Protocol):
    """One place where alerts go."""

    async def ready(self) -> None:
        """Return when it makes sense to try; at once where that is not known."""
        ...

    async def send(self, message: Message) -> None:
        """Hand over one message.

        Raises:
            Undelivered: It was not taken, or nobody knows whether it was.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. A second call does nothing."""
        ...


class WebhookOutlet:
    """`POST` of JSON; taken if the answer is a 2xx.

    With a secret the header `X-Labd-Signature` is `sha256=` and the HMAC-SHA256, in hex, of the value of
    `X-Labd-Timestamp`, a dot and the body.
    """

    def __init__(self, settings: OutletSettings, clock: Clock, user_agent: str) -> None:
        self._settings = settings
        self._clock = clock
        self._user_agent = user_agent
        self._make_session = aiohttp.ClientSession  # looked up here: to import the client takes a while, see `lean`
        self._session: aiohttp.ClientSession | None = None

    async def ready(self) -> None:
        """Nothing is known of it before it is asked."""

    async def send(self, message: Message) -> None:
        """One request, under its deadline; a redirect is refused, since it could lead anywhere."""
        body = msgspec.json.encode(message)
        try:
            url = self._url()
            headers = self._headers(message, body)
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._opened().post(url, data=body, headers=headers, allow_redirects=False)
                async with answer:
                    text = await answer.content.read(ANSWER_LIMIT_BYTES)
        except LabdError as fault:
            raise Undelivered(fault.message) from fault
        except TimeoutError as fault:
            raise Undelivered(f"no answer within {self._settings.timeout_s:g} s") from fault
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise Undelivered(_told(fault)) from fault
        if 300 <= answer.status < 400:
            raise Undelivered(f"it answered {answer.status}, a redirect, which is refused; name the final URL")
        if not 200 <= answer.status < 300:
            shown = text.decode("utf-8", "replace").strip()[:SHOWN]
            raise Undelivered(f"it answered {answer.status}: {shown!r}" if shown else f"it answered {answer.status}")

    def _url(self) -> str:
        given = self._settings.url or ""
        url = credentials.resolve(given, os.environ) if not given.startswith("http") else given
        check_webhook(url, self._settings.plaintext)
        return url

    def _headers(self, message: Message, body: bytes) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "X-Labd-Alert": str(message.id)}
        if self._settings.secret is not None:
            secret = credentials.resolve(self._settings.secret, os.environ).encode()
            at = str(int(self._clock.wall()))
            digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            headers |= {"X-Labd-Timestamp": at, "X-Labd-Signature": f"sha256={digest}"}
        return headers

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            tls = ssl.create_default_context(cafile=self._settings.ca_file)
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._session = self._make_session(
                connector=aiohttp.TCPConnector(ssl=tls, limit=1, force_close=True),
                headers={"User-Agent": self._user_agent},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class MqttOutlet:
    """One message each on the topic of the alert's code, QoS 1, not retained.

    Args:
        publish: Code and payload to the broker; raises ConnectionError.
        connected: Set while the broker is there.
    """

    def __init__(self, publish: Callable[[str, bytes], Awaitable[None]], connected: asyncio.Event) -> None:
        self._publish = publish
        self._connected = connected

    async def ready(self) -> None:
        """The broker is there."""
        await self._connected.wait()

    async def send(self, message: Message) -> None:
        """Returns when the broker has it."""
        try:
            await self._publish(message.code, msgspec.json.encode(message))
        except ConnectionError as fault:
            raise Undelivered(str(fault)) from fault

    async def close(self) -> None:
        """The connection is the door's."""


class AppriseOutlet:
    """Whatever apprise reaches, in a thread; the only place that knows it.

    Raises:
        Undelivered: apprise is not installed; at the first message, so that the other outlets work.
    """

    def __init__(self, settings: OutletSettings) -> None:
        self._settings = settings
        self._going: asyncio.Task[bool] | None = None

    async def ready(self) -> None:
        """Nothing is known of it before it is asked."""

    async def send(self, message: Message) -> None:
        """One notification to all URLs of the reference; apprise says only whether every one of them took it."""
        if importlib.util.find_spec("apprise") is None:
            raise Undelivered("apprise is not installed; pip install 'labd[notify]'")
        if self._going is not None and not self._going.done():
            raise Undelivered("the message before is still on its way")  # a thread cannot be called back
        try:
            urls = credentials.resolve(self._settings.url or "", os.environ)
        except LabdError as fault:
            raise Undelivered(fault.message) from fault
        self._going = asyncio.create_task(asyncio.to_thread(_notify, urls, message), name="apprise")
        done, _ = await asyncio.wait({self._going}, timeout=self._settings.timeout_s)
        if not done:
            raise Undelivered(f"apprise has not ended within {self._settings.timeout_s:g} s")
        raised = self._going.exception()
        if isinstance(raised, LookupError):
            raise Undelivered(f"apprise knows no service for a URL of {self._settings.url}")
        if raised is not None:
            raise Undelivered(f"apprise: {type(raised).__name__}")
        if not self._going.result():
            raise Undelivered("apprise could not deliver it; its own lines in the log say why")

    async def close(self) -> None:
        """Wait for the thread, which has the deadlines of apprise."""
        if self._going is not None:
            await asyncio.wait({self._going}, timeout=self._settings.timeout_s)


def _notify(urls: str, message: Message) -> bool:
    """Blocking; its own thread."""
    import apprise

    told = apprise.Apprise(asset=apprise.AppriseAsset(app_id="labd", app_desc="labd", secure_logging=True))
    if not told.add(urls):
        raise LookupError("a URL that apprise does not know")
    title = f"labd {message.host}: {message.code} {message.subject}"
    again = f", reminder {message.reminder}" if message.reminder else ""
    body = f"{message.message}\n(alert {message.id}{again}, {message.severity}; `labctl alert ack {message.key}`)"
    kind: Any = APPRISE_KINDS[message.severity]
    return bool(told.notify(body=body, title=title, notify_type=kind))


def _told(fault: Exception) -> str:
    """Kind and reason of a fault of the connection; its text may hold the whole URL."""
    if isinstance(fault, aiohttp.ClientConnectorError):
        return (
            f"cannot connect to {fault.host}:{fault.port}: {fault.os_error.strerror or type(fault.os_error).__name__}"
        )
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    if isinstance(fault, ValueError) and str(fault).startswith("url: "):
        return str(fault)
    return type(fault).__name__


def place_of(settings: OutletSettings) -> str:
    """Where it goes, for people: never the path of a URL, which may hold a secret."""
    if settings.kind == "mqtt":
        return "the broker of [mqtt]"
    url = settings.url or ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" if url.startswith("http") else url

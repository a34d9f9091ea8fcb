"""The connection to the broker: made, watched, made again; the only module that knows aiomqtt.

Why `publish` says nothing about rights: a broker acknowledges what its ACL forbids, and aiomqtt hides the reason code.
Only an answer proves that a message went through.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import structlog

from labd import credentials
from labd.clock import Clock, iso
from labd.errors import LabdError
from labd.mqtt_messages import Delivery, Topics
from labd.settings_types import MqttSettings

if TYPE_CHECKING:
    import aiomqtt

log = structlog.get_logger()
FIRST_WAIT_S = 1.0
FAREWELL_S = 3.0
INCOMING_LIMIT = 2000  # what overflows is dropped: its client resends it, since it heard no `accepted`


class BrokerConnection:
    """One labd's place at a broker, under one client id with a session that outlives a restart.

    Args:
        on_delivery: Called with each request, in order; must not block.
        facts: Goes into the retained status beside `state`.
    """

    def __init__(
        self, settings: MqttSettings, topics: Topics, on_delivery: Callable[[Delivery], None], facts: dict[str, Any],
        clock: Clock, random: Random,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.connected = asyncio.Event()
        self.last_error: str | None = None
        self.since = clock.wall()
        self._topics = topics
        self._on_delivery = on_delivery
        self._facts = facts
        self._clock = clock
        self._random = random
        self._client: aiomqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """The broker, as people write it."""
        port = self.settings.port or (8883 if self.settings.tls else 1883)
        return f"{self.settings.broker}:{port}"

    def start(self) -> None:
        """Begin to connect; returns at once, whether or not the broker is there."""
        self._task = asyncio.create_task(self._keep_connected(), name="mqtt")

    async def stop(self) -> None:
        """Say that labd goes, and leave; a second call does nothing.

        Why the farewell first: a normal disconnect deletes the last will, and "online" would stay for ever.
        """
        task, self._task = self._task, None
        if task is None:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._tell_state("offline")
        except (TimeoutError, ConnectionError):
            pass
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def publish(
        self, topic: str, payload: bytes, *, correlation: bytes | None = None, retain: bool = False
    ) -> None:
        """Hand a message to the broker, QoS 1; returns when the broker has it.

        Raises:
            ConnectionError: It was not handed over, or nobody knows whether it was.
        """
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = self._client
        if client is None:
            raise ConnectionError(f"the broker {self.address} is away")
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.PayloadFormatIndicator = 1
        properties.ContentType = "application/json"
        if correlation is not None:
            properties.CorrelationData = correlation
        try:
            await client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        except (aiomqtt.MqttError, OSError, ValueError) as fault:
            raise ConnectionError(f"the broker {self.address}: {fault}") from fault

    async def _keep_connected(self) -> None:
        import aiomqtt

        wait_s = FIRST_WAIT_S
        while True:
            try:
                async with self._make() as client:
                    self._client = client
                    await self._greet(client)
                    wait_s = FIRST_WAIT_S
                    async for message in client.messages:
                        self._on_delivery(_delivery(message))
            except (aiomqtt.MqttError, LabdError, OSError, ValueError) as fault:
                self._lost(_told(fault))
            except Exception as fault:  # the connection supervisor connects again; the log has the traceback
                log.error("mqtt.connection_failed", exc_info=fault)
                self._lost(_told(fault))
            finally:
                self._client = None
                self.connected.clear()
            await self._clock.sleep(wait_s * (0.5 + 0.5 * self._random.random()))
            wait_s = min(wait_s * 2, max(self.settings.reconnect_s, FIRST_WAIT_S))

    async def _greet(self, client: aiomqtt.Client) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        # Retained requests are not sent at all, and one that comes live can be told by its flag.
        options = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=2)
        await client.subscribe(self._topics.requests, options=options)
        await self._tell_state("online")
        self.since, self.last_error = self._clock.wall(), None
        self.connected.set()
        log.info("mqtt.connected", broker=self.address, requests=self._topics.requests)

    async def _tell_state(self, state: str) -> None:
        await self.publish(self._topics.status, self._state(state), retain=True)

    def _state(self, state: str) -> bytes:
        return json.dumps({"state": state, "at": iso(self._clock.wall()), **self._facts}).encode()

    def _lost(self, reason: str) -> None:
        was_connected = self.connected.is_set()
        if was_connected:
            self.since = self._clock.wall()
        if was_connected or reason != self.last_error:
            log.warning("mqtt.disconnected", broker=self.address, reason=reason)
        self.last_error = reason

    def _make(self) -> aiomqtt.Client:
        import aiomqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        settings = self.settings
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = settings.session_expiry_s
        return aiomqtt.Client(
            settings.broker,
            settings.port or (8883 if settings.tls else 1883),
            username=settings.username,
            password=None if settings.password is None else credentials.resolve(settings.password, os.environ),
            identifier=f"labd-{self._topics.device}",
            protocol=aiomqtt.ProtocolVersion.V5,
            will=aiomqtt.Will(self._topics.status, self._state("lost"), qos=1, retain=True),
            clean_start=False,
            properties=session,
            keepalive=settings.keepalive_s,
            tls_context=self._tls(),
            max_queued_incoming_messages=INCOMING_LIMIT,
        )

    def _tls(self) -> ssl.SSLContext | None:
        settings = self.settings
        if not settings.tls:
            return None
        context = ssl.create_default_context(cafile=settings.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        return context


def _delivery(message: Any) -> Delivery:
    properties = message.properties
    payload = message.payload
    return Delivery(
        topic=message.topic.value,
        payload=payload if isinstance(payload, bytes) else str(payload or "").encode(),
        response_topic=getattr(properties, "ResponseTopic", None),
        correlation=getattr(properties, "CorrelationData", None),
        expires_in_s=getattr(properties, "MessageExpiryInterval", None),
        retained=bool(message.retain),
    )


def _told(fault: Exception) -> str:
    cause = fault.__cause__
    return str(fault) if cause is None else f"{fault}: {cause}"

"""Somebody at the broker who asks all the time, knows each request by its correlation data, and asks again if need be.

Every request fills in one microlitre under a cause of its own, so the ledger shows how often it was done.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.chaos.checker_jobs import opened
from tests.chaos.party_broker import DEVICE
from tests.chaos.party_mongodb import OVER_MQTT
from tests.chaos.port import World
from tests.fakes.broker import PASSWORDS

USER = "alice"
TASK = "inventory.restock"
REPLY = f"labd/{DEVICE}/reply/{USER}/asker"
EVERY_S = 0.25
AGAIN_S = 2.0
OPEN_AT_MOST = 8
ANSWERED_S = 60.0
PL_IN_UL = 1_000_000
SHOWN = 5
BEGUN_BEFORE = "what it did then stands"
NOT_DONE = ("past its expires_at", "job_expired")
IN_FORCE_PERHAPS = "store_full"  # "what was asked is in force" where the ledger had it before the disk failed


class Request:
    """One request and every end that was told of it."""

    __slots__ = ("ends", "job", "number", "sent_at")

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent_at = 0.0
        self.job: int | None = None
        self.ends: list[str] = []

    @property
    def correlation(self) -> bytes:
        """Also the word that stands in the ledger."""
        return f"asked-{self.number}".encode()


class Asker:
    """Satisfies `Watching`; `begin` after `end` goes on with new requests."""

    name = "each request over MQTT is one job, done once and answered once"

    def __init__(self) -> None:
        self._requests: dict[bytes, Request] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._asks = threading.Event()
        self._thread: threading.Thread | None = None
        self._client: Client | None = None
        self._found: list[str] = []
        self.figures: Counter[str] = Counter()

    @property
    def answered(self) -> int:
        """How many requests have their end."""
        with self._lock:
            return sum(bool(one.ends) for one in self._requests.values())

    def begin(self, world: World) -> None:
        """Ask all the time."""
        port: int = world.parties["broker"].port  # type: ignore[attr-defined]
        self._asks.set()
        self._ended.clear()
        client = Client(CallbackAPIVersion.VERSION2, client_id="asker", protocol=MQTTv5)
        client.username_pw_set(USER, PASSWORDS[USER])
        client.reconnect_delay_set(min_delay=1, max_delay=1)
        client.on_connect = self._subscribe
        client.on_message = self._hear
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        client.connect_async("127.0.0.1", port, keepalive=5, clean_start=False, properties=session)
        client.loop_start()
        self._client = client
        self._thread = threading.Thread(target=self._work, args=(client,), name="mqtt-asker", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Ask nothing new; returns when everything is answered, or long after it must have been."""
        self._asks.clear()
        deadline = time.monotonic() + ANSWERED_S
        while self._open() and time.monotonic() < deadline:
            self._ended.wait(EVERY_S)
        self._ended.set()
        if self._thread is not None and self._client is not None:
            self._thread.join(ANSWERED_S)
            self._client.disconnect()
            self._client.loop_stop()
            self._thread = self._client = None

    def look(self, world: World, told: Mapping[str, Any]) -> list[str]:
        """The answers first: what was answered is in the ledger by then."""
        with self._lock:
            found, self._found = self._found[:SHOWN], []
            requests = [(one.correlation.decode(), list(one.ends)) for one in self._requests.values()]
        with opened(world.daemon.state / "labd.db") as database:
            done = Counter(
                cause
                for (cause,) in database.execute(
                    "SELECT cause FROM inventory_movement"
                    " WHERE kind = 'restock' AND reservoir = ? AND job_id IS NOT NULL",
                    (OVER_MQTT,),
                )
            )
            keys = Counter(
                bytes.fromhex(key.rpartition(":")[2]).decode()
                for (key,) in database.execute("SELECT idempotency_key FROM jobs WHERE idempotency_key LIKE 'mqtt:%'")
            )
        for word, ends in requests:
            answers = set(ends)
            if done[word] > 1:
                found.append(f"{word}: done {done[word]} times")
            if len(answers) > 1:
                found.append(f"{word}: answered in {len(answers)} ways: {sorted(answers)}")
            due = {1}
            if ends and BEGUN_BEFORE in ends[0]:
                due = {0, 1}  # a try that a kill cut short, and then a clock that was put forward
            elif ends and any(reason in ends[0] for reason in NOT_DONE):
                due = {0}  # a clock that was put forward had it wait too long
            elif ends and IN_FORCE_PERHAPS in ends[0]:
                due = {0, 1}
            if ends and (done[word] not in due or keys[word] != 1):
                found.append(f"{word}: answered {ends[0]}, and there are {keys[word]} jobs and {done[word]} movements")
            if not ends and self._ended.is_set():
                found.append(f"{word}: never answered; there are {keys[word]} jobs and {done[word]} movements")
        if strange := done.keys() - {word for word, _ in requests}:
            found.append(f"{len(strange)} restocks that nobody asked for over MQTT: {sorted(strange)[:SHOWN]}")
        self.figures["requests"] = len(requests)
        self.figures["answered_again"] = sum(len(ends) > 1 for _, ends in requests)
        return found[: 2 * SHOWN]

    def _open(self) -> list[Request]:
        with self._lock:
            return [one for one in self._requests.values() if not one.ends]

    def _work(self, client: Client) -> None:
        while not self._ended.wait(EVERY_S):
            waiting = self._open()
            if self._asks.is_set() and len(waiting) < OPEN_AT_MOST:
                with self._lock:
                    request = Request(len(self._requests) + 1)
                    self._requests[request.correlation] = request
                waiting.append(request)
            for request in waiting:
                if client.is_connected() and time.monotonic() - request.sent_at > AGAIN_S:
                    self._send(client, request)

    def _send(self, client: Client, request: Request) -> None:
        self.figures["sent" if not request.sent_at else "sent_again"] += 1
        request.sent_at = time.monotonic()
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = REPLY
        properties.CorrelationData = request.correlation
        properties.MessageExpiryInterval = 600
        asked = {"volumes": {OVER_MQTT: 1.0}, "operator": "asker", "cause": request.correlation.decode()}
        topic = f"labd/{DEVICE}/cmd/{USER}/{TASK}"
        client.publish(topic, json.dumps(asked).encode(), qos=1, properties=properties)

    def _subscribe(self, client: Client, *_: Any) -> None:
        client.subscribe(REPLY, qos=1)

    def _hear(self, client: Client, _: Any, message: MQTTMessage) -> None:
        told = json.loads(message.payload)
        correlation: bytes | None = getattr(message.properties, "CorrelationData", None)
        with self._lock:
            request = self._requests.get(correlation or b"")
            if request is None:
                self._found.append(f"an answer to nobody's request: {told}")
                return
            job = told.get("job")
            if job is None:
                self.figures["put_off"] += 1  # labd could not take it just now; it is asked again
            elif request.job not in (None, job):
                self._found.append(f"{request.correlation.decode()}: answered as job {request.job} and as job {job}")
            request.job = request.job or job
            if told["status"] in ("success", "error") and job is not None:
                request.ends.append(json.dumps(told, sort_keys=True))

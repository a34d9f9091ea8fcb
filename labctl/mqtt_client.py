"""Run a task through a broker and get its result, for scripts that cannot reach labd itself.

    with MQTTOrchestratorClient("mqtt-broker.local", "ot2-device-001") as client:
        result = client.execute_task("mix_color", R=120, Y=50, B=80)

Why it repeats itself: a broker's acknowledgement says that the broker has a request, not that labd has it on disk. The
same request, under the same correlation data, is sent until labd says `accepted`; labd makes one job of all of them.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from labctl.mqtt_address import parse_broker
from labctl.refusals import error_of
from labd.errors import BadRequest, BodyTooLarge, DaemonUnreachable, LabdError, NotAuthenticated, TaskTimeout

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

CONNECT_TIMEOUT_S = 10.0
RESEND_S = 2.0
SESSION_EXPIRY_S = 3600
NOBODY = "anonymous"
Progress = Callable[[dict[str, Any]], None]


class MQTTOrchestratorClient:
    """One user at a broker, asking one labd; for several threads at once.

    Args:
        broker: `host`, `host:port` or `mqtts://host[:port]`.
        device_id: The labd that is asked (`device_id` of its `[mqtt]`, its host's name unless set).
        username: Of the broker; LABD_MQTT_USER unless given, `anonymous` where the broker asks nobody for a name.
        password: LABD_MQTT_PASSWORD unless given.
        ca_file: The broker's authority, for TLS with one of one's own.
        expires_in_s: A request that labd has not taken by then is withdrawn, so that nothing moves later; None keeps
            it at the broker for ever, which labd refuses for physical tasks.
        timeout_s: How long to wait for the end of an accepted job; the job goes on after that.
        topic: What all topics begin with (`topic` of labd's `[mqtt]`).
        resend_s: How long to wait for `accepted` before a request is sent again.
    """

    def __init__(
        self, broker: str, device_id: str, *, username: str | None = None, password: str | None = None,
        ca_file: str | None = None, expires_in_s: float | None = 600.0, timeout_s: float = 3600.0, topic: str = "labd",
        resend_s: float = RESEND_S,
    ) -> None:  # fmt: skip
        self._host, self._port, self._tls = parse_broker(broker, ca_file)
        self._username = username or os.environ.get("LABD_MQTT_USER")
        self._password = password or os.environ.get("LABD_MQTT_PASSWORD")
        self._ca_file = ca_file
        self._expires_in_s = expires_in_s
        self._timeout_s = timeout_s
        self._resend_s = resend_s
        self._user = self._username or NOBODY
        self._name = secrets.token_hex(6)
        self._prefix = f"{topic}/{device_id}"
        self._answers: dict[bytes, queue.SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._subscribed = threading.Event()
        self._refusal: str | None = None

    def __enter__(self) -> MQTTOrchestratorClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker; a second call does nothing, a further task connects again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
        self._subscribed.clear()

    def execute_task(self, task_name: str, /, **args: Any) -> Any:
        """Run a task, wait, and return its result.

        Raises:
            LabdError: The class of the code with which it was refused or failed.
            DaemonUnreachable: The broker is away, or labd did not take the request within `expires_in_s`.
            TaskTimeout: It was accepted and has not ended within `timeout_s`; it goes on.
        """
        return self.execute(task_name, args)

    def execute(self, task_name: str, args: dict[str, Any], on_progress: Progress | None = None) -> Any:
        """As `execute_task`; `on_progress` gets every message before the end: accepted, running, progress, asked."""
        client = self._connected()
        correlation = secrets.token_bytes(16)
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._answers[correlation] = answers
        try:
            told = self._until_accepted(client, task_name, json.dumps(args).encode(), correlation, answers)
            deadline = time.monotonic() + self._timeout_s
            while told["status"] not in ("success", "error"):
                if on_progress is not None:
                    on_progress(told)
                told = self._next(answers, deadline, task_name, told)
        finally:
            del self._answers[correlation]
        return _result(told)

    def _until_accepted(
        self, client: Client, task: str, payload: bytes, correlation: bytes, answers: queue.SimpleQueue[dict[str, Any]]
    ) -> dict[str, Any]:
        """Send until something final or `accepted` is heard; what labd cannot take just now is sent again."""
        began = time.monotonic()
        refusal = ""
        while True:
            left_s = None if self._expires_in_s is None else self._expires_in_s - (time.monotonic() - began)
            if left_s is not None and left_s <= 0:
                raise DaemonUnreachable(
                    f"{self._prefix}: {task} was not accepted within {self._expires_in_s:g} s and is withdrawn"
                    f"{f' ({refusal})' if refusal else ''}; does a labd of that name serve this broker, and may"
                    f" {self._user} ask it?",
                    task=task,
                )
            self._send(client, task, payload, correlation, left_s)
            try:
                told = answers.get(timeout=self._resend_s if left_s is None else min(self._resend_s, left_s))
            except queue.Empty:
                continue
            if told["status"] != "error" or told.get("job") is not None or not _passes(told):
                return told
            refusal = str(told.get("message", ""))
            threading.Event().wait(self._resend_s)

    def _send(self, client: Client, task: str, payload: bytes, correlation: bytes, left_s: float | None) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = f"{self._prefix}/reply/{self._user}/{self._name}"
        properties.CorrelationData = correlation
        properties.ContentType = "application/json"
        if left_s is not None:
            properties.MessageExpiryInterval = max(1, int(left_s))
        if client.is_connected():  # else paho would keep it and send every copy later
            client.publish(f"{self._prefix}/cmd/{self._user}/{task}", payload, qos=1, properties=properties)

    def _next(
        self, answers: queue.SimpleQueue[dict[str, Any]], deadline: float, task: str, last: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            return answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TaskTimeout(
                f"{task} (job {last.get('job')} of {self._prefix}) has not ended in {self._timeout_s:g} s; it goes on",
                job=last.get("job"),
            ) from None

    def _connected(self) -> Client:
        """The connection, made with the first task; paho keeps it and makes it again."""
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
        if not self._subscribed.wait(CONNECT_TIMEOUT_S):
            self.close()
            refusal = self._refusal
            if refusal is not None:
                raise NotAuthenticated(f"the broker {self._host}:{self._port} refuses {self._user}: {refusal}")
            raise DaemonUnreachable(f"the broker {self._host}:{self._port} did not answer in {CONNECT_TIMEOUT_S:g} s")
        if self._refusal is not None:
            refusal = self._refusal
            self.close()
            raise NotAuthenticated(f"the broker {self._host}:{self._port} refuses {self._user}: {refusal}")
        return client

    def _connect(self) -> Client:
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            raise BadRequest("paho-mqtt is not installed; pip install 'labd[mqtt]'") from None
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"labctl-{self._name}", protocol=mqtt.MQTTv5)
        client.username_pw_set(self._username, self._password)
        if self._tls:
            client.tls_set_context(ssl.create_default_context(cafile=self._ca_file))
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 10)
        session = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        session.SessionExpiryInterval = SESSION_EXPIRY_S  # answers of a time without a line wait at the broker
        self._refusal = None
        self._subscribed.clear()
        try:
            client.connect(self._host, self._port, clean_start=False, properties=session)
        except OSError as fault:
            raise DaemonUnreachable(f"the broker {self._host}:{self._port} cannot be reached: {fault}") from fault
        client.loop_start()
        return client

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
            self._subscribed.set()
            return
        self._refusal = None
        own = f"{self._prefix}/reply/{self._user}"
        client.subscribe([(f"{own}/{self._name}", 1), (own, 1)])

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        answers = self._answers.get(getattr(message.properties, "CorrelationData", b""))
        if answers is None:
            return
        try:
            told = json.loads(message.payload)
        except ValueError:
            return
        if isinstance(told, dict) and isinstance(told.get("status"), str):
            answers.put(told)


def _error(told: dict[str, Any]) -> LabdError:
    details = dict(told.get("details") or {})
    if told.get("job") is not None:
        details["job"] = told["job"]
    return error_of(str(told.get("code", "internal")), str(told.get("message", "")), details)


def _passes(told: dict[str, Any]) -> bool:
    """Whether a refusal is one of those that end by themselves: draining, overloaded, a full disk."""
    return _error(told).retryable


def _result(told: dict[str, Any]) -> Any:
    if told["status"] == "error":
        raise _error(told)
    if "omitted_bytes" in told:
        raise BodyTooLarge(f"job {told.get('job')} succeeded; {told.get('message', '')}", job=told.get("job"))
    return told.get("result")

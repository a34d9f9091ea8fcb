"""The MQTT door: requests from a broker become jobs, and what becomes of them is answered there.

Why the job comes before everything: the acknowledgement leaves the client library before a request is handled, so a
crash in between loses the request. The job is on disk first, then where its answer goes, then `accepted` is said; a
client repeats its request, under the same correlation data, until it hears that. Whatever it repeats is the same job.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections import OrderedDict
from collections.abc import Coroutine
from random import Random
from typing import Any

import structlog

from labd import mqtt_messages as messages
from labd.api.access import grant
from labd.clock import Clock, iso
from labd.engine import admission
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, Submission
from labd.engine.outcome import failure, outcome
from labd.engine.registry import StopSpec, TaskSpec
from labd.errors import (
    BadRequest,
    JobExpired,
    LabdError,
    NotAuthenticated,
    Overloaded,
    ScopeMissing,
    UnknownTask,
)
from labd.mqtt_answers import OwedAnswers
from labd.mqtt_connection import BrokerConnection
from labd.mqtt_messages import Delivery, Topics
from labd.settings_types import MqttSettings

log = structlog.get_logger()
AT_ONCE = 1000
STOPS_KEPT = 256


class MqttDoor:
    """Requests in, answers out.

    Args:
        host_name: Told in the retained status.
        version: As above.
    """

    def __init__(
        self, settings: MqttSettings, engine: Engine, host_name: str, version: str, clock: Clock, random: Random
    ) -> None:
        self._settings = settings
        self._engine = engine
        self.topics = Topics(settings.topic, settings.device_id)
        self.connection = BrokerConnection(
            settings, self.topics, self.receive, {"host": host_name, "version": version}, clock, random
        )
        self._answers = OwedAnswers(engine, self.connection, clock, settings.max_payload_bytes)
        self._stops: OrderedDict[str, asyncio.Task[dict[str, Any]]] = OrderedDict()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._serving = 0

    async def start(self) -> None:
        """Take up the answers that are owed since before, and begin to connect; a broker that is away is no error.

        Raises:
            LabdError: aiomqtt is not installed.
        """
        if importlib.util.find_spec("aiomqtt") is None:
            raise LabdError("mqtt: aiomqtt is not installed; pip install 'labd[mqtt]'")
        await self._answers.open()
        self.connection.start()

    async def stop(self) -> None:
        """Leave the broker; answers that are owed stay on disk. A second call does nothing."""
        await self.connection.stop()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._answers.close()

    def status(self) -> dict[str, Any]:
        """Connection, its last error, and how many answers are owed."""
        return {
            "broker": self.connection.address,
            "connected": self.connection.connected.is_set(),
            "since": iso(self.connection.since),
            "last_error": self.connection.last_error,
            "answers_owed": self._answers.owed,
            "requests": self.topics.requests,
        }

    def attention(self) -> list[dict[str, Any]]:
        """What needs a person: a broker that cannot be reached."""
        if self.connection.connected.is_set() or self.connection.last_error is None:
            return []
        text = f"the broker {self.connection.address} is away: {self.connection.last_error}"
        return [{"code": "not_connected", "message": text, "subject": "mqtt"}]

    async def publish_alert(self, code: str, payload: bytes) -> None:
        """Tell an alert on the topic of its code, QoS 1, not retained; returns when the broker has it.

        Raises:
            ConnectionError: It was not handed over, or nobody knows whether it was.
        """
        await self.connection.publish(self.topics.alert(code), payload)

    def receive(self, delivery: Delivery) -> None:
        """One message from the broker; a stop is on its way when this returns to the loop, before any other request."""
        try:
            user, task = self.topics.asked(delivery.topic)
        except BadRequest as error:
            log.warning("mqtt.refused", code=error.code, problem=error.message)
            return
        stop = self._stop_of(task)
        if stop is not None:
            self._spawn(self._stop(stop, user, delivery), "mqtt-stop")
        elif self._serving >= AT_ONCE:
            full = Overloaded(f"{AT_ONCE} requests are being taken in; send it again")
            self._spawn(self._refuse(user, delivery, full), "mqtt-refuse")
        else:
            self._serving += 1
            self._spawn(self._serve(user, task, delivery), "mqtt-request").add_done_callback(self._served)

    def _served(self, task: asyncio.Task[Any]) -> None:
        self._serving -= 1

    def _stop_of(self, task: str) -> StopSpec | None:
        try:
            spec = self._engine.registry.find(task)
        except UnknownTask:
            return None
        return spec if isinstance(spec, StopSpec) else None

    def _caller(self, user: str) -> Caller:
        scopes = self._settings.users.get(user)
        if scopes is None:
            raise NotAuthenticated(
                f"mqtt user {user[:80]} has no scopes here; name the user under [mqtt.users]", user=user
            )
        granted = grant(scopes)
        if "operate" not in granted:
            raise ScopeMissing(
                f"mqtt user {user} lacks the scope operate; see [mqtt.users]", scope="operate", user=user
            )
        return Caller(f"mqtt:{user}", granted, "mqtt")

    async def _stop(self, spec: StopSpec, user: str, delivery: Delivery) -> None:
        """Stop first, whatever else is wrong with the request; the same press delivered twice is one stop."""
        try:
            caller = self._caller(user)
        except LabdError as error:
            await self._refuse(user, delivery, error)
            return
        try:
            args = messages.arguments_of(delivery.payload, self._settings.max_payload_bytes)
        except LabdError:
            args = {}
        key = messages.key_of(user, delivery.correlation or secrets.token_bytes(16))
        if key not in self._stops:
            self._stops[key] = self._spawn(self._press(Submission(spec.name, args), caller), "mqtt-press")
            while len(self._stops) > STOPS_KEPT:
                self._stops.popitem(last=False)
        answer = await asyncio.shield(self._stops[key])
        await self._answers.tell(self._where(user, delivery), answer, delivery.correlation)

    async def _press(self, item: Submission, caller: Caller) -> dict[str, Any]:
        try:
            return outcome((await self._engine.submit([item], caller))[0])
        except LabdError as error:
            return failure(error)
        except Exception as fault:  # noqa: BLE001 as in `_serve`
            return failure(_unexpected(item.task, fault))

    async def _serve(self, user: str, task: str, delivery: Delivery) -> None:
        """Take one request in: job, owed answer, `accepted`; or a refusal."""
        try:
            topic = self.topics.answer_topic(user, delivery.response_topic)
            correlation = messages.correlation_of(delivery)
            caller = self._caller(user)
            if delivery.retained:
                raise BadRequest("the request is retained; it would be asked again for ever: publish it without")
            args = messages.arguments_of(delivery.payload, self._settings.max_payload_bytes)
            key = messages.key_of(user, correlation)
            job = await self._known(key, task, args) or await self._submit(key, task, args, delivery, caller)
            await self._answers.owe(key, job, topic, correlation)
        except LabdError as error:
            await self._refuse(user, delivery, error)
        except Exception as fault:  # noqa: BLE001 the last place of this door, as the API has one
            await self._refuse(user, delivery, _unexpected(task, fault))

    async def _known(self, key: str, task: str, args: dict[str, Any]) -> Job | None:
        """The job that this request made before.

        Why before every other check: what made it right then (a device that was connected) may not hold now.
        """
        found = await self._engine.journal.read("job_by_key", key)
        if not found:
            return None
        try:
            task = self._engine.registry.find(task).name
        except UnknownTask:
            pass  # gone since; the job has the name it had
        return admission.same_request(await self._engine.job(found[0][0]), task, args)

    async def _submit(self, key: str, task: str, args: dict[str, Any], delivery: Delivery, caller: Caller) -> Job:
        spec = self._engine.registry.find(task)
        if isinstance(spec, TaskSpec):
            messages.check_expiry(spec.name, spec.effect, delivery.expires_in_s)
        if delivery.expires_in_s is not None and delivery.expires_in_s <= 0:
            raise JobExpired(f"{spec.name}: the request's message expiry is over", task=spec.name)
        item = Submission(task, args, idempotency_key=key, expires_in_s=delivery.expires_in_s)
        return (await self._engine.submit_one(item, caller))[0]

    def _where(self, user: str, delivery: Delivery) -> str:
        """The response topic, or the user's own where that cannot be used."""
        try:
            return self.topics.answer_topic(user, delivery.response_topic)
        except BadRequest:
            return self.topics.reply(user)

    async def _refuse(self, user: str, delivery: Delivery, error: LabdError) -> None:
        log.warning("mqtt.refused", code=error.code, user=user[:80], problem=error.message)
        correlation = delivery.correlation
        if correlation is not None and len(correlation) > messages.CORRELATION_LIMIT_BYTES:
            correlation = None
        await self._answers.tell(self._where(user, delivery), failure(error), correlation)

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unexpected(task: str, fault: Exception) -> LabdError:
    incident = secrets.token_hex(6)
    log.error("mqtt.request_failed", incident=incident, task=task[:200], exc_info=fault)
    return messages.unexpected(incident)

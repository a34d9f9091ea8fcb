"""MQTT requests and answers as values: topics, limits and refusals, no I/O.

    labd/<device>/cmd/<user>/<task>     requests; the payload is the JSON object of `POST /execute/{task}`
    labd/<device>/reply/<user>/...      answers; the request's response topic must lie here
    labd/<device>/reply/<user>          answers to requests that name no usable response topic
    labd/<device>/alerts/<code>         what needs a person, where [notify] has an outlet of kind mqtt
    labd/<device>/status                retained: online, offline, or lost (the last will)

Why the user is a level of the topic: the broker authenticates and its ACL pins the level (`%u`), so no payload can
claim to come from somebody else, and nobody reads another's answers.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from labd.errors import BadRequest, BodyTooLarge, LabdError

CORRELATION_LIMIT_BYTES = 64
TOPIC_LIMIT_BYTES = 512
SHOWN = 120


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came from the broker; what it lacks is None or empty."""

    topic: str
    payload: bytes = b""
    response_topic: str | None = None
    correlation: bytes | None = None
    expires_in_s: float | None = None
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one labd.

    Args:
        root: First level or levels.
        device: The level that names this labd.
    """

    root: str
    device: str

    @property
    def requests(self) -> str:
        """The filter of everything that is asked."""
        return f"{self.root}/{self.device}/cmd/+/#"

    @property
    def status(self) -> str:
        """Where it is told whether labd is there."""
        return f"{self.root}/{self.device}/status"

    def alert(self, code: str) -> str:
        """Where alerts of a code are told."""
        return f"{self.root}/{self.device}/alerts/{code}"

    def command(self, user: str, task: str) -> str:
        """Where a user asks for a task."""
        return f"{self.root}/{self.device}/cmd/{user}/{task}"

    def reply(self, user: str) -> str:
        """What the topics of a user's answers begin with, and where answers go that have no other place."""
        return f"{self.root}/{self.device}/reply/{user}"

    def asked(self, topic: str) -> tuple[str, str]:
        """User and task of a request; a task's name may have slashes (`activate-hotel/activate-hotel`).

        Raises:
            BadRequest: No topic of a request.
        """
        start = f"{self.root}/{self.device}/cmd/"
        user, slash, task = topic.removeprefix(start).partition("/")
        if not topic.startswith(start) or not user or not slash or not task:
            raise BadRequest(f"topic {topic[:SHOWN]} is no request; ask on {start}<user>/<task>", topic=topic[:SHOWN])
        return user, task

    def answer_topic(self, user: str, response_topic: str | None) -> str:
        """The response topic, if it is one of this user's.

        Raises:
            BadRequest: None was named, or one that lies elsewhere or that nobody can publish to.
        """
        allowed = self.reply(user)
        if not response_topic:
            raise BadRequest(f"the request has no response topic; name one under {allowed}/", allowed=f"{allowed}/")
        shown = response_topic[:SHOWN]
        if not response_topic.startswith(f"{allowed}/") and response_topic != allowed:
            raise BadRequest(
                f"response topic {shown!r} is not under {allowed}/; answers go there only",
                topic=shown,
                allowed=f"{allowed}/",
            )
        size_bytes = len(response_topic.encode("utf-8", "surrogatepass"))
        if size_bytes > TOPIC_LIMIT_BYTES:
            raise BadRequest(f"the response topic has {size_bytes} bytes; at most {TOPIC_LIMIT_BYTES}")
        if any(character in "+#" or not character.isprintable() for character in response_topic):
            raise BadRequest(f"response topic {shown!r} has a wildcard or a control character", topic=shown)
        return response_topic


def correlation_of(delivery: Delivery) -> bytes:
    """The correlation data, which is also the request's idempotency key.

    Raises:
        BadRequest: There is none, or too much of it.
    """
    correlation = delivery.correlation
    if not correlation:
        raise BadRequest(
            "the request has no correlation data; it is needed, so that a request that is sent again is the same job"
        )
    if len(correlation) > CORRELATION_LIMIT_BYTES:
        raise BadRequest(
            f"the correlation data has {len(correlation)} bytes; at most {CORRELATION_LIMIT_BYTES}",
            limit_bytes=CORRELATION_LIMIT_BYTES,
        )
    return correlation


def key_of(user: str, correlation: bytes) -> str:
    """The idempotency key of a request."""
    return f"mqtt:{user}:{correlation.hex()}"


def arguments_of(payload: bytes, limit_bytes: int) -> dict[str, Any]:
    """The arguments; an empty payload has none.

    Raises:
        BodyTooLarge: More bytes than allowed.
        BadRequest: No JSON object, with the place where it breaks.
    """
    if len(payload) > limit_bytes:
        raise BodyTooLarge(
            f"the payload has {len(payload)} bytes, at most {limit_bytes} are taken", limit_bytes=limit_bytes
        )
    if not payload.strip():
        return {}
    try:
        value = json.loads(payload, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as fault:
        raise BadRequest(f"the payload is not UTF-8: byte {fault.start}") from None
    except RecursionError:
        raise BadRequest("the payload is nested too deep") from None
    except ValueError as fault:
        raise BadRequest(f"the payload is no JSON: {fault}") from None
    if not isinstance(value, dict):
        raise BadRequest(f"the payload is a JSON {type(value).__name__}, needs an object of arguments")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def check_expiry(task: str, effect: str, expires_in_s: float | None) -> None:
    """A request that moves something must say how long it is worth doing.

    Raises:
        BadRequest: It does not: the broker keeps requests while labd is away, and nothing may move hours late.
    """
    if effect == "physical" and expires_in_s is None:
        raise BadRequest(
            f"{task} is physical and the request has no message expiry; set the message expiry interval (seconds), so "
            "that nothing moves late",
            task=task,
            field="message_expiry_interval",
        )


def accepted(job_id: int, task: str, seq: int) -> dict[str, Any]:
    """The request is on disk; the client need not send it again."""
    return {"status": "accepted", "job": job_id, "task": task, "seq": seq}


def news(kind: str, job_id: int, seq: int, data: dict[str, Any]) -> dict[str, Any] | None:
    """What a client hears of an event of its job before the end; None where it hears nothing."""
    if kind == "job.started":
        return {"status": "running", "job": job_id, "attempt": data.get("attempt"), "seq": seq}
    if kind == "job.progress":
        shown = {name: data.get(name) for name in ("done", "total", "text")}
        return {"status": "progress", "job": job_id, **shown, "seq": seq}
    if kind == "job.asked":
        return {"status": "asked", "job": job_id, "asks": data, "seq": seq}
    return None


def encoded(answer: dict[str, Any], limit_bytes: int) -> bytes:
    """An answer as payload. A result that is too long is left out and says so; the job keeps it.

    Why a limit of our own: a broker cuts off whoever sends more than it takes, and would again and again.
    """
    payload = json.dumps(answer, separators=(",", ":"), default=str).encode()
    if len(payload) <= limit_bytes:
        return payload
    job = answer.get("job")
    note = f"the answer has {len(payload)} bytes, at most {limit_bytes} are sent; job {job} keeps the rest"
    short = {name: answer[name] for name in ("status", "job", "code", "task") if name in answer}
    return json.dumps({**short, "omitted_bytes": len(payload), "message": note}).encode()


def unexpected(incident: str) -> LabdError:
    """What a client hears of a fault of labd's own."""
    return LabdError(f"labd failed; its log has the reason under incident {incident}", incident=incident)

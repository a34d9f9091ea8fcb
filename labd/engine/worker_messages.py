"""What a worker says, one JSON object a line: the types of the protocol's messages from child to parent."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.engine.parameters import Parameter


class Policy(msgspec.Struct):
    """The policy of a task as its decorator says it; None is left to labd."""

    queue: str | None = None
    priority: int | None = None
    retries: int | None = None
    retry_delay_s: float | None = None
    backoff: str | None = None
    timeout_s: float | None = None
    effect: str | None = None
    resources: list[str] | None = None
    env: str | None = None
    tags: list[str] | None = None
    idempotency: Any = None
    cache_key: Any = None
    cache_ttl_s: float | None = None
    affinity: str | None = None
    consumes: dict[str, str | float] | None = None


class FoundTask(msgspec.Struct):
    """A task that the child found in a file (`TASK` of the protocol)."""

    name: str
    file: str = ""
    line: int = 0
    sha256: str = ""
    description: str | None = None
    is_async: bool = False
    policy: Policy = msgspec.field(default_factory=Policy)
    parameters: list[Parameter] = []


class Fault(msgspec.Struct):
    """Why a file or a module could not be used."""

    file: str
    message: str
    line: int | None = None


class Message(msgspec.Struct):
    """Anything the child says; the fields that do not belong to its type keep their defaults."""

    type: str
    run: int | None = None
    result: Any = None
    error: dict[str, Any] | None = None
    level: str = "info"
    text: str = ""
    done: float = 0.0
    total: float | None = None
    calls: list[dict[str, Any]] | None = None
    ask: dict[str, Any] | None = None
    ordinal: int = 0
    volumes_ul: dict[str, float] | None = None
    printed: bool = False
    python: str = ""
    tasks: list[FoundTask] | None = None
    faults: list[Fault] | None = None
    watched: list[tuple[str, int, int, int]] | None = None


_decode = msgspec.json.Decoder(Message).decode


def decode(line: bytes) -> Message:
    """One message.

    Raises:
        ValueError: It is none.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise ValueError(str(fault)) from None

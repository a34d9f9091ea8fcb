"""Every request that labctl makes, as a value: one table for the blocking and the asynchronous client.

Nothing here talks to anybody; `transport` and `async_client` send these, and turn the answers into values or errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

V1 = "/api/v1"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # `json.dumps` would make one for each request
SUBMIT_ANSWER_S = 300.0  # where labd keeps stock, a robot's run is accepted once its simulation has told what it needs


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Any = None
    headers: Mapping[str, str] = {}
    accept: str = "application/json"

    def encoded(self) -> bytes:
        """The body as it goes over the wire."""
        return _ENCODER.encode(self.body).encode()


def get(path: str, **query: Any) -> Request:
    """A read; None and empty values are left out, lists are joined by commas."""
    return Request("GET", V1 + path, _query(query))


def post(path: str, body: Any = None) -> Request:
    """A change; the body is an object even where nothing is to be said."""
    return Request("POST", V1 + path, {}, {} if body is None else body)


def put(path: str, body: Any) -> Request:
    """A replacement."""
    return Request("PUT", V1 + path, {}, body)


def delete(path: str) -> Request:
    """A removal."""
    return Request("DELETE", V1 + path)


def part(name: object) -> str:
    """A name as one piece of a path."""
    return quote(str(name), safe="")


def given(**fields: Any) -> dict[str, Any]:
    """The fields that were said."""
    return {name: value for name, value in fields.items() if value is not None}


def jobs(
    state: Sequence[str] = (),
    task: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    since: str | None = None,
    until: str | None = None,
    text: str | None = None,
    submitted_by: str | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> Request:
    """A page of jobs, newest first; instants are ISO 8601."""
    return get(
        "/jobs",
        state=state,
        task=task,
        queue=queue,
        tag=tag,
        since=since,
        until=until,
        text=text,
        submitted_by=submitted_by,
        before=before,
        limit=limit,
    )


def events(after: int | None, kinds: Sequence[str]) -> Request:
    """The live feed, from the event behind `after`; kinds are prefixes such as `job.`."""
    request = get("/events", after=after, kind=kinds)
    return request._replace(accept="text/event-stream")


def submission(task: str, args: Mapping[str, Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of one submission; what is None is left to the task and the queue."""
    return {"task": task, "args": dict(args or {}), **given(**options)}


def stop(device: str | None, reason: str | None) -> Request:
    """The emergency stop."""
    return post("/resort/stop", given(device=device, reason=reason))


def execute(task: str, args: Mapping[str, Any]) -> Request:
    """Run a task and wait for it, as the seeds did."""
    return Request("POST", f"/execute/{quote(task, safe='/')}", {}, dict(args))


def _query(values: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if value is None or value == "" or value == () or value == []:
            continue
        found[name] = value if isinstance(value, str) else ",".join(map(str, value)) if _listed(value) else str(value)
    return found


def _listed(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset)

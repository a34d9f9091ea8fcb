"""What goes into a support bundle: answers of the API as files, with everything secret taken out.

Why from the API: the bundle shows what labd says of itself, and can be made for another host as well.
"""

from __future__ import annotations

import io
import json
import platform
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from labd.errors import LabdError

if TYPE_CHECKING:
    from labctl.client import Client

EVENTS = 2000
JOBS = 200
AUDIT = 500
LOGGED_JOBS = 20
LINES = 300
HIDDEN = "(taken out)"
_SECRET_KEY = re.compile(
    r"(?i)pass(word|phrase|wd)?$|secret|token(?!s?_?(total|count))|api_?key|credential|authorization|cookie"
)
_SECRET_TEXT = (
    re.compile(r"(?i)(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"),  # user:password@ in a URL
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(?:(?<=password=)|(?<=token=)|(?<=secret=)|(?<=passwd=)|(?<=apikey=))[^\s&;,'\"]+"),
    re.compile(r"\blabd_[A-Za-z0-9_-]{20,}"),
)
Json = dict[str, Any]


def redacted(value: Any, key: str = "", is_secret: bool = False) -> Any:
    """The value without secrets: whole values under telling names, and parts of texts that look like one."""
    is_secret = is_secret or bool(_SECRET_KEY.search(key))
    if isinstance(value, dict):
        return {name: redacted(one, str(name), is_secret) for name, one in value.items()}
    if isinstance(value, list):
        return [redacted(one, key, is_secret) for one in value]
    if not isinstance(value, str):
        return value
    if is_secret and not value.startswith(("env:", "file:", "credential:")):
        return HIDDEN if value else value
    for pattern in _SECRET_TEXT:
        value = pattern.sub(HIDDEN, value)
    return value


def documents(client: Client) -> Iterator[tuple[str, Any]]:
    """Name and content of every file; one that cannot be had says why instead."""
    yield "about.json", {"python": sys.version, "platform": platform.platform()}
    for name, ask in _questions(client):
        yield name, _answer(ask)
    failed = _answer(lambda: client.jobs(state=("failed", "interrupted"), limit=LOGGED_JOBS))
    for job in failed.get("jobs", []):
        yield f"logs/job-{job['id']}.json", _answer(partial(client.logs, job["id"], limit=LINES))


def _questions(client: Client) -> list[tuple[str, Callable[[], Any]]]:
    return [
        ("status.json", client.status),
        ("doctor.json", client.doctor),
        ("settings.json", client.settings),
        ("alerts.json", lambda: client.alerts(everything=True)),
        ("queues.json", client.queues),
        ("schedules.json", client.schedules),
        ("environments.json", client.environments),
        ("jobs.json", lambda: client.jobs(limit=JOBS)),
        ("jobs-failed.json", lambda: client.jobs(state=("failed", "interrupted"), limit=JOBS)),
        ("audit.json", lambda: client.audit(None, AUDIT)),
        ("events.json", lambda: _events(client)),
        ("metrics.txt", client.metrics),
    ]


def _events(client: Client) -> list[Json]:
    newest = client.last_event()
    found: list[Json] = []
    after = max(0, newest - EVENTS)
    if after >= newest:
        return found
    for event in client.events(after, (), quiet_s=0.5):
        found.append(event)
        if event["seq"] >= newest:
            break
    return found


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except LabdError as fault:
        return {"error": {"code": fault.details.get("code", fault.code), "message": fault.message}}


def write(client: Client, out: io.BufferedIOBase, made_at: int) -> list[str]:
    """A `tar.gz` of all documents, without secrets; returns the names in it.

    Args:
        made_at: Seconds since 1970, the date of every file in it.
    """
    names = []
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in documents(client):
            clean = redacted(content)
            text = clean if isinstance(clean, str) else json.dumps(clean, indent=1, ensure_ascii=False)
            data = text.encode()
            entry = tarfile.TarInfo(f"labd-bundle/{name}")
            entry.size, entry.mtime, entry.mode = len(data), made_at, 0o600
            tar.addfile(entry, io.BytesIO(data))
            names.append(name)
    return names

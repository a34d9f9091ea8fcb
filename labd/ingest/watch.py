"""What of the ingestions needs a person: rules over what is known in memory, no I/O."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.clock import iso
from labd.ingest.record import FileMark, Record, Run, RunState, State


class Standing(msgspec.Struct):
    """How an ingestion stands; looked at after each step of its runs."""

    quarantined: int = 0
    held: int = 0
    files: dict[FileMark, int] = {}
    waits: str = ""
    """The question about its schema that nobody has answered yet."""
    last: Run | None = None
    """Its newest run that has ended."""


def attention(record: Record, standing: Standing, now: float) -> list[dict[str, Any]]:
    """Everything about one ingestion that somebody should see to."""
    if record.state is State.DELETED:
        return []
    name, alerts = record.name, record.definition.alerts
    found: list[tuple[str, str]] = []
    if standing.quarantined and alerts.quarantine:
        text = f"{_files(standing.quarantined)} of {name} cannot be read"
        found.append(("ingest_quarantined", f"{text}; `labctl ingest files {name} --state quarantined` says why"))
    if standing.held and alerts.changed:
        text = f"{_files(standing.held)} of {name} wait for a person"
        found.append(("ingest_held", f"{text}; `labctl ingest files {name} --state held`, then `ingest retry`"))
    if standing.waits and alerts.schema:
        found.append(("ingest_schema", f"{name} waits for a word about its schema: {standing.waits}"))
    last = standing.last
    if last is not None and (last.state is RunState.FAILED or _is_cut_off(last)):
        why = f": {last.body.errors[-1].message}" if last.body.errors else ""
        found.append((f"ingest_{last.state}", f"run {last.id} of {name} is {last.state}{why}"))
    since = silent_since(record, now)
    if since is not None:
        limit_s = alerts.silent_after_s or 0.0
        text = f"{name} has had no new file since {iso(since)}, silent_after_s is {limit_s:g}"
        found.append(("ingest_silent", f"{text}; look at what writes to {record.definition.source.url}"))
    return [{"code": code, "message": message, "subject": name} for code, message in found]


def _is_cut_off(run: Run) -> bool:
    """Whether something else than single files kept a run from being whole: a limit, a rule, a prefix, a lost table."""
    return run.state is RunState.PARTIAL and (bool(run.body.denied) or any(not one.path for one in run.body.errors))


def silent_since(record: Record, now: float) -> float | None:
    """When its last new file came, if that is too long ago; a paused one is meant to be silent."""
    limit_s = record.definition.alerts.silent_after_s
    if limit_s is None or record.state is not State.ACTIVE:
        return None
    since = record.facts.last_new_file_at or record.created_at
    return since if now - since >= limit_s else None


def counted(standing: Standing, counts: dict[FileMark, int]) -> None:
    """Take the ledger's figures over."""
    standing.quarantined = counts.get(FileMark.QUARANTINED, 0)
    standing.held = counts.get(FileMark.HELD, 0)
    standing.files = counts


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"

"""Every request about ingestions, as a value: one table for the blocking and the asynchronous client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labctl.routes import V1, Request, get, given, part, post, put

ROOT = "/ingestions"
LIST_ANSWER_S = 3600.0  # a source of millions of files is listed before the answer comes
LOOK_ANSWER_S = 600.0


def one_path(ingestion: str) -> str:
    """Where an ingestion is, by name or id."""
    return f"{ROOT}/{part(ingestion)}"


def listing(status: str | None, tag: str | None) -> Request:
    """All of a state and a tag."""
    return get(ROOT, status=status, tag=tag)


def create(definition: Mapping[str, Any], paused: bool) -> Request:
    """A new one."""
    return Request("POST", V1 + ROOT, {"paused": "true"} if paused else {}, dict(definition))


def replace(ingestion: str, definition: Mapping[str, Any]) -> Request:
    """Another definition."""
    return put(one_path(ingestion), dict(definition))


def edit(ingestion: str, change: Mapping[str, Any]) -> Request:
    """Some fields."""
    return Request("PATCH", V1 + one_path(ingestion), {}, dict(change))


def delete(ingestion: str, drop_table: bool, confirm: str | None) -> Request:
    """Out of service."""
    query = {"drop_table": "true", **given(confirm=confirm)} if drop_table else {}
    return Request("DELETE", V1 + one_path(ingestion), query)


def act(verb: str, ingestion: str) -> Request:
    """`pause` or `resume`."""
    return post(f"{one_path(ingestion)}/{verb}")


def run(ingestion: str, full: bool, idempotency_key: str | None) -> Request:
    """A run, by hand."""
    return post(
        f"{one_path(ingestion)}/run", {"full": full, "trigger": "manual", **given(idempotency_key=idempotency_key)}
    )


def retry(ingestion: str, paths: Sequence[str] | None, states: Sequence[str] | None, run: bool) -> Request:
    """Bad files again."""
    chosen = given(paths=list(paths) if paths else None, states=list(states) if states else None)
    return post(f"{one_path(ingestion)}/retry", {"run": run, **chosen})


def refresh(ingestion: str, mode: str, dry_run: bool, confirm: bool, run: bool) -> Request:
    """The table anew."""
    body = {"mode": mode, "dry_run": dry_run, "confirm": confirm, "run": run}
    return post(f"{one_path(ingestion)}/refresh", body)


def backfill(ingestion: str, since: str | None, until: str | None, match: str | None, dry_run: bool) -> Request:
    """Files of a span of time."""
    return post(f"{one_path(ingestion)}/backfill", {"dry_run": dry_run, **given(since=since, until=until, match=match)})


def adopt(ingestion: str, until: str | None, match: str | None, dry_run: bool) -> Request:
    """Files that another loader has loaded."""
    return post(f"{one_path(ingestion)}/adopt", {"dry_run": dry_run, **given(until=until, match=match)})


def estimate(ingestion: str, full: bool) -> Request:
    """What a run would load."""
    return post(f"{one_path(ingestion)}/estimate", {"full": full})


def preview(ingestion: str, rows: int, files: int) -> Request:
    """Rows as they would be loaded."""
    return post(f"{one_path(ingestion)}/preview", {"rows": rows, "files": files})


def preview_definition(definition: Mapping[str, Any], rows: int, files: int) -> Request:
    """The same of a definition that is not kept."""
    return post(f"{ROOT}/preview", {"definition": dict(definition), "rows": rows, "files": files})


def runs(ingestion: str | None, state: str | None, limit: int | None, before: int | None) -> Request:
    """Runs, newest first."""
    path = f"{ROOT}/runs" if ingestion is None else f"{one_path(ingestion)}/runs"
    return get(path, state=state, limit=limit, before=before)


def files(
    ingestion: str, state: str | None, run: int | None, match: str | None, limit: int | None, after: str | None
) -> Request:
    """Files, by path; a comma in a path is no list."""
    query = given(state=state, run=run, match=match, limit=limit, after=after or None)
    return Request("GET", f"{V1}{one_path(ingestion)}/files", {name: str(value) for name, value in query.items()})


def query(table: str, columns: Sequence[str], where: str, limit: int) -> Request:
    """Rows of a table."""
    return post(f"{ROOT}/query", {"table": table, "columns": list(columns), "where": where, "limit": limit})


def export(names: Sequence[str]) -> Request:
    """Definitions as a document."""
    return get(f"{ROOT}/export", name=list(names))


def import_(
    text: str | None,
    document: Any,
    database_url: str | None,
    dry_run: bool,
    activate: bool,
    options: Mapping[str, Any],
) -> Request:
    """Definitions from a document or a database."""
    source = given(text=text, document=document, database_url=database_url)
    return post(f"{ROOT}/import", {**source, "dry_run": dry_run, "activate": activate, **given(**options)})

"""The HTTP of the ingestions: `/api/v1/ingestions/...`; what takes time answers with its job."""

from __future__ import annotations

from typing import Any

from labd.api.endpoint import Call, Endpoint
from labd.engine.job import JobView
from labd.engine.job import view as job_view
from labd.errors import BadRequest
from labd.ingest import transfer
from labd.ingest import views as shown
from labd.ingest.bodies import (
    AdoptBody,
    BackfillBody,
    CreateQuery,
    DeleteQuery,
    DraftBody,
    ExportQuery,
    FilePage,
    FileQuery,
    FullQuery,
    ImportBody,
    Ingestions,
    ListQuery,
    PreviewBody,
    QueryBody,
    RefreshBody,
    RetryBody,
    RunBody,
    RunPage,
    RunQuery,
)
from labd.ingest.definition import Definition
from labd.ingest.desk import IngestDesk
from labd.ingest.port import Rows
from labd.ingest.record import FileMark

ROOT = "/api/v1/ingestions"
ONE = f"{ROOT}/{{id}}"
TAGS = ("ingestions",)
KNOWN = ("bad_request", "unknown_ingestion")
CHANGES = (*KNOWN, "conflict", "refused", "store_full")
READS = (*KNOWN, "source_refused", "source_unreachable", "table_refused", "cluster_unreachable", "environment_off")


def ingest_endpoints(desk: IngestDesk) -> list[Endpoint]:
    """All routes of the wing."""
    return [*_whole(desk), *_transfer(desk), *_of_one(desk), *_records(desk), *_verbs(desk), *_looks(desk)]


def _whole(desk: IngestDesk) -> list[Endpoint]:
    async def ingestions(call: Call) -> Any:
        return Ingestions(await desk.ingestions(call.query.status, call.query.tag))

    async def create(call: Call) -> Any:
        return await desk.view(await desk.create(call.caller, call.body, paused=call.query.paused))

    async def runs(call: Call) -> Any:
        return await _runs(desk, call, call.query.ingestion)

    async def query(call: Call) -> Any:
        body: QueryBody = call.body
        return await desk.looks.query(body.table, body.columns, body.where, body.limit)

    async def preview(call: Call) -> Any:
        body: DraftBody = call.body
        return await desk.looks.preview(desk.looks.draft(body.definition), body.rows, body.files)

    async def estimate(call: Call) -> Any:
        return await desk.looks.estimate(desk.looks.draft(call.body))

    return [
        Endpoint("GET", ROOT, ingestions, "read", "All ingestions, by name",
                 query=ListQuery, answer=Ingestions, tags=TAGS, errors=("bad_request",)),
        Endpoint("POST", ROOT, create, "operate", "Make an ingestion", body=Definition, query=CreateQuery,
                 answer=shown.IngestionView, status=201, tags=TAGS, errors=("bad_request", "conflict", "store_full")),
        Endpoint("GET", f"{ROOT}/runs", runs, "read", "Runs of all ingestions, newest first",
                 query=RunQuery, answer=RunPage, tags=TAGS, errors=KNOWN),
        Endpoint("POST", f"{ROOT}/query", query, "read", "Rows of a table",
                 body=QueryBody, answer=Rows, tags=TAGS, errors=READS),
        Endpoint("POST", f"{ROOT}/preview", preview, "operate", "Rows as they would be loaded, before it is made",
                 body=DraftBody, answer=shown.Preview, tags=TAGS, errors=(*READS, "conflict")),
        Endpoint("POST", f"{ROOT}/estimate", estimate, "operate", "What an ingestion would load, before it is made",
                 body=Definition, answer=shown.Estimate, tags=TAGS, errors=(*READS, "conflict")),
    ]  # fmt: skip


def _transfer(desk: IngestDesk) -> list[Endpoint]:
    async def export(call: Call) -> Any:
        names: str | None = call.query.name
        return desk.export([name for name in (names or "").split(",") if name])

    async def import_(call: Call) -> Any:
        body: ImportBody = call.body
        given = [body.text is not None, body.document is not None, body.database_url is not None]
        if sum(given) != 1:
            raise BadRequest("import: give one of text, document and database_url")
        files = None
        if body.database_url is not None:
            document, files = await desk.intake.read(body.database_url)
        else:
            document = body.document if body.text is None else transfer.read(body.text)
        return await desk.intake.take(
            call.caller, document, dry_run=body.dry_run, activate=body.activate, tenant=body.tenant,
            catalog=body.catalog, engine=body.engine, files=files,
        )  # fmt: skip

    from_database = ("source_refused", "source_unreachable", "environment_off")
    return [
        Endpoint("GET", f"{ROOT}/export", export, "read", "Definitions as a document, without secrets",
                 query=ExportQuery, answer=dict[str, Any], tags=TAGS, errors=KNOWN),
        Endpoint("POST", f"{ROOT}/import", import_, "operate",
                 "Take definitions over from a document or an older loader's table", body=ImportBody,
                 answer=shown.ImportAnswer, tags=TAGS, errors=("bad_request", "store_full", *from_database)),
    ]  # fmt: skip


def _of_one(desk: IngestDesk) -> list[Endpoint]:
    async def one(call: Call) -> Any:
        return await desk.view(desk.find(call.path["id"], deleted=True))

    async def replace(call: Call) -> Any:
        record = desk.find(call.path["id"])
        await desk.replace(call.caller, record, call.body)
        return await desk.view(record)

    async def patch(call: Call) -> Any:
        record = desk.find(call.path["id"])
        await desk.patch(call.caller, record, call.body)
        return await desk.view(record)

    async def delete(call: Call) -> Any:
        record, asked = desk.find(call.path["id"]), call.query
        return await desk.operations.delete(
            call.caller, record, drop_table=asked.drop_table, confirm=asked.confirm
        )  # fmt: skip

    async def pause(call: Call, paused: bool = True) -> Any:
        record = desk.find(call.path["id"])
        await desk.set_paused(call.caller, record, paused=paused)
        return await desk.view(record)

    async def resume(call: Call) -> Any:
        return await pause(call, paused=False)

    seen: dict[str, Any] = {"answer": shown.IngestionView, "tags": TAGS}
    return [
        Endpoint("GET", ONE, one, "read", "One ingestion, by name or id", errors=KNOWN, **seen),
        Endpoint("PUT", ONE, replace, "operate", "Replace a definition", body=Definition, errors=CHANGES, **seen),
        Endpoint("PATCH", ONE, patch, "operate", "Change some fields; null takes one back to what it is unless said",
                 body=dict[str, Any], errors=CHANGES, **seen),
        Endpoint("DELETE", ONE, delete, "operate", "Take it out of service; its table stays unless asked for twice",
                 query=DeleteQuery, answer=shown.Deleted, tags=TAGS, errors=CHANGES),
        Endpoint("POST", f"{ONE}/pause", pause, "operate", "Run by itself no more", errors=CHANGES, **seen),
        Endpoint("POST", f"{ONE}/resume", resume, "operate", "Run by itself again", errors=CHANGES, **seen),
    ]  # fmt: skip


def _records(desk: IngestDesk) -> list[Endpoint]:
    async def runs(call: Call) -> Any:
        return await _runs(desk, call, call.path["id"])

    async def run(call: Call) -> Any:
        text = call.path["run"]
        if not text.isdecimal() or len(text) > 18:
            raise BadRequest(f"{text[:40]!r} is no number of a run")
        return await desk.run(call.path["id"], int(text))

    async def files(call: Call) -> Any:
        asked: FileQuery = call.query
        found = await desk.files(call.path["id"], asked.state, asked.run, asked.match, asked.limit, asked.after)
        return FilePage(found, found[-1].path if len(found) == asked.limit else None)

    async def schema(call: Call) -> Any:
        return await desk.schema(call.path["id"])

    return [
        Endpoint("GET", f"{ONE}/runs", runs, "read", "Its runs, newest first",
                 query=RunQuery, answer=RunPage, tags=TAGS, errors=KNOWN),
        Endpoint("GET", f"{ONE}/runs/{{run}}", run, "read", "One run", answer=shown.RunView, tags=TAGS,
                 errors=(*KNOWN, "not_found")),
        Endpoint("GET", f"{ONE}/files", files, "read", "Its files, by path",
                 query=FileQuery, answer=FilePage, tags=TAGS, errors=KNOWN),
        Endpoint("GET", f"{ONE}/schema", schema, "read", "Columns of its table, and what brought each",
                 answer=shown.SchemaView, tags=TAGS, errors=KNOWN),
    ]  # fmt: skip


def _verbs(desk: IngestDesk) -> list[Endpoint]:
    async def run(call: Call) -> Any:
        body: RunBody = call.body
        record = desk.find(call.path["id"])
        return job_view(await desk.submit_run(call.caller, record, body.trigger, body.full, body.idempotency_key))

    async def retry(call: Call) -> Any:
        body: RetryBody = call.body
        record = desk.find(call.path["id"])
        states = [FileMark(state) for state in body.states]
        return await desk.operations.retry(call.caller, record, body.paths, states, run=body.run)

    async def refresh(call: Call) -> Any:
        body: RefreshBody = call.body
        return await desk.operations.refresh(
            call.caller, desk.find(call.path["id"]), body.mode, dry_run=body.dry_run, confirm=body.confirm,
            run=body.run,
        )  # fmt: skip

    async def backfill(call: Call) -> Any:
        body: BackfillBody = call.body
        return await desk.operations.backfill(
            call.caller, desk.find(call.path["id"]), body.since, body.until, body.match, dry_run=body.dry_run
        )

    async def adopt(call: Call) -> Any:
        body: AdoptBody = call.body
        return await desk.adoption.adopt(
            call.caller, desk.find(call.path["id"]), body.until, body.match, dry_run=body.dry_run
        )

    return [
        Endpoint("POST", f"{ONE}/adopt", adopt, "operate", "Note files as loaded that another loader has loaded",
                 body=AdoptBody, answer=shown.Backfill, tags=TAGS, errors=(*CHANGES, *READS[2:])),
        Endpoint("POST", f"{ONE}/run", run, "operate", "Load every new file, as a job",
                 body=RunBody, answer=JobView, status=202, tags=TAGS, errors=CHANGES),
        Endpoint("POST", f"{ONE}/retry", retry, "operate", "Take bad files again",
                 body=RetryBody, answer=shown.Retried, tags=TAGS, errors=CHANGES),
        Endpoint("POST", f"{ONE}/refresh", refresh, "operate", "Drop the table and load it again",
                 body=RefreshBody, answer=shown.Refresh, tags=TAGS, errors=(*CHANGES, *READS[2:])),
        Endpoint("POST", f"{ONE}/backfill", backfill, "operate", "Load the files of a span of time",
                 body=BackfillBody, answer=shown.Backfill, tags=TAGS, errors=(*CHANGES, *READS[2:])),
    ]  # fmt: skip


def _looks(desk: IngestDesk) -> list[Endpoint]:
    async def estimate(call: Call) -> Any:
        return await desk.looks.estimate(desk.find(call.path["id"]), call.body.full)

    async def preview(call: Call) -> Any:
        body: PreviewBody = call.body
        return await desk.looks.preview(desk.find(call.path["id"]), body.rows, body.files)

    return [
        Endpoint("POST", f"{ONE}/estimate", estimate, "read", "What the next run would load, and how long it takes",
                 body=FullQuery, answer=shown.Estimate, tags=TAGS, errors=READS),
        Endpoint("POST", f"{ONE}/preview", preview, "read", "Rows of the newest files as a load would read them",
                 body=PreviewBody, answer=shown.Preview, tags=TAGS, errors=READS),
    ]  # fmt: skip


async def _runs(desk: IngestDesk, call: Call, which: str | None) -> RunPage:
    asked: RunQuery = call.query
    found = await desk.runs(which, asked.state, asked.limit, asked.before)
    return RunPage(found, found[-1].id if len(found) == asked.limit else None)

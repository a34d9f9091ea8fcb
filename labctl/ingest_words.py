"""The sentences and tables for answers about ingestions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labctl.render import cell, instant, pairs, plain_table, printable
from labctl.snapshot_words import size
from labctl.summaries import duration

Json = Mapping[str, Any]
COLUMNS = ["name", "status", "format", "source", "table", "loaded", "bad", "rows", "last_run", "next_run", "id"]
SHOWN = COLUMNS[:-1]
RUN_COLUMNS = [
    *("id", "ingestion", "status", "trigger", "started", "duration", "discovered", "processed", "failed", "records"),
    *("bytes_read", "job"),
]
FILE_COLUMNS = [
    *("path", "state", "rows", "rescued", "size_bytes", "modified", "loaded", "run", "attempts", "fault", "version"),
]
FILES_SHOWN = FILE_COLUMNS[:-1]
BAD = ("quarantined", "held")
ORIGIN = ("_labd_file", "_labd_version", "_labd_batch")


def count(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def batches(number: int) -> str:
    """`1 batch`, `2 batches`; each is one commit, unless nothing of it was to be loaded."""
    return f"{number} batch" if number == 1 else f"{number} batches"


def of_states(one: Json, *states: str) -> int:
    """How many files of an ingestion are in some states."""
    return sum((one["files"].get(state) or {}).get("files", 0) for state in states)


def row(one: Json, plain: bool = False) -> list[str]:
    """One row under `COLUMNS`; `plain` for programs."""
    definition = one["definition"]
    loaded = (one["files"].get("loaded") or {}).get("rows", 0)
    return [
        one["name"], one["status"], definition["format"]["type"], definition["source"]["url"], one["destination"],
        cell(of_states(one, "loaded")), cell(of_states(one, *BAD)), cell(loaded), cell(one["last_run_id"]),
        cell(one["next_run_at"] if plain else instant(one["next_run_at"])), one["id"],
    ]  # fmt: skip


def ingestion(one: Json) -> str:
    """`labctl ingest show`."""
    definition = one["definition"]
    source, form, schema, limits = (definition[key] for key in ("source", "format", "schema", "limits"))
    lines = [f"{one['name']}: {one['status']}{' (simulated)' if one['simulated'] else ''}"]
    evolution = f", {schema['evolution']}" if schema["mode"] == "evolve" else ""
    facts = {
        "description": definition["description"],
        "source": f"{source['url']}, {source['pattern']}",
        "credentials": source["credentials"],
        "format": form["type"] + ("" if form["compression"] == "auto" else f", {form['compression']}"),
        "table": f"{one['destination']}" + _partitions(definition["destination"]),
        "columns": schema["mode"] + evolution + _versions(one),
        "engine": definition["engine"] + ("" if one["exactly_once"] else " (at least once)"),
        "changed files": definition["changed"],
        "schedule": _schedule(definition["schedule"]),
        "next run": instant(one["next_run_at"]),
        "quality": pairs_in_line(definition["quality"]),
        "batches": f"{limits['batch_files']} files or {size(limits['batch_bytes'])}",
        "queue": definition["queue"],
        "files": _files(one["files"]),
        "last run": one["last_run_id"],
        "going run": one["going_run_id"],
        "waits for": f"{one['waits']}; `labctl job list --state waiting`" if one["waits"] else None,
        "tags": definition["tags"],
        "comes from": "the settings" if one["origin"] == "settings" else None,
        "id": one["id"],
        "created": f"{instant(one['created_at'])} by {one['created_by']}",
        "changed": instant(one["updated_at"]),
    }
    lines.append(pairs({key: value for key, value in facts.items() if value not in (None, "", [])}, "  "))
    bad = of_states(one, *BAD)
    if bad:
        lines.append(f"  ! {count(bad, 'bad file')} for a person to see to; `labctl ingest files {one['name']} --bad`")
    return "\n".join(lines)


def _partitions(destination: Json) -> str:
    return f", by {', '.join(destination['partition_by'])}" if destination["partition_by"] else ""


def _versions(one: Json) -> str:
    return f", version {one['schema_version']}: {count(len(one['columns']), 'column')}" if one["columns"] else ""


def _schedule(schedule: Json | None) -> str:
    if schedule is None:
        return "only when asked"
    if schedule["cron"] is None:
        return f"every {duration(schedule['interval_s'])}"
    return f"{schedule['cron']} ({schedule['timezone']})"


def pairs_in_line(values: Json) -> str:
    """`min_rows 100, max_rows 200`; what is not said is left out."""
    return ", ".join(f"{name} {cell(value)}" for name, value in values.items() if value is not None)


def _files(files: Json) -> str:
    told = [
        f"{found['files']} {state} ({size(found['size_bytes'])}"
        + (f", {found['rows']} rows)" if state == "loaded" else ")")
        for state, found in files.items() if found["files"]
    ]  # fmt: skip
    return ", ".join(told) or "none yet"


def run_row(one: Json, plain: bool = False) -> list[str]:
    """One row under `RUN_COLUMNS`."""
    took = one["duration_s"]
    return [
        cell(one["id"]), one["ingestion"], one["status"], one["trigger"],
        cell(one["started_at"] if plain else instant(one["started_at"])),
        cell(took) if plain or took is None else duration(took), cell(one["files_discovered"]),
        cell(one["files_processed"]), cell(one["files_failed"]), cell(one["records"]),
        cell(one["bytes_read"]) if plain else size(one["bytes_read"]), cell(one["job_id"]),
    ]  # fmt: skip


def run(one: Json) -> str:
    """`labctl ingest runs NAME RUN`."""
    counts = one["counts"]
    took = "" if one["duration_s"] is None else f" after {duration(one['duration_s'])}"
    simulated = " (simulated)" if one["simulated"] else ""
    lines = [f"run {one['id']} of {one['ingestion']}: {one['status']}{took}{simulated}"]
    facts = {
        "trigger": ", ".join(filter(None, (one["trigger"], f"by {one['by']}", "full" if one["full"] else ""))),
        "began": instant(one["started_at"]),
        "listed": count(counts.get("listed", 0), "file") + (_more(counts, "unsettled", "still written")),
        "to load": count(one["files_discovered"], "file") + _more(counts, "changed", "changed"),
        "loaded": f"{count(counts.get('loaded', 0), 'file')}, {count(one['records'], 'row')}, "
        f"{size(one['bytes_read'])} in, {size(one['bytes_written'])} out" + _more(counts, "same", "the same as before"),
        "rescued": f"{count(one['rescued'], 'row')} with something in _rescued_data" if one["rescued"] else None,
        "bad": count(one["files_failed"], "file") if one["files_failed"] else None,
        "passed over": f"{counts['ignored']} changed files" if counts.get("ignored") else None,
        "batches": counts.get("settled"),
        "time": ", ".join(f"{name} {duration(value)}" for name, value in one["seconds"].items()),
        "job": one["job_id"],
    }
    lines.append(pairs({key: value for key, value in facts.items() if value not in (None, "")}, "  "))
    lines += [f"  ! {printable(problem(error))}" for error in one["errors"]]
    kept = len(one["errors"])
    if one["error_count"] > kept:
        lines.append(f"  ! {one['error_count'] - kept} more; `labctl ingest files {one['ingestion']} --bad`")
    return "\n".join(lines)


def _more(counts: Json, name: str, words: str) -> str:
    return f", {counts[name]} {words}" if counts.get(name) else ""


def problem(error: Json) -> str:
    """What went wrong, with file and place."""
    where = ", ".join(str(error[key]) for key in ("path", "place") if error.get(key))
    return f"{where}: {error['message']} ({error['code']})" if where else f"{error['message']} ({error['code']})"


def file_row(one: Json, plain: bool = False) -> list[str]:
    """One row under `FILE_COLUMNS`."""
    fault = one["fault"]
    told = "" if fault is None else f"{fault['message']}{_place(fault)}"
    when = (lambda text: text or "") if plain else instant
    return [
        one["path"], one["state"], cell(one["rows"]), cell(one["rescued"]),
        cell(one["size_bytes"]) if plain else size(one["size_bytes"]), when(one["modified_at"]),
        when(one["loaded_at"]), cell(one["run"]), cell(one["attempts"]), told, one["version"],
    ]  # fmt: skip


def schema(answer: Json) -> str:
    """`labctl ingest schema`."""
    if not answer["columns"]:
        lines = [f"{answer['ingestion']}: nothing was loaded yet, so it has no columns"]
    else:
        lines = [plain_table(["column", "type"], [[one["name"], one["type"]] for one in answer["columns"]])]
    for version in answer["versions"]:
        changes = ", ".join(change["key"] for change in version["changes"]) or "the first columns"
        path = f", {version['path']}" if version["path"] else ""
        lines.append(
            printable(f"version {version['version']}, {instant(version['at'])}, run {version['run']}{path}: {changes}")
        )
    lines += [
        printable(f"! waits for a person: {_change(change)}; `labctl job list --state waiting`")
        for change in answer["waits"]
    ]
    return "\n".join(lines)


def rows(answer: Json) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a query or a preview as text."""
    names = [one["name"] for one in answer["columns"]]
    return names, [[cell(value) for value in one] for one in answer["rows"]]


def without_origin(answer: Json) -> dict[str, Any]:
    """Rows without the columns that say where each came from."""
    kept = [place for place, one in enumerate(answer["columns"]) if one["name"] not in ORIGIN]
    return {
        **answer, "columns": [answer["columns"][place] for place in kept],
        "rows": [[row[place] for place in kept] for row in answer["rows"]],
    }  # fmt: skip


def queried(answer: Json) -> str:
    """One line on a query."""
    return f"{count(len(answer['rows']), 'row')}{', there are more (--limit)' if answer['more'] else ''}"


def previewed(answer: Json) -> str:
    """What stands under the rows of a preview."""
    lines = [f"{count(answer['listed'], 'file')} listed, {len(answer['files'])} read, nothing written"]
    for one in answer["files"]:
        fault = one["fault"]
        told = count(one["rows"], "row") if fault is None else f"{fault['message']}{_place(fault)}"
        rescued = f", {one['rescued']} with something in _rescued_data" if one["rescued"] else ""
        lines.append(f"  {one['path']}: {one['state']}, {told}{rescued}")
    lines += [f"  ! {_change(change)}" for change in answer["changes"]]
    return "\n".join(map(printable, lines))


def _change(change: Json) -> str:
    return f"{change['key']} ({change['path']})" if change["path"] else str(change["key"])


def _place(fault: Json) -> str:
    return f", {fault['place']}" if fault.get("place") else ""


def ended(job: Json, seconds: float) -> str:
    """The last word on a run that did not fail."""
    result = job["result"]
    simulated = " (simulated)" if job.get("simulated") else ""
    lines = [f"{result['ingestion']}: run {result['run']} {result['state']} after {duration(seconds)}{simulated}"]
    if not result["files_discovered"] and not result["files_processed"] and not result["files_failed"]:
        waits = f", {result['unsettled']} still written" if result["unsettled"] else ""
        lines.append(f"  nothing new{waits}")
    else:
        rescued = f", {result['rescued']} of them with something in _rescued_data" if result["rescued"] else ""
        found, done = result["files_discovered"], result["files_processed"]
        files = f"{done} of {found} files" if done + result["files_failed"] <= found else count(done, "file")
        lines.append(  # more than were found: an earlier run had left them
            f"  {files}, "
            f"{count(result['records'], 'row')}{rescued}, {size(result['bytes_read'])} in, "
            f"{size(result['bytes_written'])} out, {batches(result['batches'])}"
        )
    if moved := result.get("moved"):
        lines.append(f"  {count(moved, 'file')} changed while they were read; the next run takes them")
    if vanished := result.get("vanished"):
        lines.append(f"  {count(vanished, 'file')} vanished before it was read")
    lines += [f"  ! {path}" for path in result["bad"]]
    named = tuple(f"{path}: " for path in result["bad"])
    lines += [f"  ! {error}" for error in result.get("errors", ()) if not error.startswith(named)]
    if result["files_failed"]:
        name = result["ingestion"]
        lines.append(f"  next: labctl ingest files {name} --bad, then labctl ingest retry {name}")
    return "\n".join(map(printable, lines))


def step(task: str, result: Any) -> str:
    """What a step of a run has done."""
    verb = task.removeprefix("ingest.")
    if not isinstance(result, Mapping):
        return verb
    if verb == "create_run":
        left = f", {len(result['left'])} batches left by earlier ones" if result["left"] else ""
        return f"run {result['run']}{left}"
    if verb == "discover_files":
        bad = "".join(f", {result[key]} {key}" for key in ("ignored", "held", "denied") if result[key])
        return (
            f"discover: {result['found']} of {result['listed']} files in {count(len(result['batches']), 'commit')}{bad}"
        )
    if verb == "load_batch":
        if result["state"] == "approval":
            return f"load: a person is asked, {result['question']}"
        return f"load: {result['state']}, {count(result['rows'], 'row')}"
    return f"{verb.replace('_', ' ')}: {result.get('state', 'done')}"


def columns_listed(columns: Sequence[Json]) -> str:
    """`id long, at timestamp`."""
    return ", ".join(f"{one['name']} {one['type']}" for one in columns)

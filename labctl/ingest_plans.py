"""The sentences for what would be done to an ingestion, and for what an import did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.render import instant, plain_table, printable
from labctl.snapshot_words import size
from labctl.summaries import duration

Json = Mapping[str, Any]
LISTED = 50


def estimate(answer: Json) -> str:
    """`labctl ingest estimate`."""
    lines = [
        f"{answer['ingestion']}: {answer['files']} of {answer['listed']} files to load, {size(answer['size_bytes'])}, "
        f"in about {duration(answer['seconds'])}",
        f"  {answer['new']} new, {answer['changed']} changed, {answer['batches']} commits; by {answer['basis']}",
    ]
    if answer["unsettled"]:
        lines.append(f"  {answer['unsettled']} files are still written")
    if answer["runs_per_month"] is not None:
        lines.append(f"  its schedule runs {answer['runs_per_month']} times in 30 days")
    lines += [f"  ! {prefix} cannot be listed: {reason}" for prefix, reason in answer["denied"]]
    return "\n".join(map(printable, lines))


def refresh(answer: Json) -> str:
    """`labctl ingest refresh`."""
    verb = "would do" if answer["dry_run"] else "does"
    job = answer["job"]
    head = f"{answer['ingestion']}: a refresh ({answer['mode'].replace('_', '-')}) {verb}"
    lines = [head + ("" if job is None else f", as job {job['id']}")]
    lines += [f"  {place}. {one['operation']}: {one['detail']}" for place, one in enumerate(answer["operations"], 1)]
    lines.append(f"  about {duration(answer['seconds'])}; by {answer['basis']}")
    lines += [f"  ! {text}" for text in answer["warnings"]]
    if answer["dry_run"]:
        word = answer["mode"].replace("_", "-")
        lines.append(f"  next: labctl ingest refresh {answer['ingestion']} --{word} --confirm")
    return "\n".join(map(printable, lines))


def backfill(answer: Json) -> str:
    """`labctl ingest backfill`."""
    lines = [
        f"{answer['ingestion']}: {answer['matching']} of {answer['listed']} files match, {answer['loaded']} are in, "
        f"{answer['count']} {'would be' if answer['dry_run'] else 'are'} loaded, {size(answer['size_bytes'])}"
    ]
    if answer["dry_run"] and answer["files"]:
        rows = [
            [one["path"], one["state"], size(one["size_bytes"]), instant(one["modified_at"])]
            for one in answer["files"][:LISTED]
        ]
        lines.append(plain_table(["path", "state", "size", "modified"], rows))
        if answer["count"] > len(rows):
            lines.append(f"and {answer['count'] - len(rows)} more; --json lists them")
    return "\n".join(lines)


def imported(answer: Json) -> str:
    """`labctl ingest import`."""
    rows = [
        [one["name"], one["verdict"].replace("_", " "), one["status"] or "", one["destination"] or "", one["reason"]]
        for one in answer["ingestions"]
    ]
    lines = [plain_table(["name", "verdict", "status", "table", "reason"], rows)]
    for one in answer["ingestions"]:
        lines += [printable(f"  {one['name']}: {note}") for note in one["notes"]]
    for needed in answer["credentials"]:
        if not needed["is_set"]:
            who = ", ".join(needed["ingestions"])
            lines += ["", f"the settings need credentials for {printable(who)}:", needed["toml"]]
    if answer["catalogs"]:
        names = ", ".join(f"[ingest.catalog.{name}]" for name in answer["catalogs"])
        lines += ["", printable(f"the settings need {names}; or --catalog default takes labd's own")]
    counts: dict[str, int] = {}
    for one in answer["ingestions"]:
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + 1
    told = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items())
    lines += ["", f"{len(answer['ingestions'])} definitions: {told}"]
    return "\n".join(lines)


def deleted(answer: Json) -> str:
    """`labctl ingest delete`."""
    if answer["table_kept"]:
        return printable(
            f"{answer['ingestion']} is deleted; its table {answer['table']} stays, its runs are shown by {answer['id']}"
        )
    return printable(f"{answer['ingestion']} is deleted; job {answer['job']['id']} drops its table {answer['table']}")

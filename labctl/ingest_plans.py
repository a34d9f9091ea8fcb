"""The sentences for what would be done to an ingestion, and for what an import did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.ingest_words import count
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
        f"  {answer['new']} new, {answer['changed']} changed, {count(answer['batches'], 'commit')}; "
        f"the time by: {answer['basis']}",
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
    what = f"refresh {answer['mode'].replace('_', '-')}"
    lines = [f"{answer['ingestion']}: {what} {verb}" + ("" if job is None else f", as job {job['id']}")]
    lines += [f"  {place}. {one['operation']}: {one['detail']}" for place, one in enumerate(answer["operations"], 1)]
    lines.append(f"  about {duration(answer['seconds'])}, by: {answer['basis']}")
    lines += [f"  ! {text}" for text in answer["warnings"]]
    if answer["dry_run"]:
        word = answer["mode"].replace("_", "-")
        lines.append(f"  next: labctl ingest refresh {answer['ingestion']} --{word} --confirm")
    return "\n".join(map(printable, lines))


def backfill(answer: Json) -> str:
    """`labctl ingest backfill`."""
    lines = [
        f"{answer['ingestion']}: {answer['matching']} of {answer['listed']} files match, "
        f"{answer['loaded']} in already, {answer['count']} to load, {size(answer['size_bytes'])}"
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


def adopted(answer: Json) -> str:
    """`labctl ingest adopt`."""
    verb = "would be noted" if answer["dry_run"] else "are noted"
    lines = [f"{answer['ingestion']}: {answer['count']} of {answer['listed']} files {verb} as loaded, none is read"]
    if answer["dry_run"]:
        lines += [printable(f"  {one['path']}") for one in answer["files"][:LISTED]]
        if answer["count"] > LISTED:
            lines.append(f"  and {answer['count'] - LISTED} more; --json lists them")
    return "\n".join(lines)


def imported(answer: Json) -> str:
    """`labctl ingest import`."""
    rows = [
        [one["name"], one["verdict"].replace("_", " "), one["status"] or "", one["destination"] or "", one["reason"]]
        for one in answer["ingestions"]
    ]
    lines = [plain_table(["name", "verdict", "status", "table", "reason"], rows)]
    for one in answer["ingestions"]:
        if one["verdict"] != "left_out":
            lines += [printable(f"  {one['name']}: {note}") for note in one["notes"]]
    for needed in answer["credentials"]:
        if not needed["is_set"]:
            who = ", ".join(needed["ingestions"])
            lines += ["", f"the settings need credentials for {printable(who)}:", needed["toml"]]
    if answer["catalogs"]:
        names = ", ".join(f"[ingest.catalog.{name}]" for name in answer["catalogs"])
        lines += ["", printable(f"the settings need {names}; or --catalog default takes labd's own")]
    verdicts = [one["verdict"] for one in answer["ingestions"]]
    told = [f"{verdicts.count(one)} {one.replace('_', ' ')}" for one in dict.fromkeys(verdicts)]
    lines += ["", f"{count(len(verdicts), 'definition')}: {', '.join(told)}"]
    return "\n".join(lines)


def deleted(answer: Json) -> str:
    """`labctl ingest delete`."""
    if answer["table_kept"]:
        return printable(
            f"{answer['ingestion']} is deleted; its table {answer['table']} stays, its runs are shown by {answer['id']}"
        )
    return printable(f"{answer['ingestion']} is deleted; job {answer['job']['id']} drops its table {answer['table']}")

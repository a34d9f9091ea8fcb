"""The sentences and tables for answers about snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labctl.render import cell, instant, pairs, plain_table, printable
from labctl.summaries import duration

Json = Mapping[str, Any]
COLUMNS = [
    *("customer", "timestamp", "state", "nodes", "relationships", "size_bytes", "database", "pinned", "found"),
    *("job_id", "problem"),
]
SHOWN = ["customer", "timestamp", "state", "nodes", "relationships", "size_bytes", "database", "pinned", "found"]
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size(size_bytes: float) -> str:
    """A size in the unit that fits, such as `1.4 GiB`."""
    at = 0
    while size_bytes >= 1024 and at < len(_UNITS) - 1:
        size_bytes, at = size_bytes / 1024, at + 1
    return f"{size_bytes:.1f} {_UNITS[at]}" if at else f"{size_bytes:.0f} B"


def shown(found: Sequence[Json]) -> list[str]:
    """The columns of a table; what is wrong is shown where anything is."""
    return [*SHOWN, "problem"] if any(one["problem"] for one in found) else SHOWN


def row(one: Json, plain: bool = False) -> list[str]:
    """One row under `COLUMNS`; `plain` for programs."""
    values = {**one, "found": one["discovered_at"] if plain else instant(one["discovered_at"])}
    if not plain:
        values["size_bytes"] = size(one["size_bytes"])
        values["pinned"] = "pinned" if one["pinned"] else ""
    return [cell(values[name]) for name in COLUMNS]


def snapshot(one: Json) -> str:
    """`labctl snapshot show CUSTOMER TIMESTAMP`."""
    lines = [f"{name(one)}: {one['state']}{' (simulated)' if one['simulated'] else ''}"]
    facts = {
        "folder": one["path"],
        "files": f"{one['files']}, {size(one['size_bytes'])}",
        "database": one["database"] or "none",
        "alias": one["alias"],
        "nodes": _counted(one["nodes"], one["labels"]),
        "relationships": _counted(one["relationships"], one["types"]),
        "loaded in": None if one["load_s"] is None else duration(one["load_s"]),
        "pinned": "yes" if one["pinned"] else None,
        "approved by": one["approved_by"],
        "approved because": one.get("approved_reason"),
        "problem": one["problem"],
        "job": one["job_id"],
        "found": instant(one["discovered_at"]),
        "changed": instant(one["changed_at"]),
    }
    lines.append(pairs({key: value for key, value in facts.items() if value not in (None, "")}, "  "))
    lines += differences([told(found) for found in one["differences"]])
    if one["state"] == "held":
        lines.append(decide(one))
    return "\n".join(lines)


def _counted(total: int | None, of_each: Mapping[str, int]) -> str | None:
    if total is None:
        return None
    parts = ", ".join(f"{name} {count}" for name, count in sorted(of_each.items()))
    return f"{total}{f' ({parts})' if parts else ''}"


def customer(one: Json, found: Sequence[Json]) -> str:
    """`labctl snapshot show CUSTOMER`: who serves, and all versions."""
    rows = [[row(version)[COLUMNS.index(key)] for key in SHOWN[1:]] for version in found]
    return f"{serves(one)}\n{plain_table(SHOWN[1:], rows)}" if rows else serves(one)


def serves(one: Json) -> str:
    """Which version a customer's readers get."""
    if one["active"] is None:
        return printable(f"{one['customer']} serves nothing yet")
    text = f"{one['customer']} serves {one['active']} (alias {one['alias']} -> database {one['database']})"
    return printable(text + (f", before it {one['previous']}" if one["previous"] else ", nothing before it"))


def name(one: Json) -> str:
    """A snapshot in one word."""
    return printable(f"{one['customer']}/{one['timestamp']}")


def told(difference: Json) -> str:
    """One difference in one line."""
    return f"{difference['what']}: expected {difference['expected']}, found {difference['found']}"


def differences(lines: Sequence[str]) -> list[str]:
    """As lines of their own."""
    return [f"  ! {printable(line)}" for line in lines]


def decide(one: Json) -> str:
    """What a person can do about a held snapshot."""
    which = f"{one['customer']} {one['timestamp']}"
    return f"  next: labctl snapshot approve {which}, or labctl snapshot reject {which} --reason TEXT"


def held(result: Any) -> bool:
    """Whether a job's result says that a person has to decide."""
    return isinstance(result, Mapping) and (result.get("held") is True or result.get("state") == "held")


def step(task: str, result: Any) -> str:
    """What a step of a load has done."""
    verb = task.removeprefix("snapshots.")
    if not isinstance(result, Mapping):
        return verb
    if verb == "load_database":
        if not result.get("loaded"):
            return f"load: database {result.get('database')} was whole already"
        rows = f"{result['nodes']} nodes, {result['relationships']} relationships"
        return f"load: database {result['database']}, {rows}, {duration(result['load_s'])}"
    if verb == "verify_database":
        found = result.get("differences") or []
        return f"verify: HELD for {len(found)} difference(s)" if result.get("held") else _verified(found)
    if verb == "switch_alias":
        return f"switch: {_switched(result)}"
    dropped = result.get("dropped") or []
    return f"cleanup: {', '.join(dropped)} dropped" if dropped else "cleanup: nothing to drop"


def _verified(found: Sequence[str]) -> str:
    if found:
        return "verify: differs, and goes on all the same: " + "; ".join(found)
    return "verify: it is what the snapshot says"


def _switched(result: Json) -> str:
    if not result.get("switched"):
        return f"not done, {result.get('reason')}"
    before = f", it was {result['previous']}" if result.get("previous") else ""
    return f"alias {result['alias']} -> {result['database']}{before}"


def ended(job: Json, seconds: float, now: Json | None) -> str:
    """The last word on a verb that succeeded, and who serves now."""
    result, task = job["result"], job["task"].removeprefix("snapshots.")
    args = job["args"]
    simulated = " (simulated)" if job.get("simulated") else ""
    what = "/".join(str(args[key]) for key in ("customer", "timestamp") if args.get(key))
    lines = [f"{what}: {_outcome(task, result)} after {duration(seconds)}{simulated}"]
    lines += differences(result.get("differences") or [])
    if held(result):
        lines.append(decide(args))
    if now is not None:
        lines.append(serves(now))
    return "\n".join(printable(line) for line in lines)


def _outcome(task: str, result: Json) -> str:
    reason = result.get("reason")
    if held(result):
        return f"HELD, {reason}" if reason else "HELD"
    if task == "verify_database":
        return "differs" if result.get("differences") else "it is what the snapshot says"
    if task == "rollback":
        return "rolled back"
    if result.get("switched"):
        return _switched(result)
    return f"{result['state']}, not switched: {reason}" if result.get("state") else f"not switched: {reason}"


def cleanup(answer: Json, dry_run: bool) -> str:
    """`labctl snapshot cleanup`."""
    verdicts = answer["verdicts"]
    if not verdicts:
        return "labd has no database in the store"
    verb = "would drop" if dry_run else "dropped"
    rows = [
        [one["customer"], one["timestamp"], one["database"], verb if one["drop"] else "kept", one["reason"]]
        for one in verdicts
    ]
    table = plain_table(["customer", "timestamp", "database", "verdict", "reason"], rows)
    return f"{table}\n{verb} {len(answer['dropped'])} of {len(verdicts)} databases"


def scan(answer: Json) -> str:
    """`labctl snapshot scan`."""
    if answer["problem"]:
        return printable(answer["problem"])
    lines = [f"new: {one}" for one in answer["new"]]
    lines += [f"still written: {one}, quiet for {quiet_s:.0f} s" for one, quiet_s in answer["unsettled"].items()]
    lines += [f"skipped: {one['path']}: {one['reason']}" for one in answer["skipped"]]
    lines.append(f"{len(answer['new'])} new under {answer['base_path']}, {answer['customers']} customers looked at")
    return "\n".join(map(printable, lines))


def health(answer: Json) -> str:
    """`labctl snapshot health`."""
    kind = " ".join(dict.fromkeys(part for part in (answer["engine"], answer["edition"], answer["version"]) if part))
    lines = [f"{kind}: {'reachable' if answer['reachable'] else 'AWAY, ' + answer['problem']}"]
    cache = f"page cache ({answer['page_cache_ratio']})" if answer["page_cache_ratio"] else "page cache"
    facts = {
        "heap": _percent(answer["heap_percent"], answer["heap_threshold_percent"]),
        cache: _percent(answer["page_cache_percent"], answer["pagecache_threshold_percent"]),
        "databases": f"{'?' if answer['databases'] is None else answer['databases']} of {answer['max_databases']}",
        "disk free": "not told" if answer["disk_free_bytes"] is None else size(answer["disk_free_bytes"]),
        "folder": answer["base_path"] + (f", scanned {instant(answer['scanned_at'])}" if answer["scanned_at"] else ""),
    }
    lines.append(pairs(facts, "  "))
    lines += [f"  not told: {', '.join(answer['unknown'])}"] if answer["unknown"] else []
    lines += [f"  ! {answer['scan_problem']}"] if answer["scan_problem"] else []
    lines += [f"  skipped: {one['path']}: {one['reason']}" for one in answer["skipped"]]
    lines += [f"  ! loads wait: {reason}" for reason in answer["waits_for"]] or ["  loads may begin"]
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def _percent(value: float | None, limit: float) -> str:
    return "not told" if value is None else f"{value:.0f} %, loads wait from {limit:g} %"


def rows(answer: Json) -> list[list[str]]:
    """Rows of a query as text."""
    return [[cell(value) for value in one] for one in answer["rows"]]


def queried(answer: Json) -> str:
    """One line on a query: how many rows, from where, how fast."""
    count = len(answer["rows"])
    more = ", there are more (--limit)" if answer["more"] else ""
    return f"{count} row{'' if count == 1 else 's'} of {answer['database']} in {answer['took_s'] * 1000:.1f} ms{more}"


def laid(answer: Json) -> str:
    """`labctl snapshot simulate` and `demo-data`."""
    if not answer["snapshots"]:
        return f"every demo customer has a snapshot under {answer['base_path']} already; nothing was laid down"
    lines = [
        f"{name(one)}: {one['files']} files, {size(one['size_bytes'])}, in {one['path']}; {_on_its_way(one)}"
        for one in answer["snapshots"]
    ]
    return "\n".join(map(printable, lines))


def _on_its_way(one: Json) -> str:
    return one["state"] if one["job_id"] is None else f"loaded by job {one['job_id']}"

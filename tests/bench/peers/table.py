"""The table of the README, from a record.

Goals are held against the record by `verdicts`: ahead of every durable peer in every column, three times the best of
them end to end, and what else is claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BEGIN, END = "<!-- peers -->", "<!-- /peers -->"
OURS = "labd"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _seconds(value: float) -> str:
    if value < 0.0995:
        return f"{value * 1000:.1f} ms"
    return f"{value * 1000:.0f} ms" if value < 0.995 else f"{value:.1f} s"


COLUMNS: tuple[tuple[str, Callable[[dict[str, Any]], str]], ...] = (
    ("", lambda row: f"{row['title']} {_version(row)}".strip()),
    ("durable", lambda row: "yes" if row["durable"] else "no"),
    (
        "enqueue/s, bulk (one by one)",
        lambda row: _accepted(row),
    ),
    ("end to end/s", lambda row: _rate(row["end_to_end_per_s"])),
    ("submit to start, p50 / p99", lambda row: f"{_seconds(row['start_p50_s'])} / {_seconds(row['start_p99_s'])}"),
    ("idle: memory, CPU", lambda row: f"{row['pss_mb']:.0f} MB, {row['cpu_percent']:.1f} %"),
    ("cold start", lambda row: _seconds(row["cold_s"])),
    ("packages", lambda row: _installed(row)),
)


def _accepted(row: dict[str, Any]) -> str:
    return f"{_rate(row['enqueue_per_s'])} ({_rate(row['enqueue_singly_per_s'])})"


def _version(row: dict[str, Any]) -> str:
    versions = {name.lower(): version for name, version in row.get("versions", {}).items()}
    return next((versions[name] for name in row["title"].lower().replace(",", " ").split() if name in versions), "")


def _installed(row: dict[str, Any]) -> str:
    server = f" + {row['server_megabytes']:.0f} MB server" if row["server_megabytes"] else ""
    return f"{row['packages']}, {row['megabytes']:.0f} MB{server}"


def markdown(record: dict[str, Any]) -> str:
    """Two tables: what was measured, and how each was set and what became of a job that was killed."""
    rows = [row for row in record["peers"].values() if "end_to_end_per_s" in row]
    machine = record["machine"]
    lines = [
        f"Measured on {record['date']} on {machine['cpus']} processors ({machine['cpu']}), Linux {machine['kernel']},"
        f" {record['jobs']:,} no-op jobs, medians; by `python -m tests.bench.peers --readme`."
        f"{_noted(record) or _load(machine)}",
        "",
        "| " + " | ".join(name for name, _ in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    lines += ["| " + " | ".join(cell(row) for _, cell in COLUMNS) + " |" for row in rows]
    lines += [
        "",
        "| | set so | what is on disk when it is told | a running job on kill -9 and restart |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(f"| {row['title']} | {row['settings']}; bulk: {row['bulk']} | {row['durability']} | {fate(row)} |")
    for row in rows:
        if "calls" in row:
            rates = row["calls"]
            lines += [
                "",
                f"{row['title']}, task calls inside one flow: {_rate(rates['one_by_one_per_s'])} a second one after the"
                f" other, {_rate(rates['submitted_per_s'])} submitted, until the server has recorded them.",
            ]
    failed = [f"{row['title']}: {row['failed']}" for row in record["peers"].values() if "failed" in row]
    return "\n".join([*lines, *(["", "Not measured: " + "; ".join(failed)] if failed else [])]) + "\n"


def _noted(record: dict[str, Any]) -> str:
    """What whoever ran it has to say of the run, in place of the load that was seen."""
    return f" {record['note']}" if record.get("note") else ""


def _load(machine: dict[str, Any]) -> str:
    """A machine that had other things to do is told; the figures are then good for comparison alone."""
    most = max(machine.get("load_before", 0.0), machine.get("load_after", 0.0))
    if most < 2 * machine["cpus"]:
        return ""
    return (
        f" The machine was busy with other work (load average up to {most:.0f}): read the rows beside each other only."
    )


def fate(row: dict[str, Any]) -> str:
    """What was seen, in words."""
    seen = row.get("kill")
    if seen is None:
        return "not tried"
    again, states = seen["again_s"], [str(state) for state in seen["states"]]
    said = f"says `{states[-1]}`" if states else "says nothing"
    if again is not None:
        return f"runs again after {again:.1f} s; {said}"
    return f"does not run again within {seen['watched_s']:.0f} s; {said}"


def verdicts(record: dict[str, Any]) -> list[tuple[str, bool, str]]:
    """Each claim, whether it holds, and both figures."""
    peers = {key: row for key, row in record["peers"].items() if "end_to_end_per_s" in row}
    ours = peers[OURS]
    found: list[tuple[str, bool, str]] = []
    for key, row in peers.items():
        if key.startswith(OURS) or not row["durable"]:
            continue
        for name, more in (
            ("enqueue_per_s", True), ("enqueue_singly_per_s", True), ("end_to_end_per_s", True),
            ("start_p50_s", False), ("start_p99_s", False), ("pss_mb", False), ("cpu_percent", False),
            ("cold_s", False), ("megabytes", False), ("packages", False),
        ):  # fmt: skip
            holds = ours[name] > row[name] if more else ours[name] < row[name]
            found.append((f"{name} against {row['title']}", holds, f"{ours[name]:.4g} : {row[name]:.4g}"))
    durable = [row["end_to_end_per_s"] for key, row in peers.items() if row["durable"] and not key.startswith(OURS)]
    if durable:
        ratio = ours["end_to_end_per_s"] / max(durable)
        found.append(("three times the best durable peer end to end", ratio >= 3, f"{ratio:.2f}"))
    starts = [row["start_p50_s"] for key, row in peers.items() if not row["durable"]]
    if starts:
        best = min(starts)
        found.append(("the quickest start of those that are not durable", ours["start_p50_s"] < best,
                      f"{ours['start_p50_s'] * 1000:.2f} ms : {best * 1000:.2f} ms"))  # fmt: skip
    flows = peers.get("prefect-flows")
    if flows is not None:
        ratio = flows["start_p50_s"] / ours["start_p50_s"]
        found.append(("a thousandth of Prefect's submit to start", ratio >= 1000, f"{ratio:.0f}"))
    tasks = peers.get("prefect-tasks", {}).get("calls")
    if tasks:
        ratio = ours["end_to_end_per_s"] / max(tasks.values())
        found.append(("a hundred times Prefect's recorded calls", ratio >= 100, f"{ratio:.0f}"))
    return found


def told(found: list[tuple[str, bool, str]]) -> str:
    """The claims, one a line."""
    return "\n".join(f"{'holds' if holds else 'DOES NOT HOLD'}: {name} ({figures})" for name, holds, figures in found)


def replaced(text: str, made: str) -> str:
    """The text with the table between the markers.

    Raises:
        ValueError: It has no such markers.
    """
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"README.md has no {BEGIN} ... {END}")
    return f"{text[: begin + len(BEGIN)]}\n{made}{text[end:]}"

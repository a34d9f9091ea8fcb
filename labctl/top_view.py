"""What `labctl top` draws: devices, what needs a person, queues, and the jobs that run or wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from labctl import render, summaries

Json = Mapping[str, Any]
GOOD = frozenset({"ready", "on", "open", "reachable", "idle", "running", "serving"})
BAD = frozenset({"lost", "faulty", "away", "store_full", "interrupted", "failed", "cancelling"})
ATTENTION_LINES = 8
BAR_CELLS = 12


def screen(status: Json, jobs: Sequence[Json], now: str, stale_s: float = 0.0, problem: str = "") -> RenderableType:
    """One picture.

    Args:
        status: As `Client.status`.
        jobs: Those that run or wait, newest first.
        now: The instant of the answer.
        stale_s: Age of the answer, if newer ones fail to come.
        problem: Why they do.
    """
    parts: list[RenderableType] = [_head(status, now, stale_s, problem), Text()]
    parts += [_devices(status), Text(), *_attention(status), _queues(status), Text(), _jobs(jobs)]
    return Group(*parts)


def _head(status: Json, now: str, stale_s: float, problem: str) -> Text:
    text = Text()
    text.append(f"labd {_text(status.get('version'))} on {_text(status.get('host'))} ", style="bold")
    text.append(_text(status.get("state")), style="red" if stale_s else _style(status.get("state")))
    text.append(f", up {summaries.duration(status.get('uptime_s'))}, {render.instant(now)}")
    if status.get("simulated"):
        text.append(", simulated devices", style="yellow")
    if stale_s:
        text.append(f"\nlast heard {stale_s:.0f} s ago: {render.printable(problem)}", style="bold red")
    return text


def _devices(status: Json) -> Table:
    table = _table("device", "state", "since", "")
    for wing in status.get("wings") or []:
        if wing.get("state") == "off":
            continue
        for device in wing.get("devices") or [{"name": "", "state": wing.get("state")}]:
            notes = [word for word in ("moving", "stop_latched", "simulated") if device.get(word)]
            problem = device.get("problem") or ""
            table.add_row(
                _text(f"{wing['name']}:{device.get('name')}".rstrip(":")), _state(device.get("state")),
                render.instant(device.get("since")), _text(", ".join([*notes, *([problem] if problem else [])])),
            )  # fmt: skip
    return table


def _attention(status: Json) -> list[RenderableType]:
    found = status.get("attention") or []
    if not found:
        return []
    lines = [Text(f"! {_text(one.get('message') or one.get('code'))}", style="yellow") for one in found]
    if len(lines) > ATTENTION_LINES:
        lines = [*lines[:ATTENTION_LINES], Text(f"  and {len(lines) - ATTENTION_LINES} more: `labctl alert list`")]
    return [Text("needs a person", style="bold"), *lines, Text()]


def _queues(status: Json) -> Table:
    table = _table("queue", "running", "queued", "held", "")
    for queue in status.get("queues") or []:
        paused = f"paused by {queue.get('paused_by')}" if queue.get("paused") else ""
        running = f"{queue.get('running')} of {queue.get('concurrency')}"
        table.add_row(
            _text(queue["name"]), running, str(queue.get("queued")), str(queue.get("held")),
            Text(_text(paused), style="yellow"),
        )  # fmt: skip
    return table


def _jobs(jobs: Sequence[Json]) -> Table:
    table = _table("job", "task", "state", "progress", "since", "by")
    for job in jobs:
        table.add_row(
            str(job["id"]), _text(job["task"]), _state(job["state"]), _progress(job),
            render.instant(job.get("started_at") or job.get("created_at")), _text(job.get("submitted_by")),
        )  # fmt: skip
    if not jobs:
        table.add_row("", "nothing runs and nothing waits", "", "", "", "")
    return table


def _progress(job: Json) -> Text:
    asks, hold, told = job.get("asks"), job.get("hold"), job.get("progress") or {}
    if asks:
        return Text(f"asks: {_text(asks.get('question'))}", style="yellow")
    if hold:
        return Text(f"held: {_text(hold.get('reason'))}", style="yellow")
    done, total, text = told.get("done"), told.get("total"), _text(told.get("text"))
    if not done or not total:
        return Text(text)
    filled = min(BAR_CELLS, int(BAR_CELLS * done / total))
    return Text(f"{'█' * filled}{'░' * (BAR_CELLS - filled)} {100 * done / total:3.0f} % {text}".rstrip())


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    return table


def _state(state: Any) -> Text:
    return Text(_text(state), style=_style(state))


def _style(state: Any) -> str:
    return "green" if state in GOOD else "red" if state in BAD else ""


def _text(value: Any) -> str:
    return render.printable("" if value is None else str(value))

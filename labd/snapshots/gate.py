"""Whether a load may begin: a rule over what the store said of itself. No I/O here.

Why a gate and no failure: a store that is away or short of memory will be back. The job waits with these reasons and
goes on by itself; nothing is marked as done that was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labd.snapshots.port import Health


@dataclass(frozen=True, slots=True)
class Limits:
    """Where loading begins to wait; percentages of what the store has."""

    heap_percent: float = 85.0
    page_cache_percent: float = 90.0
    max_databases: int = 50
    on_unknown: Literal["wait", "pass"] = "pass"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing in the way, with both figures."""

    code: str
    message: str


def reasons(health: Health, limits: Limits, need_bytes: int | None) -> list[Reason]:
    """Everything that keeps the next load back; empty: it may begin.

    Args:
        need_bytes: What the next snapshot will take on disk, as far as that can be told.
    """
    if not health.reachable:
        return [Reason("graph_unreachable", f"the graph store does not answer: {health.problem}")]
    found: list[Reason] = []
    if health.heap_percent is not None and health.heap_percent >= limits.heap_percent:
        text = f"its heap is {health.heap_percent:.0f} % full, loads wait from {limits.heap_percent:.0f} %"
        found.append(Reason("heap", f"{text}; the least of several samples, so it is really in use"))
    if health.page_cache_percent is not None and health.page_cache_percent >= limits.page_cache_percent:
        text = f"its page cache ({health.page_cache_ratio}) is at {health.page_cache_percent:.0f} %"
        found.append(Reason("page_cache", f"{text}, loads wait from {limits.page_cache_percent:.0f} %"))
    if health.databases is not None and health.databases >= limits.max_databases:
        text = f"it holds {health.databases} databases, max_databases is {limits.max_databases}"
        found.append(Reason("databases", f"{text}; `labctl snapshot cleanup`, or raise the limit"))
    if health.disk_free_bytes is not None and need_bytes is not None and health.disk_free_bytes < need_bytes:
        text = f"{_gib(health.disk_free_bytes)} GiB are free, the snapshot will take about {_gib(need_bytes)} GiB"
        found.append(Reason("disk", f"{text}; `labctl snapshot cleanup`, or free space"))
    if limits.on_unknown == "wait" and health.unknown:
        text = f"it does not tell {', '.join(health.unknown)}"
        found.append(Reason("unknown", f"{text}, and gate_on_unknown is `wait`; `pass` loads all the same"))
    return found


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f}"

"""How a Neo4j server is: version, edition, heap and page cache, each unknown where it does not tell.

Why the least of several samples: the heap is a sawtooth; only its floor says what a load could not have.
Why misses and not how full the page cache is: a server that has served for an hour has filled its cache and stays
full, which is right; a gate on that would never open again. Misses rise when the cache is too small for what is asked.
How full it is can be had with `page_cache="usage"`.
Source: Neo4j operations manual, "dbms.queryJmx" and "Metrics"; the metrics beans are there in the Enterprise edition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from labd.errors import LabdError
from labd.snapshots.neo4j_bolt import SYSTEM, Bolt
from labd.snapshots.port import Health

HEAP_SAMPLES = 5
HEAP_INTERVAL_S = 0.2
COMPONENTS = "CALL dbms.components() YIELD name, versions, edition RETURN name, versions[0] AS version, edition"
KERNEL = "Neo4j Kernel"  # calendar versions list Cypher beside it; `system` takes no WHERE here
BEANS = "CALL dbms.queryJmx($query) YIELD name, attributes RETURN name, attributes"
HEAP_BEAN = "java.lang:type=Memory"
PAGE_CACHE_BEAN = "neo4j.metrics:name=*page_cache.{ratio}_ratio"  # the prefix is a setting, namespaces came with 5
RATIOS = {"misses": ("hit", "misses, 100 % less hit_ratio"), "usage": ("usage", "usage_ratio")}
PageCache = Literal["misses", "usage"]


async def look(
    bolt: Bolt, databases: Callable[[], Awaitable[int]], *, page_cache: PageCache = "misses",
    samples: int = HEAP_SAMPLES, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Health:  # fmt: skip
    """Ask everything; a server that is away is told as such and nothing is raised.

    Args:
        databases: How many there are.
        sleep: Between two samples of the heap.
    """
    try:
        found = (await bolt.read(SYSTEM, COMPONENTS, doing="ask for its version")).rows
        count = await databases()
    except LabdError as fault:
        return Health(False, fault.message)
    version, edition = next(((str(row[1]), str(row[2])) for row in found if row[0] == KERNEL), ("", ""))
    unknown = ["disk space of the server: Bolt does not tell"]
    heap = [await _bean(bolt, HEAP_BEAN)]
    while len(heap) < samples and heap_percent(heap[-1]) is not None:
        await sleep(HEAP_INTERVAL_S)
        heap.append(await _bean(bolt, HEAP_BEAN))
    shares = [share for share in map(heap_percent, heap) if share is not None]
    if not shares:
        unknown.append(f"heap: no answer from the bean {HEAP_BEAN}")
    ratio, name = RATIOS[page_cache]
    bean = PAGE_CACHE_BEAN.format(ratio=ratio)
    value = ratio_of(await _bean(bolt, bean))
    if value is None:
        unknown.append(f"page cache: no bean {bean} (Enterprise edition with server.metrics.jmx.enabled)")
    percent = None if value is None else 100.0 * ((1.0 - value) if page_cache == "misses" else value)
    return Health(
        True, "", version, edition, min(shares, default=None), percent, name if percent is not None else "", count,
        None, tuple(unknown),
    )  # fmt: skip


async def _bean(bolt: Bolt, query: str) -> Sequence[Mapping[str, Any]]:
    """The attributes of the beans that a query finds; none where the server does not let labd ask."""
    try:
        answer = await bolt.read(SYSTEM, BEANS, {"query": query}, doing="read its figures")
    except LabdError:
        return ()
    return [row[1] for row in answer.rows if isinstance(row[1], Mapping)]


def heap_percent(beans: Sequence[Mapping[str, Any]]) -> float | None:
    """Used of the greatest heap; None where it is not told, or has no greatest (-1)."""
    for bean in beans:
        memory = _value(bean, "HeapMemoryUsage")
        found = memory.get("properties") if isinstance(memory, Mapping) else None
        if isinstance(found, Mapping):
            used, most = found.get("used"), found.get("max")
            if isinstance(used, int | float) and isinstance(most, int | float) and most > 0 and used >= 0:
                return 100.0 * used / most
    return None


def ratio_of(beans: Sequence[Mapping[str, Any]]) -> float | None:
    """The value of a ratio's bean; None for none, for text, and for what is no ratio."""
    for bean in beans:
        value = _value(bean, "Value")
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0:
            return float(value)
    return None


def _value(bean: Mapping[str, Any], attribute: str) -> Any:
    found = bean.get(attribute)
    return found.get("value") if isinstance(found, Mapping) else None

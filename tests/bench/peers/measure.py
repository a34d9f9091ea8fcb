"""One round with one peer: cold start, end to end, latency, rest, a kill, and submissions alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers.peer import Client, Peer, Place
from tests.bench.peers.services import Services
from tests.bench.report import percentile

HOLD_S = 4.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    jobs: int
    stamps: int
    stamps_limit_s: float
    settle_s: float
    idle_s: float
    watch_s: float


FULL = Sizes(jobs=5_000, stamps=200, stamps_limit_s=45.0, settle_s=5.0, idle_s=15.0, watch_s=100.0)
SHORT = Sizes(jobs=1_000, stamps=50, stamps_limit_s=15.0, settle_s=3.0, idle_s=5.0, watch_s=20.0)


def one_round(peer: Peer, folder: Path, python: Path, sizes: Sizes, kills: bool) -> dict[str, Any]:
    """Everything in one fresh folder, with nothing left running."""
    place = Place(folder, python, Services(folder))
    client = None
    try:
        peer.prepare(place)
        client = Client(peer, place)
        return _measure(peer, place, client, sizes, kills)
    except Exception as fault:
        logs = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in folder.glob("*.log"))
        raise RuntimeError(f"{peer.title}: {fault}\n{logs}") from fault
    finally:
        if client is not None:
            client.close()
        peer.end(place)


def _measure(peer: Peer, place: Place, client: Client, sizes: Sizes, kills: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    begin = time.monotonic()
    peer.start_servers(place)
    peer.start_workers(place)
    found["cold_s"] = client.ask("first")["result_at"] - begin
    jobs = min(sizes.jobs, peer.counts)
    client.ask("run", count=max(2, min(200, jobs // 10)))
    ran = client.ask("run", count=jobs)
    found["end_to_end_per_s"] = ran["count"] / ran["seconds"]
    found["starts_s"] = client.ask(
        "latency", count=min(sizes.stamps, peer.stamps_at_most), limit_s=sizes.stamps_limit_s, pause_s=0.05
    )["starts_s"]
    found["idle"] = place.services.weight(sizes.settle_s, sizes.idle_s)
    if peer.calls:
        found["calls"] = client.ask("calls", count=peer.calls)
    if kills and peer.is_killed:
        found["kill"] = _kill(peer, place, client, sizes.watch_s)
    peer.stop_workers(place)
    alone = client.ask("enqueue", count=jobs)
    found["enqueue_per_s"] = alone["count"] / alone["seconds"]
    singly = client.ask("enqueue", count=max(5, jobs // 5), singly=True)
    found["enqueue_singly_per_s"] = singly["count"] / singly["seconds"]
    return found


def _kill(peer: Peer, place: Place, client: Client, watch_s: float) -> dict[str, Any]:
    """kill -9 of everything that runs jobs while one runs; then it is started again and watched."""
    if not client.ask("hold", seconds=HOLD_S)["began"]:
        raise RuntimeError("the long job did not begin")
    place.services.kill(list(peer.workers))
    peer.start_workers(place)
    return client.ask("watch", limit_s=watch_s)


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds; all starts together; the last kill."""
    found: dict[str, Any] = {"rounds": len(rounds)}
    for name in ("cold_s", "end_to_end_per_s", "enqueue_per_s", "enqueue_singly_per_s"):
        values = [one[name] for one in rounds]
        found[name] = statistics.median(values)
        found[f"{name}_all"] = values
    starts = [start for one in rounds for start in one["starts_s"]]
    found |= {"start_p50_s": percentile(starts, 50), "start_p99_s": percentile(starts, 99), "starts": len(starts)}
    for name in ("pss_mb", "cpu_percent", "processes"):
        found[name] = statistics.median(one["idle"][name] for one in rounds)
    kills = [one["kill"] for one in rounds if "kill" in one]
    if kills:
        found["kill"] = kills[-1]
    calls = [one["calls"] for one in rounds if "calls" in one]
    if calls:
        found["calls"] = {name: statistics.median(one[name] for one in calls) for name in calls[0]}
    return found

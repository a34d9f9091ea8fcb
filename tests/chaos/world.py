"""The lab that is harmed: settings, parties and the daemon in one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.acceptance.processes import toml
from tests.chaos.daemon import ChaosDaemon
from tests.chaos.port import Party, World

PANTRY = Path(__file__).parent / "pantry"
TRACE = "trace.jsonl"
INBOX = "inbox"
SNAPSHOTS = "snapshots"
LAKE = "readings"
SCHEDULE = "beat"
SCHEDULE_S = 2.0
STOCK_UL = 10_000_000.0
WELL_KNOWN = ("carousel", "robot", "broker", "mongodb", "neo4j", "objects")


def build(folder: Path, parties: Mapping[str, Party], seed: int) -> World:
    """A world whose parties run and whose daemon has settings and was not started yet."""
    for name in (INBOX, SNAPSHOTS):
        (folder / name).mkdir()
    for party in parties.values():
        party.start()
    daemon = ChaosDaemon(folder)
    daemon.configure(settings(folder, parties))
    return World(folder, daemon, parties, Random(seed))


def settings(folder: Path, parties: Mapping[str, Party]) -> str:
    """All five wings; what no party stands for is simulated inside the daemon."""
    text = 'log_level = "info"\n'
    text += toml("engine", drain_s=2.0)
    text += toml("queue.standard", concurrency=6)
    text += toml("queue.monitoring", concurrency=2)
    text += toml("tasks", folders=[str(PANTRY)], poll_s=0)
    text += toml("env.default", simulated=True, size=4, warm=2, grace_s=1.0)
    text += toml("env.default.variables", CHAOS_TRACE=str(folder / TRACE))
    if "mongodb" not in parties:
        text += toml("inventory", simulated=True, threshold_ul=0, low_ul=0, evaporation_rate_ul_per_hour=0)
        text += "".join(toml(f"inventory.reservoir.{name}", capacity_ul=10 * STOCK_UL) for name in ("red", "yellow"))
    text += toml(f"schedule.{SCHEDULE}", task="echo", args={}, interval_s=SCHEDULE_S).replace(
        "args = {}", f'args = {{ key = "{SCHEDULE}" }}'
    )
    if not {"neo4j", "share"} & parties.keys():
        text += toml("snapshots") + toml("snapshots.dataset", base_path=str(folder / SNAPSHOTS), settle_s=0)
        text += toml("snapshots.orchestrator", scan_interval=1, retry_backoff_base=0.2, health_interval_s=1)
    if "objects" not in parties:
        text += toml("ingest", task_retry_delay_seconds=0.2)
    text += toml(f"ingest.definition.{LAKE}", name=LAKE, changed="replace-rows")
    text += toml(f"ingest.definition.{LAKE}.source", url=(folder / INBOX).as_uri(), settle_s=0)
    text += toml(f"ingest.definition.{LAKE}.format", type="jsonl")
    text += f'[ingest.definition.{LAKE}.destination]\ntable = "{LAKE}"\n'
    if "carousel" not in parties:
        text += toml("resort", driver="simulated", speed=50, acceleration=400)
        text += toml("resort.simulated", record=str(folder / "bus.jsonl"))
    if "robot" not in parties:
        text += toml("ot2", driver="simulated", preflight="robot", poll_s=0.05, look_s=0.2)
        text += toml("ot2.simulated", time_scale=200, record=str(folder / "moved.jsonl"))
    return text + "".join(party.settings() for party in parties.values())

"""The Grafana dashboard and the Prometheus rules speak of figures that labd serves, and of nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from labd.api import metrics, runbook
from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.registry import Registry
from labd.ingest import meter
from tests.fakes.api_engine import FakeStatus

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "contrib" / "prometheus" / "labd.rules.yml"
BOARD = ROOT / "contrib" / "grafana" / "labd.json"
METRIC = re.compile(r"\blabd_[a-z_]+")


async def served(state_dir: Path) -> set[str]:
    """Names of all figures of a real engine."""
    engine = Engine(state_dir, Registry(), SystemClock(), Random(1))
    engine.add_meter(lambda: meter.figures([]))
    await engine.open()
    try:
        text = metrics.render(engine, FakeStatus(), SystemClock())
    finally:
        await engine.close()
    return {line.split(" ", 3)[2] for line in text.splitlines() if line.startswith("# TYPE ")}


async def test_every_figure_of_the_rules_and_the_board_is_served(state_dir: Path) -> None:
    names = await served(state_dir)
    board: dict[str, Any] = json.loads(BOARD.read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) >= 15
    asked = {name for text in expressions for name in METRIC.findall(text)}
    asked |= {name for line in RULES.read_text().splitlines() if "expr:" in line for name in METRIC.findall(line)}
    assert sorted(asked - names) == []
    assert "labd_store_full" in asked


def test_the_rules_send_to_texts_that_exist() -> None:
    text = RULES.read_text()
    anchors = re.findall(r"/docs/runbook#([a-z_]+)", text)
    assert anchors
    assert [code for code in anchors if runbook.entry(code) is None] == []
    assert len(re.findall(r"- alert: \w+", text)) == text.count("severity:") == text.count("summary:")

"""Every alarm that labd can raise has a text for the person who gets it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labctl.commands.root import COMMANDS
from labd.api import runbook
from labd.engine.alert_rules import RULES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for path in (ROOT / "labd").rglob("*.py") if "remote" not in path.name]
RAISED = (
    re.compile(r'"code": "([a-z_]+)", "message": (?!fault\.message\b|error\.message\b)'),
    re.compile(r'(?:self|device)\.attention\["([a-z_]+)"\]'),
    re.compile(r'\bfound\["([a-z_]+)"\] = f?\('),
    re.compile(r'\bfound\["([a-z_]+)"\] = (?:f"|refusal|fault|device)'),
    re.compile(r'_line\("([a-z_]+)", one'),
    re.compile(r'Attention\("([a-z_]+)"'),
)
NO_ALARM = {"internal", "graph_refused"}  # answers of a child, not alarms


def raised() -> set[str]:
    """Codes of alarms as the source names them."""
    found: set[str] = set()
    for path in SOURCES:
        text = path.read_text()
        found |= {match for pattern in RAISED for match in pattern.findall(text)}
    return found - NO_ALARM


def test_every_alarm_has_a_text() -> None:
    codes = raised() | set(RULES)
    assert {"low_stock", "stop_latched", "watchdog_tripped", "snapshot_held", "question"} <= codes
    assert sorted(codes - set(runbook.entries())) == []


@pytest.mark.parametrize("code", runbook.entries())
def test_a_text_is_whole_and_its_commands_exist(code: str) -> None:
    one = runbook.entries()[code]
    assert one.title and one.means and one.meanwhile and one.steps
    assert not one.title.endswith(".")
    for command in re.findall(r"`labctl ([a-z0-9]+)", " ".join(one.steps)):
        assert command in COMMANDS


def test_the_number_of_a_warning_does_not_count() -> None:
    assert runbook.address("device_warning_2") == "/docs/runbook#device_warning"
    assert runbook.address("no_such_code") is None


def test_the_page_has_an_anchor_for_every_text() -> None:
    page = runbook.page()
    assert [code for code in runbook.entries() if f'<h2 id="{code}">' not in page] == []
    assert "<code>labctl resort reset --by NAME --reason TEXT</code>" in page

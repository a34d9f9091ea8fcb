"""No test sleeps: it waits for an event under a deadline, or its clock is an argument."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SLEEPERS = {"time", "asyncio", "anyio"}


def sleeps(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr != "sleep":
            continue
        gives_way = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if isinstance(node.func.value, ast.Name) and node.func.value.id in SLEEPERS and not gives_way:
            found.append(f"{path.relative_to(TESTS)}:{node.lineno}")
    return found


def test_no_test_sleeps() -> None:
    paths = [path for path in TESTS.rglob("*.py") if path.relative_to(TESTS).parts[0] not in ("bench", "fakes")]
    assert [line for path in sorted(paths) for line in sleeps(path)] == []

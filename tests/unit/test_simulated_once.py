"""The fake interpreter that remembers: the same question once, another one anew, and no bad end is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import simulated_once

SCRIPT = """import pathlib, sys
asked = sys.stdin.read()
with pathlib.Path(__file__).with_name("asked").open("a") as file:
    file.write(asked + ";")
print(asked.upper())
sys.exit(3 if asked == "bad" else 0)
"""


@pytest.mark.parametrize(
    ("questions", "really_asked"),
    [(["a", "a"], "a;"), (["a", "b", "a"], "a;b;"), (["bad", "bad"], "bad;bad;")],
    ids=["same", "other", "failed"],
)
def test_only_a_question_that_was_answered_is_not_asked_again(
    tmp_path: Path, questions: list[str], really_asked: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    python = simulated_once.interpreter(Path(sys.executable), tmp_path)
    for question in questions:
        done = subprocess.run([python, "-I", script], input=question, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (3 if question == "bad" else 0, f"{question.upper()}\n")
    assert (tmp_path / "asked").read_text() == really_asked


def test_another_script_is_another_question(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    python = simulated_once.interpreter(Path(sys.executable), tmp_path)
    said = []
    for text in ("print(1)", "print(2)"):
        script.write_text(text)
        said.append(subprocess.run([python, script], input="", capture_output=True, text=True, check=True).stdout)
    assert said == ["1\n", "2\n"]

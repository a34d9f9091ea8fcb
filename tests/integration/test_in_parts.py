"""The run of all tests in several processes: every file once, a second try alone, and no failure that gets lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import in_parts

ONLY_ALONE = """from pathlib import Path

def test_it():
    mark = Path(__file__).with_name("tried")
    seen = mark.exists()
    mark.touch()
    assert seen
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a start of pytest takes a quarter


def _write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/test_").join(("", ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_every_file_of_tests_is_in_exactly_one_piece(tmp_path: Path) -> None:
    tests = in_parts.ROOT / "tests"
    dealt = [path for piece in in_parts.pieces(tests, tmp_path) for path in piece.files]
    assert sorted(dealt) == sorted(tests.rglob("test_*.py"))
    assert {path.relative_to(tests).parts[0] for path in dealt} >= set(in_parts.PIECES)


def test_a_new_folder_is_a_piece_of_its_own_and_no_piece_is_empty(tmp_path: Path) -> None:
    _write(tmp_path, new__a="", new__b="", integration__a="")
    made = in_parts.pieces(tmp_path, tmp_path)
    assert [(piece.name, len(piece.files)) for piece in made] == [("new", 2), ("integration", 1)]


@pytest.mark.parametrize("beside", [0, 1, 2])
def test_files_that_share_a_session_are_in_one_piece(tmp_path: Path, beside: int) -> None:
    names = [name.removeprefix("test_").removesuffix(".py") for name in in_parts.TOGETHER[0]]
    between = [f"{names[0]}_{number}" for number in range(beside)]
    _write(tmp_path, **{f"contract__{name}": "" for name in [*names, *between, "other"]})
    holding = [[path.name for path in piece.files] for piece in in_parts.pieces(tmp_path, tmp_path)]
    assert len(holding) == in_parts.PIECES["contract"]
    assert [set(in_parts.TOGETHER[0]) & set(found) for found in holding].count(set(in_parts.TOGETHER[0])) == 1


def test_what_fails_beside_the_others_is_run_once_more_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path, a__good="def test_it():\n    pass\n", b__tight=ONLY_ALONE)
    assert in_parts.main(["--folder", str(tmp_path), "--lanes", "2"]) == 0
    told = capsys.readouterr().out
    assert "all of them pass alone" in told
    assert "== 2 passed, 0 skipped, 1 of them only alone in" in told


@pytest.mark.parametrize(
    ("text", "last"),
    [("def test_it():\n    assert False\n", "1 passed, 0 skipped, 1 failed in"), ("import os\nos._exit(0)\n", None)],
    ids=["fails_again", "ends_without_a_word"],
)
def test_a_fault_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, last: str | None) -> None:
    _write(tmp_path, a__good="def test_it():\n    pass\n", b__bad=text)
    assert in_parts.main(["--folder", str(tmp_path), "--lanes", "1"]) != 0
    assert f"== {last or '1 passed, 0 skipped, 1 failed in'}" in capsys.readouterr().out

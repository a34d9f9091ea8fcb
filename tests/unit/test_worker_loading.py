"""Task files and modules side by side: one broken file, name or function takes nothing else down."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from labd.worker import policy
from labd.worker.loading import Loader

FINE = "from labd import task\n\n@task\ndef {name}(x: int = 1):\n    'Does it.'\n    return x\n"


@pytest.fixture(autouse=True)
def leave_nothing() -> Iterator[None]:
    decorated, modules, path = list(policy.decorated), set(sys.modules), list(sys.path)
    yield
    policy.decorated[:] = decorated
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_files_of_one_name_do_not_clash(tmp_path: Path) -> None:
    one = written(tmp_path / "one" / "device.py", FINE.format(name="first"))
    two = written(tmp_path / "two" / "device.py", FINE.format(name="second"))
    loaded = Loader().load([one, two], [])
    assert loaded["faults"] == []
    assert [(task["name"], task["file"], task["line"]) for task in loaded["tasks"]] == [
        ("first", one, 3),
        ("second", two, 3),
    ]


def test_a_name_taken_twice_is_the_fault_of_the_later_file(tmp_path: Path) -> None:
    one = written(tmp_path / "one.py", FINE.format(name="mix"))
    two = written(tmp_path / "two.py", FINE.format(name="mix"))
    loaded = Loader().load([one, two], [])
    assert [task["file"] for task in loaded["tasks"]] == [one]
    message = f"task mix is already defined in {one}:3; give one of them a name="
    assert loaded["faults"] == [{"file": two, "line": 3, "message": message}]


def test_a_module_gives_its_own_tasks_and_those_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    written(tmp_path / "paint_lab" / "__init__.py", "from paint_lab import colours\nfrom paint_other import alien\n")
    part = written(tmp_path / "paint_lab" / "colours.py", FINE.format(name="mix"))
    written(tmp_path / "paint_other.py", FINE.format(name="alien"))
    loader = Loader()
    loaded = loader.load([], ["paint_lab"])
    assert [(task["name"], task["file"]) for task in loaded["tasks"]] == [("mix", part)]
    assert loaded["tasks"][0]["sha256"] == hashlib.sha256(Path(part).read_bytes()).hexdigest()
    assert [task["name"] for task in loader.load([], ["paint_other"])["tasks"]] == ["alien"]


def test_a_file_beside_it_can_be_imported_and_is_no_task_file(tmp_path: Path) -> None:
    written(tmp_path / "recipes_beside.py", FINE.format(name="beside") + "RED = 'red'\n")
    path = written(tmp_path / "a.py", "from recipes_beside import RED\n" + FINE.format(name="mix"))
    loaded = Loader().load([path], [])
    assert ([task["name"] for task in loaded["tasks"]], loaded["faults"]) == (["mix"], [])


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\nimport sys\nsys.exit(2)\n", 3, "the file ends the interpreter (SystemExit: 2); put that under"),
        ("def f():\n  return 1\n   return 2\n", 3, "IndentationError: unexpected indent"),
        (
            "from labd import task\n@task(consumes={'red': 'Q'})\ndef f(R: float): ...\n",
            2,
            "task f: consumes={'red': 'Q'} names Q, which is no parameter",
        ),
        (
            "from labd import task\n@task(consumes={'red': 'R'})\ndef f(R): ...\n",
            2,
            "task f: consumes={'red': 'R'} needs R annotated as a number: `R: float`",
        ),
        (
            "from labd import task\n@task(consumes={'red': -1})\ndef f(): ...\n",
            2,
            "ValueError: @task(consumes=...): red takes a volume of 0 ul or more, not -1",
        ),
        (
            "from labd import task\n@task(retries=-1)\ndef f(): ...\n",
            2,
            "ValueError: @task(retries=-1) is out of range",
        ),
        ("def deeper():\n    raise KeyError('a')\n\ndeeper()\n", 2, "KeyError: 'a'"),
        ("from labd import call\ncall('mix')\n", 2, "LookupError: call('mix') outside of a job"),
        ("from labd import ask\nask('Ready?')\n", 2, "RuntimeError: ask('Ready?') has nobody to ask"),
    ],
)
def test_a_file_that_raises_is_told_by_its_own_line(tmp_path: Path, source: str, line: int, message: str) -> None:
    bad = written(tmp_path / "bad.py", source)
    fine = written(tmp_path / "fine.py", FINE.format(name="fine"))
    loaded = Loader().load([bad, fine], [])
    assert [task["name"] for task in loaded["tasks"]] == ["fine"]
    assert [(fault["file"], fault["line"]) for fault in loaded["faults"]] == [(bad, line)]
    assert loaded["faults"][0]["message"].startswith(message)


def test_the_examples_of_the_readme_load(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = [part.split("```")[0] for part in readme.split("```python\n")[1:] if "@task" in part.split("```")[0]]
    files = [written(tmp_path / f"readme{at}.py", block) for at, block in enumerate(blocks)]
    loaded = Loader().load(files, [])
    assert ([task["name"] for task in loaded["tasks"]], loaded["faults"]) == (
        ["mix", "mix_color", "series", "mix_colors"],
        [],
    )


def test_odd_annotations_and_defaults_are_faults_of_their_task(tmp_path: Path) -> None:
    source = """
import dataclasses
from typing import Literal
from labd import task

def none_left(): raise RuntimeError("none left")

@dataclasses.dataclass
class Tips:
    rack: list = dataclasses.field(default_factory=none_left)

@task
def one(tips: Tips): ...

@task
def two(x: Literal[[1]]): ...

@task
def fine(): ...
"""
    loaded = Loader().load([written(tmp_path / "a.py", source)], [])
    assert [task["name"] for task in loaded["tasks"]] == ["fine"]
    messages = [fault["message"] for fault in loaded["faults"]]
    assert messages[0] == "task one: RuntimeError: none left"
    assert messages[1].startswith("task two: ")
    assert len(messages) == 2


def test_an_idempotency_template_names_parameters(tmp_path: Path) -> None:
    head = "from labd import task\n\n@task(idempotency='{}')\ndef {}(color: str): ...\n"
    path = written(tmp_path / "a.py", head.format("restock-{color}", "fine") + head.format("restock-{tint}", "bad"))
    loaded = Loader().load([path], [])
    assert [task["policy"]["idempotency"] for task in loaded["tasks"]] == ["restock-{color}"]
    assert loaded["faults"][0]["message"] == "task bad: idempotency='restock-{tint}' names tint, which is no parameter"

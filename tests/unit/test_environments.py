"""Which interpreter fits, what a task file tells before it runs, and how output is bounded: rules, no processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from labd.engine import interpreters, lending, task_files
from labd.engine.environments import Environments
from labd.engine.interpreters import Interpreter
from labd.engine.worker_output import HEAD_SIZE_BYTES, JobOutput
from labd.engine.worker_process import told
from labd.environment_commands import env
from labd.errors import EnvironmentOff, UnknownEnvironment
from labd.settings_types import EnvironmentSettings

FITS = [
    (">=3.10", (3, 10, 0), True),
    (">=3.10", (3, 9, 18), False),
    (">=3.10,<3.13", (3, 12, 1), True),
    (">=3.10,<3.13", (3, 13, 0), False),
    ("3.11", (3, 11, 7), True),
    ("==3.11", (3, 12, 0), False),
    ("!=3.11", (3, 11, 7), False),
    ("~=3.9", (3, 12, 0), True),
    ("~=3.9.2", (3, 10, 0), False),
    (">3.9", (3, 9, 18), False),
    ("<=3.9", (3, 9, 18), True),
]


@pytest.mark.parametrize(("wanted", "version", "answer"), FITS)
def test_versions_fit_as_they_are_written(wanted: str, version: tuple[int, int, int], answer: bool) -> None:
    assert interpreters.fits(version, wanted) is answer


class Host:
    """Interpreters and makers of a host that exists on paper; `failing` makes each maker's step fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *versions: str) -> None:
        self.found = [Interpreter(Path(f"/py/{text}"), _version(text)) for text in versions]
        self.steps: list[list[str]] = []
        self.failing = ""
        monkeypatch.setattr(interpreters, "find", self._find)
        monkeypatch.setattr(interpreters, "ask", self._ask)
        monkeypatch.setattr(interpreters, "find_uv", lambda environ: None)

    def _find(self, wanted: str | None, environ: object) -> tuple[Interpreter | None, list[Interpreter]]:
        fitting = [one for one in self.found if wanted is None or interpreters.fits(one.version, wanted)]
        return (fitting[0] if fitting else None), self.found

    def _ask(self, path: Path) -> Interpreter | None:
        return Interpreter(path, (3, 12, 1)) if path.exists() or path.is_symlink() else None

    def call(self, name: str, command: list[str]) -> None:
        self.steps.append(command)
        if self.failing and self.failing in command:
            raise EnvironmentOff(f"environment {name} could not be made: no network")
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
            (Path(command[-1]) / "bin" / "python").touch()


def _version(text: str) -> tuple[int, int, int]:
    major, minor, micro = map(int, text.split("."))
    return major, minor, micro


def environments(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: EnvironmentSettings
) -> Environments:
    found = Environments(folder, settings, {})
    monkeypatch.setattr(found, "_call", host.call)
    return found


def test_an_environment_that_no_interpreter_fits_is_off_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch, "3.9.18", "3.11.7")
    found = environments(host, tmp_path, monkeypatch, ot2=EnvironmentSettings(python=">=3.12", requires=("x",)))
    with pytest.raises(EnvironmentOff) as off:
        found.sync("ot2")
    assert off.value.message == (
        "environment ot2 needs Python >=3.12; found here: 3.9.18, 3.11.7; install one that fits, "
        'or say python = "/path" in [env.ot2]'
    )
    assert found.view("ot2").state == "missing"
    with pytest.raises(UnknownEnvironment, match="no environment is named ot3; the settings have default, ot2"):
        found.interpreter("ot3")


def test_a_sync_that_fails_leaves_the_old_one_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, "3.12.1")
    found = environments(host, tmp_path, monkeypatch, ot2=EnvironmentSettings(requires=("x==1",)))
    first = found.sync("ot2")
    assert first.state == "ready"
    found.settings["ot2"] = EnvironmentSettings(requires=("x==2",))
    host.failing = "x==2"
    with pytest.raises(EnvironmentOff, match="no network"):
        found.sync("ot2")
    view = found.view("ot2")
    assert (view.state, view.folder, view.python) == ("outdated", first.folder, first.python)
    assert sorted(path.name for path in tmp_path.glob("ot2-*")) == [Path(first.folder).name]
    host.failing = ""
    assert found.sync("ot2").folder != first.folder
    assert Path(first.folder).exists(), "workers may still run in the last one"


def test_the_same_requirements_are_made_once_and_anew_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(monkeypatch, "3.12.1")
    found = environments(host, tmp_path, monkeypatch, ot2=EnvironmentSettings(requires=("x",)))
    first = found.sync("ot2")
    assert (found.sync("ot2").folder, len(host.steps)) == (first.folder, 2)
    assert found.sync("ot2", fresh=True).folder == f"{first.folder}-2"
    assert found.remove("ot2") == 2
    assert found.view("ot2").state == "missing"


def test_a_sync_that_was_killed_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, "3.12.1")
    found = environments(host, tmp_path, monkeypatch, ot2=EnvironmentSettings(requires=("x",)))
    folder = Path(found.sync("ot2").folder)
    (folder / "labd-env.json").unlink()
    assert found.view("ot2").state == "missing"
    assert found.sync("ot2").state == "ready"


def test_remove_leaves_the_neighbour_with_a_longer_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host, one = Host(monkeypatch, "3.12.1"), EnvironmentSettings(requires=("x",))
    found = environments(host, tmp_path, monkeypatch, **{"ot2": one, "ot2-flex": one})
    found.sync("ot2")
    found.sync("ot2-flex")
    assert found.remove("ot2") == 1
    assert found.view("ot2-flex").state == "ready"


@pytest.mark.parametrize("name", ["spectrometer", "ot2-", "../ot2", "/etc/passwd"])
def test_remove_of_what_nobody_has_named_or_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    host, one = Host(monkeypatch, "3.12.1"), EnvironmentSettings(requires=("x",))
    found = environments(host, tmp_path, monkeypatch, ot2=one)
    assert found.remove("ot2") == 0  # named in the settings, and not made yet
    with pytest.raises(UnknownEnvironment, match=f"no environment is named {name}, and none was made for that name"):
        found.remove(name)
    found.sync("ot2")
    del found.settings["ot2"]
    assert found.remove("ot2") == 1  # made once, and named no longer
    with pytest.raises(UnknownEnvironment):
        found.remove("ot2")


def test_a_name_that_nobody_knows_ends_the_command_that_removes_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.telemetry.configure", lambda **_: None)  # other tests of this process read logs
    config = tmp_path / "labd.toml"
    config.write_text(f'state_dir = "{tmp_path / "state"}"\n')
    told = CliRunner().invoke(env, ["remove", "spectrometer", "--config", str(config)])
    assert told.exit_code == 1
    assert told.output.startswith("labd: no environment is named spectrometer, and none was made for that name; ")


FILE = """
import json
from labd import task as job, flow
ENV = "ot2"

@job
def plain(): import csv

@flow(env=ENV, name="mix")
def mixing():
    import opentrons.execute

def helper(): ...
"""


def test_a_file_tells_its_environments_names_and_imports_before_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(FILE)
    (tmp_path / "helper.py").write_text("import numpy\ndef f(): ...\n")
    (tmp_path / "broken.py").write_text("@task(env='ot2')\ndef cut(:\n")
    (tmp_path / ".hidden.py").write_text("x")
    one, broken, helper = task_files.read([tmp_path], ["lab.tasks", "ot2:lab.robot"])[:3]
    assert one.names == {"default": ("plain",), "ot2": ("mix",)}
    assert one.imports == {"default": {"json", "labd", "csv"}, "ot2": {"json", "labd", "opentrons"}}
    assert broken.names == {"ot2": ("cut",)}
    assert helper.environments == ()
    assert [source.environments for source in task_files.read([], ["lab.tasks", "ot2:lab.robot"])] == [
        ("default",),
        ("ot2",),
    ]


def test_what_is_lent_is_labds_own_side_and_named_by_its_content(tmp_path: Path) -> None:
    package = tmp_path / "labd"
    for name in ("__init__.py", "app.py", "worker/__init__.py", "worker/main.py", "ot2/__init__.py", "ot2/remote.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x = 1\n")
    first = lending.lend(tmp_path / "lend", package)
    lent = {path.relative_to(first).as_posix() for path in first.rglob("*.py")}
    assert lent == {
        "labd/__init__.py",
        "labd/worker/__init__.py",
        "labd/worker/main.py",
        "labd/ot2/__init__.py",
        "labd/ot2/remote.py",
    }
    assert lending.lend(tmp_path / "lend", package) == first
    (package / "worker" / "main.py").write_text("x = 2\n")
    assert lending.lend(tmp_path / "lend", package) != first


def test_what_a_power_cut_left_of_the_lent_files_is_made_whole_in_the_next_boot(tmp_path: Path) -> None:
    package, boot_id = tmp_path / "labd", tmp_path / "boot_id"
    (package / "worker").mkdir(parents=True)
    for name in ("__init__.py", "worker/__init__.py", "worker/main.py"):
        (package / name).write_text("x = 1\n")
    boot_id.write_text("first")
    lent = lending.lend(tmp_path / "lend", package, boot_id)
    main, compiled = lent / "labd" / "worker" / "main.py", lent / "labd" / "worker" / "__pycache__"
    compiled.mkdir()
    (compiled / "main.cpython-311.pyc").write_bytes(bytes(512))
    lending.lend(tmp_path / "lend", package, boot_id)
    assert compiled.exists()  # in the same boot nothing can be torn
    main.write_text("")
    boot_id.write_text("second")
    assert lending.lend(tmp_path / "lend", package, boot_id) == lent
    assert (main.read_text(), compiled.exists()) == ("x = 1\n", False)
    assert [path.name for path in (tmp_path / "lend").iterdir()] == [lent.name]


def test_output_beyond_its_bound_keeps_the_first_and_the_last_part_and_counts_the_rest() -> None:
    lines: list[tuple[str, str]] = []
    output = JobOutput(lambda level, text: lines.append((level, text)))
    output.feed("stdout", b"half ")
    output.feed("stderr", b"warned\n")
    output.feed("stdout", b"a line\n")
    block = b"x" * 1023 + b"\n"
    for _ in range(HEAD_SIZE_BYTES // 1024 + 1000):
        output.feed("stdout", block)
    output.feed("stdout", b"the end")
    output.finish()
    assert lines[:2] == [("warning", "warned"), ("info", "half a line")]
    assert lines[-1] == ("info", "the end")
    [left_out] = [text for _, text in lines if text.startswith("...")]
    assert left_out == "... 991239 bytes in about 968 lines are left out here; the last part follows"
    assert output.last_lines()[-1] == "the end"


def test_the_last_lines_of_a_crash_are_its_inmost_calls() -> None:
    output = JobOutput(lambda level, text: None)
    dump = ["Current thread 0x1 (most recent call first):", '  File "lab.py", line 10 in grip']
    dump += [f'  File "main.py", line {line} in serve' for line in range(9)]
    output.feed("stderr", "\n".join(["Fatal Python error: Segmentation fault", "", *dump, ""]).encode())
    output.finish()
    assert output.last_lines() == dump[:5]


def test_a_line_without_an_end_is_cut_not_collected() -> None:
    lines: list[str] = []
    output = JobOutput(lambda level, text: lines.append(text))
    output.feed("stdout", b"y" * 20_000)
    output.finish()
    assert [len(line) for line in lines] == [8192, 8192, 3616]


def test_how_a_process_ended_is_told_in_words() -> None:
    assert told(3) == "ended with exit code 3"
    assert told(-11) == "was ended by SIGSEGV"
    assert told(-64) == "was ended by SIGRTMAX"

"""Real interpreters: one without site packages, old ones, one made with uv; what is missing is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from labd.engine import environment_check, interpreters, lending
from labd.engine.environments import Environments
from labd.errors import EnvironmentOff
from labd.settings_types import EnvironmentSettings, TasksSettings
from tests.conftest import requires
from tests.fakes.task_house import task_house

REPOSITORY = Path(__file__).resolve().parents[2]
# A build backend of its own, so that nothing is fetched from anywhere.
MAKER = """
import zipfile
def build_wheel(folder, settings=None, metadata=None):
    version = {version!r}
    name = f"tiny_paint-{{version}}-py3-none-any.whl"
    info = f"tiny_paint-{{version}}.dist-info"
    with zipfile.ZipFile(f"{{folder}}/{{name}}", "w") as wheel:
        wheel.writestr("tiny_paint.py", f"VERSION = {{version!r}}\\n")
        wheel.writestr(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: tiny-paint\\nVersion: {{version}}\\n")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
    return name
"""


def package(folder: Path, version: str) -> str:
    folder.mkdir()
    head = '[build-system]\nrequires = []\nbuild-backend = "maker"\nbackend-path = ["."]\n'
    (folder / "pyproject.toml").write_text(f'{head}[project]\nname = "tiny-paint"\nversion = "{version}"\n')
    (folder / "maker.py").write_text(MAKER.format(version=version))
    return f"tiny-paint @ file://{folder}"


async def test_nothing_needs_to_be_installed_into_an_interpreter(state_dir: Path) -> None:
    bare = state_dir / "python-bare"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -I -S "$@"\n')  # type: ignore[attr-defined]
    bare.chmod(0o755)
    text = "@task(env='bare')\ndef seen(n: int) -> list:\n    return [n, 'site' in sys.modules, sys.path[0]]\n"
    settings = {"bare": EnvironmentSettings(python=str(bare), grace_s=0.3)}
    async with task_house(state_dir, text, settings) as house:
        n, has_site, lent = await house.result("seen", n=7)
    assert (n, has_site) == (7, False)
    assert Path(lent).parent == state_dir / "lend"


@pytest.mark.parametrize("wanted", ["3.8", "3.9", "3.10", "3.12", "3.13", "3.14"])
async def test_a_task_runs_on_every_interpreter_that_is_found(state_dir: Path, wanted: str) -> None:
    found, _ = interpreters.find(wanted, os.environ)
    if found is None:  # every interpreter that is found: none is required of a machine
        pytest.skip(f"no Python {wanted} on this machine")
    text = "@task(env='old')\ndef version(n: int = 1):\n    print('here')\n    return '%d.%d' % sys.version_info[:2]\n"
    settings = {"old": EnvironmentSettings(python=wanted, grace_s=0.3)}
    async with task_house(state_dir, text, settings) as house:
        job = await house.run("version")
        assert job.result == wanted
        assert await house.lines(job) == ["here"]


@pytest.mark.parametrize("maker", ["uv", pytest.param("venv and pip", marks=pytest.mark.slow)])
async def test_an_environment_is_made_and_a_failed_sync_keeps_it(
    state_dir: Path, maker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if maker == "uv":
        requires("uv", interpreters.find_uv(os.environ) is not None, "pip install uv")
    else:
        monkeypatch.setattr(interpreters, "find_uv", lambda environ: None)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    first, second = package(state_dir / "one", "1.0"), package(state_dir / "two", "2.0")
    settings = {"paint": EnvironmentSettings(python=">=3.9", requires=(first,), grace_s=0.3)}
    text = "import tiny_paint\n@task(env='paint')\ndef version():\n    return tiny_paint.VERSION\n"
    async with task_house(state_dir, text, settings) as house:
        with pytest.raises(EnvironmentOff, match=r"environment paint is not made yet; `labd env sync paint` makes it"):
            await house.submit("version")
        environments = house.workers.environments
        made = await house.workers.sync("paint", False)
        assert (made.state, made.tasks) == ("ready", 1)
        assert environments.record("paint")["tool"] == maker  # type: ignore[index]
        assert await house.result("version") == "1.0"

        environments.settings["paint"] = EnvironmentSettings(python=">=3.9", requires=("no-such-package-here",))
        with pytest.raises(EnvironmentOff, match="environment paint could not be made"):
            environments.sync("paint")
        assert environments.view("paint").state == "outdated"
        assert await house.result("version") == "1.0"

        if maker == "uv":
            environments.settings["paint"] = EnvironmentSettings(python=">=3.9", requires=(second,), grace_s=0.3)
            environments.sync("paint")
            await house.workers.reload()
            assert await house.result("version") == "2.0"


async def test_the_check_names_everything_that_is_missing_at_once(state_dir: Path) -> None:
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "helper.py").write_text("x = 1\n")
    (folder / "mix.py").write_text(
        "import json, no_such_robot, helper\nfrom labd import task\n"
        "@task\ndef mix():\n    import no_such_paint\n@task(env='ot2')\ndef other():\n    import only_there\n"
    )
    (folder / "cut.py").write_text("from labd import task\n@task\ndef cut(:\n")
    environments = Environments(state_dir / "env", {"ot2": EnvironmentSettings(requires=("x",))}, os.environ)
    lend = lending.lend(state_dir / "lend", REPOSITORY / "labd")
    settings = TasksSettings(folders=(str(folder),))
    reports = await environment_check.check(environments, settings, lend, state_dir, os.environ)
    problems = {report.name: report.problems for report in reports}
    assert problems == {
        "default": [
            "module no_such_paint is missing (imported by mix.py); add its package to requires of [env.default]",
            "module no_such_robot is missing (imported by mix.py); add its package to requires of [env.default]",
            f"{folder}/cut.py:3: SyntaxError: invalid syntax",
        ],
        "ot2": ["environment ot2 is not made yet; `labd env sync ot2` makes it"],
    }

"""Wings of other packages are found, and nobody is asked where there are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labd.offers import entry_points_beside_labd

GROUP = "labd.tests_of_offers"


def package(folder: Path, name: str, entry_points: str | None) -> None:
    record = folder / f"{name}-1.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if entry_points is not None:
        (record / "entry_points.txt").write_text(entry_points)


def test_the_entry_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, "sixth", f"[{GROUP}]\nsixth = json:loads\n")
    package(tmp_path, "labd", f"[{GROUP}]\nown = json:dumps\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [(found.name, found.value) for found in entry_points_beside_labd(GROUP)] == [("sixth", "json:loads")]


def test_an_archive_on_the_path_is_asked_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    archive = tmp_path / "many.zip"
    with zipfile.ZipFile(archive, "w") as into:
        into.writestr("sixth-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: sixth\nVersion: 1.0\n")
        into.writestr("sixth-1.0.dist-info/entry_points.txt", f"[{GROUP}]\nsixth = json:loads\n")
    monkeypatch.syspath_prepend(str(archive))
    assert [found.name for found in entry_points_beside_labd(GROUP)] == ["sixth"]


def test_where_nobody_offers_nobody_is_asked(tmp_path: Path) -> None:
    package(tmp_path / "a", "plain", None)
    package(tmp_path / "a", "other", "[console_scripts]\nother = json:loads\n")
    package(tmp_path / "a", "labd", f"[{GROUP}]\nown = json:dumps\n")
    code = (
        "import sys; from labd.offers import entry_points_beside_labd as find; "
        "print(find(sys.argv[1], sys.argv[2:]), 'importlib.metadata' in sys.modules)"
    )
    folders = [str(tmp_path / "a"), str(tmp_path / "not there")]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, GROUP, *folders], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] False"

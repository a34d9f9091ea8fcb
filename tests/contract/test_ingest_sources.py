"""What every source owes, over a folder, S3 (moto), Azure Blob (azurite) and GCS (fake-gcs-server)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from labd.ingest import remote, remote_sources
from labd.ingest.definition import Format, Quality, SchemaRule
from labd.ingest.port import Batch, CatalogAccess, FileRef, SourceAccess, TableName
from labd.ingest.remote_globs import Glob
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_sources import fetch_all, open_source
from tests.fakes.object_stores import Lab
from tests.fakes.source_rig import NAMES, file_of, list_all, paths


@pytest.mark.parametrize(
    "pattern",
    ["**/*", "*.csv", "**/*.csv", "a/*", "a/**", "a/b.csv", "*/*.csv", "day=?/*.csv", "{a,z}/**/*.{csv,json}",
     "a*.csv", "a/d/*/g.csv", "**/d/**/*.csv", "[ab].csv", "{a.csv,day=[!1]/x*}", "nothing/*", "z/[!_]*.csv"],
)  # fmt: skip
def test_lists_exactly_what_the_pattern_matches_sorted_by_path(filled_lab: Lab, pattern: str) -> None:
    expected = sorted(name for name in NAMES if Glob(pattern).matches(name))
    assert paths(filled_lab.access(pattern)) == expected
    assert paths(filled_lab.access(pattern), count=2) == expected


def test_hidden_and_temporary_files_are_left_alone_unless_the_pattern_names_them(filled_lab: Lab) -> None:
    found = paths(filled_lab.access("z/**/*"))
    assert found == ["z/100% #1 &+?.csv", "z/empty.csv", "z/ü é.csv"]
    assert paths(filled_lab.access("z/_temporary/*/x.csv")) == ["z/_temporary/0/x.csv"]
    assert paths(filled_lab.access("z/*.csv.part")) == ["z/x.csv.part"]


def test_an_entry_tells_version_size_and_time(filled_lab: Lab) -> None:
    path, version, size_bytes, modified_at = list_all(filled_lab.access("a/b.csv"))[0]
    assert (path, size_bytes) == ("a/b.csv", 7)
    assert version and isinstance(version, str)
    assert modified_at > 1.7e9


def test_exclusions_leave_out_files_and_folders(filled_lab: Lab) -> None:
    assert paths(filled_lab.access("{a,day=*}/**", exclude=("*.json", "a/d", "day=2/y*"))) == [
        "a/b.csv", "day=1/x.csv", "day=2/x.csv",
    ]  # fmt: skip


def test_after_leaves_out_all_paths_up_to_it(filled_lab: Lab) -> None:
    everything = paths(filled_lab.access())
    for number, after in enumerate(everything):
        assert paths(filled_lab.access(), after=after) == everything[number + 1 :]


def test_a_listing_goes_on_behind_its_cursor_in_another_child(filled_lab: Lab) -> None:
    everything = paths(filled_lab.access())
    page = open_source(filled_lab.access()).pages(None, None, 5)
    remote_sources._open.clear()
    rest = open_source(filled_lab.access()).pages(page["cursor"], None, 1000)
    assert [entry[0] for entry in json.loads(rest["entries"])] == everything[5:]
    assert rest["cursor"] is None


def test_a_version_stays_until_the_file_is_written_again(source_lab: Lab) -> None:
    source_lab.put("x.csv", b"one")
    source_lab.put("y.csv", b"one")
    first = {entry[0]: entry[1] for entry in list_all(source_lab.access())}
    assert {entry[0]: entry[1] for entry in list_all(source_lab.access())} == first
    source_lab.put("x.csv", b"two")
    second = {entry[0]: entry[1] for entry in list_all(source_lab.access())}
    assert second["x.csv"] != first["x.csv"]
    assert second["y.csv"] == first["y.csv"]


def test_fetches_the_listed_version(filled_lab: Lab, tmp_path: Path) -> None:
    source = open_source(filled_lab.access())
    entries = list_all(filled_lab.access())
    fetched = list(fetch_all(source, [file_of(entry) for entry in entries], str(tmp_path), ahead=3))
    assert [one.path for one in fetched] == [entry[0] for entry in entries]
    for one in fetched:
        content = b"" if "empty" in one.path else one.path.encode()
        assert (one.state, one.data, one.size_bytes) == ("ready", content, len(content))
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        assert one.check() == "ready"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"22222", b"longer than it was"])
def test_another_version_than_the_listed_one_is_not_fetched(source_lab: Lab, tmp_path: Path, content: bytes) -> None:
    source_lab.put("x.csv", b"11111")
    file = file_of(list_all(source_lab.access())[0])
    source_lab.put("x.csv", content)
    fetched = open_source(source_lab.access()).fetch(file, str(tmp_path))
    assert (fetched.state, fetched.data, fetched.file) == ("changed", None, None)


def test_a_file_that_is_gone_has_vanished(source_lab: Lab, tmp_path: Path) -> None:
    source_lab.put("x.csv", b"11111")
    file = file_of(list_all(source_lab.access())[0])
    source_lab.delete("x.csv")
    assert open_source(source_lab.access()).fetch(file, str(tmp_path)).state == "vanished"


@pytest.mark.usefixtures("small_limit")
def test_a_large_file_is_given_as_a_local_path(source_lab: Lab, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    source_lab.put("x.bin", content)
    with_large = open_source(source_lab.access())
    fetched = with_large.fetch(file_of(list_all(source_lab.access())[0]), str(tmp_path))
    assert (fetched.state, fetched.data, fetched.size_bytes) == ("ready", None, 2560)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    with fetched.open() as stream:
        assert stream.read() == content
    assert fetched.check() == "ready"
    fetched.close()
    assert list(tmp_path.iterdir()) == []


def test_files_wait_for_the_marker_of_their_folder(source_lab: Lab) -> None:
    for name in ("a/x.csv", "a/y.csv", "b/x.csv", "b/_SUCCESS", "b/day=1/x.csv", "b/deep/x.csv"):
        source_lab.put(name, b"1")
    access = source_lab.access("**/*.csv", marker="_SUCCESS")
    page = open_source(access).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["b/day=1/x.csv", "b/x.csv"]
    assert page["unsettled"] == 3
    source_lab.put("a/_SUCCESS", b"")
    assert paths(access) == ["a/x.csv", "a/y.csv", "b/day=1/x.csv", "b/x.csv"]


def test_a_file_waits_for_its_own_marker(source_lab: Lab) -> None:
    for name in ("x.csv", "y.csv", "y.csv.done"):
        source_lab.put(name, b"1")
    access = source_lab.access("**/*", marker="{name}.done")
    page = open_source(access).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["y.csv"]
    assert page["unsettled"] == 1


def test_a_source_that_is_not_there_is_refused(source_lab: Lab) -> None:
    access = source_lab.access()
    access["url"] = (
        access["url"].replace(source_lab.bucket, "no-such-bucket") if source_lab.kind != "local" else "file:///no/such"
    )
    with pytest.raises(Refusal) as refused:
        list_all(access)
    # Google answers 404, fake-gcs-server 500.
    assert refused.value.code == ("source_unreachable" if source_lab.kind == "gs" else "source_refused")


def test_an_option_that_is_not_known_is_refused(source_lab: Lab) -> None:
    with pytest.raises(Refusal, match="acount") as refused:
        open_source(source_lab.access(options={"acount": "x"}))
    assert refused.value.code == "source_refused"


def test_a_listing_without_end_in_sight_is_answered_all_the_same(
    filled_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10_000, 3))
    source = open_source(filled_lab.access(), clock=lambda: float(next(seconds)))
    page, found = source.pages(None, None, 1000), []
    pages = 1
    while True:
        found += [entry[0] for entry in json.loads(page["entries"])]
        if page["cursor"] is None:
            break
        page, pages = source.pages(page["cursor"], None, 1000), pages + 1
    assert found == sorted(name for name in NAMES if Glob("**/*").matches(name))


def test_the_listed_versions_are_loaded_and_what_changed_meanwhile_is_told(source_lab: Lab, tmp_path: Path) -> None:
    for number in range(4):
        source_lab.put(f"day={number % 2}/ü {number}.jsonl", b'{"id": %d}\n' % number * 5)
    access = source_lab.access("**/*.jsonl")
    files = tuple(FileRef(*entry) for entry in list_all(access))
    source_lab.put("day=0/ü 0.jsonl", b'{"id": 7}\n')
    source_lab.delete("day=1/ü 1.jsonl")
    catalog = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": (tmp_path / "tables").as_uri()}
    batch = Batch(
        ingestion="i", token="t", number=1, source=msgspec.convert(access, SourceAccess), format=Format(type="jsonl"),
        schema=SchemaRule(), quality=Quality(), files=files, report=str(tmp_path / "report.json"),
        table=TableName(catalog=CatalogAccess(name="default", properties=catalog), namespace="n", table="t"),
    )  # fmt: skip
    report = remote.ask("load", {"batch": msgspec.to_builtins(batch)})["answer"]
    assert (report["state"], report["rows"]) == ("committed", 10)
    assert {file["path"]: file["state"] for file in report["files"]} == {
        "day=0/ü 0.jsonl": "changed", "day=0/ü 2.jsonl": "loaded", "day=1/ü 1.jsonl": "vanished",
        "day=1/ü 3.jsonl": "loaded",
    }  # fmt: skip

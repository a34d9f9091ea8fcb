"""What every source owes, over a folder, S3 (moto), Azure Blob (azurite) and GCS (fake-gcs-server)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.ingest import remote_sources
from labd.ingest.remote_globs import Glob
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_sources import fetch_all, open_source
from tests.fakes.object_stores import LABS, Lab, S3Lab, ServedLab
from tests.fakes.store_door import StoreDoor

NAMES = (
    "a.csv", "a/b.csv", "a/c.json", "a/d/e.csv", "a/d/f/g.csv", "a0.csv", "b.csv", "day=1/x.csv", "day=2/_SUCCESS",
    "day=2/x.csv", "day=2/y.csv", "z/.hidden/x.csv", "z/_temporary/0/x.csv", "z/.x.csv", "z/x.csv~", "z/x.csv.tmp",
    "z/x.csv.part", "z/ü é.csv", "z/100% #1 &+?.csv", "z/empty.csv",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All labs; with a door those that are reached over the wire."""
    is_free = not any(mark.args[0] == "served" for mark in metafunc.definition.iter_markers("parametrize"))
    if "served" in metafunc.fixturenames and is_free:
        names = [
            name for name, kind in LABS.items() if "door" not in metafunc.fixturenames or issubclass(kind, ServedLab)
        ]
        metafunc.parametrize("served", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="labd-") as folder:
        lab = LABS[request.param](Path(folder))
        if isinstance(lab, ServedLab):
            try:
                yield lab.start()
            finally:
                lab.stop()
        else:
            yield lab


@pytest.fixture
def lab(served: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    served.prefix = f"t-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    yield served
    remote_sources._open.clear()


@pytest.fixture
def filled(lab: Lab) -> Lab:
    for name in NAMES:
        lab.put(name, b"" if "empty" in name else name.encode())
    return lab


@pytest.fixture
def door(lab: Lab) -> Iterator[StoreDoor]:
    assert isinstance(lab, ServedLab)
    door = StoreDoor(lab.endpoint, keeps_host=lab.kind != "gs")
    yield door
    door.close()


def through(door: StoreDoor, lab: Lab, pattern: str = "**/*", **more: Any) -> dict[str, Any]:
    """An access by way of the door."""
    assert isinstance(lab, ServedLab)
    access = lab.access(pattern, **more)
    access["options"]["endpoint"] = lab.address.replace(lab.endpoint, door.endpoint)
    return access


def list_all(access: dict[str, Any], count: int = 1000, after: str | None = None) -> list[list[Any]]:
    source, cursor, found = open_source(access), None, []
    while True:
        page = source.pages(cursor, after, count)
        entries = json.loads(page["entries"])
        assert page["count"] == len(entries) <= count
        found += entries
        cursor = page["cursor"]
        if cursor is None:
            return found


def paths(access: dict[str, Any], **more: Any) -> list[str]:
    return [entry[0] for entry in list_all(access, **more)]


def file_of(entry: list[Any]) -> dict[str, Any]:
    return dict(zip(("path", "version", "size_bytes", "modified_at"), entry, strict=True))


@pytest.mark.parametrize(
    "pattern",
    ["**/*", "*.csv", "**/*.csv", "a/*", "a/**", "a/b.csv", "*/*.csv", "day=?/*.csv", "{a,z}/**/*.{csv,json}",
     "a*.csv", "a/d/*/g.csv", "**/d/**/*.csv", "[ab].csv", "{a.csv,day=[!1]/x*}", "nothing/*", "z/[!_]*.csv"],
)  # fmt: skip
def test_lists_exactly_what_the_pattern_matches_sorted_by_path(filled: Lab, pattern: str) -> None:
    expected = sorted(name for name in NAMES if Glob(pattern).matches(name))
    assert paths(filled.access(pattern)) == expected
    assert paths(filled.access(pattern), count=2) == expected


def test_hidden_and_temporary_files_are_left_alone_unless_the_pattern_names_them(filled: Lab) -> None:
    found = paths(filled.access("z/**/*"))
    assert found == ["z/100% #1 &+?.csv", "z/empty.csv", "z/ü é.csv"]
    assert paths(filled.access("z/_temporary/*/x.csv")) == ["z/_temporary/0/x.csv"]
    assert paths(filled.access("z/*.csv.part")) == ["z/x.csv.part"]


def test_an_entry_tells_version_size_and_time(filled: Lab) -> None:
    path, version, size_bytes, modified_at = list_all(filled.access("a/b.csv"))[0]
    assert (path, size_bytes) == ("a/b.csv", 7)
    assert version and isinstance(version, str)
    assert modified_at > 1.7e9


def test_exclusions_leave_out_files_and_folders(filled: Lab) -> None:
    assert paths(filled.access("{a,day=*}/**", exclude=("*.json", "a/d", "day=2/y*"))) == [
        "a/b.csv", "day=1/x.csv", "day=2/x.csv",
    ]  # fmt: skip


def test_after_leaves_out_all_paths_up_to_it(filled: Lab) -> None:
    everything = paths(filled.access())
    for number, after in enumerate(everything):
        assert paths(filled.access(), after=after) == everything[number + 1 :]


def test_a_listing_goes_on_behind_its_cursor_in_another_child(filled: Lab) -> None:
    everything = paths(filled.access())
    page = open_source(filled.access()).pages(None, None, 5)
    remote_sources._open.clear()
    rest = open_source(filled.access()).pages(page["cursor"], None, 1000)
    assert [entry[0] for entry in json.loads(rest["entries"])] == everything[5:]
    assert rest["cursor"] is None


def test_a_version_stays_until_the_file_is_written_again(lab: Lab) -> None:
    lab.put("x.csv", b"one")
    lab.put("y.csv", b"one")
    first = {entry[0]: entry[1] for entry in list_all(lab.access())}
    assert {entry[0]: entry[1] for entry in list_all(lab.access())} == first
    lab.put("x.csv", b"two")
    second = {entry[0]: entry[1] for entry in list_all(lab.access())}
    assert second["x.csv"] != first["x.csv"]
    assert second["y.csv"] == first["y.csv"]


def test_fetches_the_listed_version(filled: Lab, tmp_path: Path) -> None:
    source = open_source(filled.access())
    entries = list_all(filled.access())
    fetched = list(fetch_all(source, [file_of(entry) for entry in entries], str(tmp_path), ahead=3))
    assert [one.path for one in fetched] == [entry[0] for entry in entries]
    for one in fetched:
        content = b"" if "empty" in one.path else one.path.encode()
        assert (one.state, one.data, one.size_bytes) == ("ready", content, len(content))
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        assert one.check() == "ready"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"22222", b"longer than it was"])
def test_another_version_than_the_listed_one_is_not_fetched(lab: Lab, tmp_path: Path, content: bytes) -> None:
    lab.put("x.csv", b"11111")
    file = file_of(list_all(lab.access())[0])
    lab.put("x.csv", content)
    fetched = open_source(lab.access()).fetch(file, str(tmp_path))
    assert (fetched.state, fetched.data, fetched.file) == ("changed", None, None)


def test_a_file_that_is_gone_has_vanished(lab: Lab, tmp_path: Path) -> None:
    lab.put("x.csv", b"11111")
    file = file_of(list_all(lab.access())[0])
    lab.delete("x.csv")
    assert open_source(lab.access()).fetch(file, str(tmp_path)).state == "vanished"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything above 1,000 bytes is a large file, read in pieces of as much."""
    for module in ("remote_files", "remote_local", "remote_objects"):
        monkeypatch.setattr(f"labd.ingest.{module}.SMALL_BYTES", 1000)


@pytest.mark.usefixtures("small")
def test_a_large_file_is_given_as_a_local_path(lab: Lab, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    lab.put("x.bin", content)
    with_large = open_source(lab.access())
    fetched = with_large.fetch(file_of(list_all(lab.access())[0]), str(tmp_path))
    assert (fetched.state, fetched.data, fetched.size_bytes) == ("ready", None, 2560)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    with fetched.open() as stream:
        assert stream.read() == content
    assert fetched.check() == "ready"
    fetched.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_large_file_that_is_overwritten_between_two_pieces_has_changed(
    lab: Lab, door: StoreDoor, tmp_path: Path
) -> None:
    lab.put("x.bin", b"1" * 2500)
    access = through(door, lab)
    file = file_of(list_all(access)[0])
    reads: list[str] = []

    def overwrite(path: str, query: dict[str, str]) -> None:
        if path.endswith("x.bin"):
            reads.append(path)
            if len(reads) == 2:
                lab.put("x.bin", b"2" * 2500)

    door.before = overwrite
    assert open_source(access).fetch(file, str(tmp_path)).state == "changed"
    assert len(reads) >= 2
    assert list(tmp_path.iterdir()) == []


def test_files_wait_for_the_marker_of_their_folder(lab: Lab) -> None:
    for name in ("a/x.csv", "a/y.csv", "b/x.csv", "b/_SUCCESS", "b/day=1/x.csv", "b/deep/x.csv"):
        lab.put(name, b"1")
    access = lab.access("**/*.csv", marker="_SUCCESS")
    page = open_source(access).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["b/day=1/x.csv", "b/x.csv"]
    assert page["unsettled"] == 3
    lab.put("a/_SUCCESS", b"")
    assert paths(access) == ["a/x.csv", "a/y.csv", "b/day=1/x.csv", "b/x.csv"]


def test_a_file_waits_for_its_own_marker(lab: Lab) -> None:
    for name in ("x.csv", "y.csv", "y.csv.done"):
        lab.put(name, b"1")
    access = lab.access("**/*", marker="{name}.done")
    page = open_source(access).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["y.csv"]
    assert page["unsettled"] == 1


def test_a_source_that_is_not_there_is_refused(lab: Lab) -> None:
    access = lab.access()
    access["url"] = access["url"].replace(lab.bucket, "no-such-bucket") if lab.kind != "local" else "file:///no/such"
    with pytest.raises(Refusal) as refused:
        list_all(access)
    # Google answers 404, fake-gcs-server 500.
    assert refused.value.code == ("source_unreachable" if lab.kind == "gs" else "source_refused")


def test_a_bucket_that_is_not_there_is_refused(filled: Lab, door: StoreDoor) -> None:
    door.answers = lambda path, query: (404, "NoSuchBucket")
    with pytest.raises(Refusal, match="there is no such bucket") as refused:
        list_all(through(door, filled))
    assert refused.value.code == "source_refused"


def test_an_option_that_is_not_known_is_refused(lab: Lab) -> None:
    with pytest.raises(Refusal, match="acount") as refused:
        open_source(lab.access(options={"acount": "x"}))
    assert refused.value.code == "source_refused"


def test_a_listing_without_end_in_sight_is_answered_all_the_same(filled: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 10_000, 3))
    source = open_source(filled.access(), clock=lambda: float(next(seconds)))
    page, found = source.pages(None, None, 1000), []
    pages = 1
    while True:
        found += [entry[0] for entry in json.loads(page["entries"])]
        if page["cursor"] is None:
            break
        page, pages = source.pages(page["cursor"], None, 1000), pages + 1
    assert found == sorted(name for name in NAMES if Glob("**/*").matches(name))


def test_prefixes_that_cannot_match_are_not_listed(filled: Lab, door: StoreDoor) -> None:
    assert paths(through(door, filled, "{a/d,day=2}/*.csv")) == ["a/d/e.csv", "day=2/x.csv", "day=2/y.csv"]
    assert {prefix.removeprefix(f"{filled.prefix}/").rstrip("/") for prefix in door.listed} <= {
        "a/d", "a/d/f", "day=2",
    }  # fmt: skip


def test_a_tree_is_listed_in_one_stream(filled: Lab, door: StoreDoor) -> None:
    assert len(paths(through(door, filled, "**/*.csv"))) == 12
    listings = [query for _, _, query in door.asked if {"list-type", "comp"} & set(query)]
    assert len(listings) == 1


def deny(*prefixes: str) -> Callable[[str, dict[str, str]], tuple[int, str] | None]:
    def answers(path: str, query: dict[str, str]) -> tuple[int, str] | None:
        asked = query.get("prefix", "") if {"list-type", "comp"} & set(query) else path
        return (403, "AccessDenied") if any(prefix in asked for prefix in prefixes) else None

    return answers


def test_a_prefix_that_may_not_be_listed_is_told_and_the_rest_goes_on(filled: Lab, door: StoreDoor) -> None:
    door.answers = deny("day=2")
    page = open_source(through(door, filled, "{a/d,day=*}/*.csv")).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["a/d/e.csv", "day=1/x.csv"]
    assert [prefix for prefix, _ in page["denied"]] == ["day=2"]
    assert "403" in page["denied"][0][1]
    assert page["cursor"] is None


def test_a_file_that_may_not_be_read_is_denied(filled: Lab, door: StoreDoor, tmp_path: Path) -> None:
    door.answers = deny("/a/b.csv")
    access = through(door, filled, "a/b.csv")
    fetched = open_source(access).fetch(file_of(list_all(access)[0]), str(tmp_path))
    assert fetched.state == "denied"
    assert "403" in fetched.message


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied"])
def test_a_source_that_may_not_be_listed_at_all_is_refused(filled: Lab, door: StoreDoor, code: str) -> None:
    door.answers = lambda path, query: (403, code)
    access = through(door, filled)
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_refused"
    assert code in refused.value.text
    assert not any(secret in refused.value.text for secret in access["secrets"].values())


def test_an_endpoint_that_refuses_connections_is_unreachable(filled: Lab, door: StoreDoor) -> None:
    access = through(door, filled)
    door.close()
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_unreachable"


def test_an_endpoint_that_never_answers_is_unreachable_in_time(filled: Lab, door: StoreDoor) -> None:
    door.is_silent = True
    access = through(door, filled, options={"timeout_s": "0.2"})
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_unreachable"
    assert len(door.asked) <= 3


def test_small_pages_do_not_begin_the_listing_anew(filled: Lab, door: StoreDoor) -> None:
    assert len(paths(through(door, filled), count=1)) == 13
    assert len([query for _, _, query in door.asked if {"list-type", "comp"} & set(query)]) == 1


@pytest.mark.parametrize("served", ["s3"], indirect=True, scope="module")
class TestKeysOfS3:
    """Keys that no folder could have."""

    def test_the_empty_object_that_stands_for_a_folder_is_no_file(self, lab: Lab) -> None:
        assert isinstance(lab, S3Lab)
        for key in ("a/", "a/x.csv", "a/empty/", "b/"):
            lab.put_raw(key, b"")
        lab.put("nothing", b"")
        for pattern in ("**/*", "*", "*/*", "{a,b,nothing}/**"):
            expected = sorted(name for name in ("a/x.csv", "nothing") if Glob(pattern).matches(name))
            assert paths(lab.access(pattern)) == expected

    def test_a_key_with_an_empty_name_is_told_and_the_rest_goes_on(self, lab: Lab) -> None:
        assert isinstance(lab, S3Lab)
        for key in ("a/x.csv", "b//x.csv", "b/y.csv", "c/x.csv"):
            lab.put_raw(key, b"1")
        page = open_source(lab.access("**/*.csv")).pages(None, None, 100)
        assert [entry[0] for entry in json.loads(page["entries"])] == ["a/x.csv", "c/x.csv"]
        assert page["denied"] == [("b", "holds an object with an empty name or `.` in its path; rename it")]

    def test_a_folder_is_read_from_the_first_name_that_can_match(self, lab: Lab, door: StoreDoor) -> None:
        for name in ("a/x.csv", "part-1.csv", "part-2.csv", "part-2/x.csv", "part-2a.csv", "part-3.csv"):
            lab.put(name, b"1")
        assert paths(through(door, lab, "part-2*.csv")) == ["part-2.csv", "part-2a.csv"]
        starts = [query.get("start-after", "").removeprefix(f"{lab.prefix}/") for _, _, query in door.asked]
        assert starts == ["part-1\U0010ffff", "part-2/\U0010ffff"]

    def test_a_folder_with_many_folders_is_listed_by_delimiter_in_the_end(self, lab: Lab, door: StoreDoor) -> None:
        for number in range(40):
            lab.put(f"{number:02}/x.csv", b"1")
        lab.put("90.csv", b"1")
        assert paths(through(door, lab, "*.csv")) == ["90.csv"]
        assert len(door.asked) == 21


@pytest.mark.parametrize("served", ["azure"], indirect=True, scope="module")
def test_a_wrong_key_is_told_without_the_key(filled: Lab) -> None:
    wrong = "d3Jvbmcga2V5IGNhbmFyeQ=="
    with pytest.raises(Refusal) as refused:
        list_all(filled.access(secrets={"account_key": wrong}))
    assert refused.value.code == "source_refused"
    assert "HTTP 403" in refused.value.text
    assert wrong not in refused.value.text


def test_credentials_are_asked_for_and_not_searched_for(filled: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(filled, ServedLab):
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"):
        monkeypatch.setenv(name, "c3VycHJpc2U=")
    access = filled.access()
    access["secrets"] = {}
    with pytest.raises(Refusal, match="no credentials; give ") as refused:
        open_source(access)
    assert refused.value.code == "source_refused"
    assert paths(filled.access("a/b.csv")) == ["a/b.csv"]

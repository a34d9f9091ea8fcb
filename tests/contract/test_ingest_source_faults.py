"""What object stores owe beyond it, seen from the wire: what is not asked for, not allowed, or not answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from labd.ingest.remote_globs import Glob
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_sources import open_source
from tests.fakes.object_stores import Lab, S3Lab, ServedLab
from tests.fakes.source_rig import file_of, list_all, paths, through
from tests.fakes.store_door import StoreDoor


@pytest.mark.usefixtures("small_limit")
def test_a_large_file_that_is_overwritten_between_two_pieces_has_changed(
    source_lab: Lab, store_door: StoreDoor, tmp_path: Path
) -> None:
    source_lab.put("x.bin", b"1" * 2500)
    access = through(store_door, source_lab)
    file = file_of(list_all(access)[0])
    reads: list[str] = []

    def overwrite(path: str, query: dict[str, str]) -> None:
        if path.endswith("x.bin"):
            reads.append(path)
            if len(reads) == 2:
                source_lab.put("x.bin", b"2" * 2500)

    store_door.before = overwrite
    assert open_source(access).fetch(file, str(tmp_path)).state == "changed"
    assert len(reads) >= 2
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_is_not_there_is_refused(filled_lab: Lab, store_door: StoreDoor) -> None:
    store_door.answers = lambda path, query: (404, "NoSuchBucket")
    with pytest.raises(Refusal, match="there is no such bucket") as refused:
        list_all(through(store_door, filled_lab))
    assert refused.value.code == "source_refused"


def test_prefixes_that_cannot_match_are_not_listed(filled_lab: Lab, store_door: StoreDoor) -> None:
    assert paths(through(store_door, filled_lab, "{a/d,day=2}/*.csv")) == ["a/d/e.csv", "day=2/x.csv", "day=2/y.csv"]
    assert {prefix.removeprefix(f"{filled_lab.prefix}/").rstrip("/") for prefix in store_door.listed} <= {
        "a/d", "a/d/f", "day=2",
    }  # fmt: skip


def test_a_tree_is_listed_in_one_stream(filled_lab: Lab, store_door: StoreDoor) -> None:
    assert len(paths(through(store_door, filled_lab, "**/*.csv"))) == 12
    listings = [query for _, _, query in store_door.asked if {"list-type", "comp"} & set(query)]
    assert len(listings) == 1


def deny(*prefixes: str) -> Callable[[str, dict[str, str]], tuple[int, str] | None]:
    def answers(path: str, query: dict[str, str]) -> tuple[int, str] | None:
        asked = query.get("prefix", "") if {"list-type", "comp"} & set(query) else path
        return (403, "AccessDenied") if any(prefix in asked for prefix in prefixes) else None

    return answers


def test_a_prefix_that_may_not_be_listed_is_told_and_the_rest_goes_on(filled_lab: Lab, store_door: StoreDoor) -> None:
    store_door.answers = deny("day=2")
    page = open_source(through(store_door, filled_lab, "{a/d,day=*}/*.csv")).pages(None, None, 100)
    assert [entry[0] for entry in json.loads(page["entries"])] == ["a/d/e.csv", "day=1/x.csv"]
    assert [prefix for prefix, _ in page["denied"]] == ["day=2"]
    assert "403" in page["denied"][0][1]
    assert page["cursor"] is None


def test_a_file_that_may_not_be_read_is_denied(filled_lab: Lab, store_door: StoreDoor, tmp_path: Path) -> None:
    store_door.answers = deny("/a/b.csv")
    access = through(store_door, filled_lab, "a/b.csv")
    fetched = open_source(access).fetch(file_of(list_all(access)[0]), str(tmp_path))
    assert fetched.state == "denied"
    assert fetched.message == "it cannot be read (HTTP 403 AccessDenied); mend that, then `labctl ingest retry`"


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied"])
def test_a_source_that_may_not_be_listed_at_all_is_refused(filled_lab: Lab, store_door: StoreDoor, code: str) -> None:
    store_door.answers = lambda path, query: (403, code)
    access = through(store_door, filled_lab)
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_refused"
    assert code in refused.value.text
    assert not any(secret in refused.value.text for secret in access["secrets"].values())


def test_an_endpoint_that_refuses_connections_is_unreachable(filled_lab: Lab, store_door: StoreDoor) -> None:
    access = through(store_door, filled_lab)
    store_door.close()
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_unreachable"


def test_an_endpoint_that_never_answers_is_unreachable_in_time(filled_lab: Lab, store_door: StoreDoor) -> None:
    store_door.is_silent = True
    access = through(store_door, filled_lab, options={"timeout_s": "0.2"})
    with pytest.raises(Refusal) as refused:
        list_all(access)
    assert refused.value.code == "source_unreachable"
    assert len(store_door.asked) <= 3


def test_small_pages_do_not_begin_the_listing_anew(filled_lab: Lab, store_door: StoreDoor) -> None:
    assert len(paths(through(store_door, filled_lab), count=1)) == 13
    assert len([query for _, _, query in store_door.asked if {"list-type", "comp"} & set(query)]) == 1


@pytest.mark.parametrize("source_server", ["s3"], indirect=True, scope="module")
class TestKeysOfS3:
    """Keys that no folder could have."""

    def test_the_empty_object_that_stands_for_a_folder_is_no_file(self, source_lab: Lab) -> None:
        assert isinstance(source_lab, S3Lab)
        for key in ("a/", "a/x.csv", "a/empty/", "b/"):
            source_lab.put_raw(key, b"")
        source_lab.put("nothing", b"")
        for pattern in ("**/*", "*", "*/*", "{a,b,nothing}/**"):
            expected = sorted(name for name in ("a/x.csv", "nothing") if Glob(pattern).matches(name))
            assert paths(source_lab.access(pattern)) == expected

    def test_a_key_with_an_empty_name_is_told_and_the_rest_goes_on(self, source_lab: Lab) -> None:
        assert isinstance(source_lab, S3Lab)
        for key in ("a/x.csv", "b//x.csv", "b/y.csv", "c/x.csv"):
            source_lab.put_raw(key, b"1")
        page = open_source(source_lab.access("**/*.csv")).pages(None, None, 100)
        assert [entry[0] for entry in json.loads(page["entries"])] == ["a/x.csv", "c/x.csv"]
        assert page["denied"] == [("b", "holds an object with an empty name or `.` in its path; rename it")]

    def test_a_folder_is_read_from_the_first_name_that_can_match(self, source_lab: Lab, store_door: StoreDoor) -> None:
        for name in ("a/x.csv", "part-1.csv", "part-2.csv", "part-2/x.csv", "part-2a.csv", "part-3.csv"):
            source_lab.put(name, b"1")
        assert paths(through(store_door, source_lab, "part-2*.csv")) == ["part-2.csv", "part-2a.csv"]
        starts = [
            query.get("start-after", "").removeprefix(f"{source_lab.prefix}/") for _, _, query in store_door.asked
        ]
        assert starts == ["part-1\U0010ffff", "part-2/\U0010ffff"]

    def test_a_folder_with_many_folders_is_listed_by_delimiter_in_the_end(
        self, source_lab: Lab, store_door: StoreDoor
    ) -> None:
        for number in range(40):
            source_lab.put(f"{number:02}/x.csv", b"1")
        source_lab.put("90.csv", b"1")
        assert paths(through(store_door, source_lab, "*.csv")) == ["90.csv"]
        assert len(store_door.asked) == 21


@pytest.mark.parametrize("source_server", ["azure"], indirect=True, scope="module")
def test_a_wrong_key_is_told_without_the_key(filled_lab: Lab) -> None:
    wrong = "d3Jvbmcga2V5IGNhbmFyeQ=="
    with pytest.raises(Refusal) as refused:
        list_all(filled_lab.access(secrets={"account_key": wrong}))
    assert refused.value.code == "source_refused"
    assert "HTTP 403" in refused.value.text
    assert wrong not in refused.value.text


def test_credentials_are_asked_for_and_not_searched_for(filled_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(filled_lab, ServedLab):
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN"):
        monkeypatch.setenv(name, "c3VycHJpc2U=")
    access = filled_lab.access()
    access["secrets"] = {}
    with pytest.raises(Refusal, match="no credentials; give ") as refused:
        open_source(access)
    assert refused.value.code == "source_refused"
    assert paths(filled_lab.access("a/b.csv")) == ["a/b.csv"]

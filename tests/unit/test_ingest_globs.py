"""Which paths a glob matches, and which folders it asks for."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.ingest.remote_globs import Exclusions, Glob, expand
from labd.ingest.remote_refusal import Refusal

MATCHES = (
    ("*", "a", True),
    ("*", "a/b", False),
    ("**", "a", True),
    ("**", "a/b/c", True),
    ("**/*", "a/b", True),
    ("a/**", "a/b/c", True),
    ("a/**", "a", False),
    ("a/**", "ab/c", False),
    ("a/**/c", "a/c", True),
    ("a/**/c", "a/x/y/c", True),
    ("a/**/c", "a/x/yc", False),
    ("**/b/**/d", "a/b/c/d", True),
    ("**/b/**/d", "b/d", True),
    ("**/b/**/d", "a/c/d", False),
    ("a**b", "axxb", True),
    ("a**b", "ax/xb", False),
    ("?.csv", "a.csv", True),
    ("?.csv", ".csv", False),
    ("?.csv", "ab.csv", False),
    ("?", "é", True),
    ("[a-c].x", "b.x", True),
    ("[a-c].x", "d.x", False),
    ("[!a-c].x", "d.x", True),
    ("[^a-c].x", "b.x", False),
    ("[]].x", "].x", True),
    ("[[].x", "[.x", True),
    ("[a", "[a", True),
    ("[a-].x", "-.x", True),
    ("[&&~||].x", "&.x", True),
    ("[\\d].x", "5.x", False),
    ("\\*.x", "*.x", True),
    ("\\*.x", "a.x", False),
    ("{a,b}.x", "b.x", True),
    ("{a,b}.x", "c.x", False),
    ("{a,b{c,d}}.x", "bd.x", True),
    ("{a/b,c}/*.x", "a/b/1.x", True),
    ("{a/b,c}/*.x", "c/1.x", True),
    ("{,a}b", "b", True),
    ("{a}", "{a}", True),
    ("{a,b", "{a,b", True),
    ("\\{a,b\\}", "{a,b}", True),
    ("a.x", "aax", False),
    ("A.x", "a.x", False),
    ("/a//b/./c", "a/b/c", True),
    ("a\nb*", "a\nbc", True),
    ("*.csv", "a\n.csv", True),
    # hidden and temporary names
    ("*", ".a", False),
    ("*", "_a", False),
    ("*", "_day=3", True),
    ("?a", ".a", False),
    ("[._]a", ".a", False),
    ("**/*", "a/.git/x", False),
    ("**/*", "a/_temporary/x", False),
    ("**/*", "_day=3/x", True),
    (".*", ".a", True),
    ("_a/*", "_a/x", True),
    ("**/_a/*", "x/_a/y", True),
    ("*", "a~", False),
    ("*", "a.tmp", False),
    ("*", "a.TMP", False),
    ("*", "a.part", False),
    ("*.tmp", "a.tmp", True),
    ("a.*", "a.part", False),
    ("*", "a.partx", True),
    ("a*/x", "a.tmp/x", False),
)


@pytest.mark.parametrize(("pattern", "path", "matches"), MATCHES)
def test_a_pattern_matches(pattern: str, path: str, matches: bool) -> None:
    assert Glob(pattern).matches(path) is matches


@pytest.mark.parametrize(
    ("pattern", "folders", "is_deep"),
    [("a/b/*.x", ["a"], False), ("{b,a}/*", ["a", "b"], False), ("*.x", [], False), ("a*/*", None, False),
     ("**/*", None, True), ("{a/*,*.x}", ["a"], False), ("{a/*,[b]/*}", None, False)],
)  # fmt: skip
def test_a_pattern_names_the_folders_that_are_worth_a_listing(
    pattern: str, folders: list[str] | None, is_deep: bool
) -> None:
    glob = Glob(pattern)
    assert glob.is_deep(glob.start) is is_deep
    assert glob.folders(glob.start) == folders


@pytest.mark.parametrize(
    ("pattern", "begins"),
    [
        ("part-*.x", "part-"),
        ("{part-1*,part-2*}", "part-"),
        ("{a*,b*}", ""),
        ("*", ""),
        ("abc", "abc"),
        ("{ab,abc*}", "ab"),
    ],
)
def test_a_pattern_tells_what_its_names_begin_with(pattern: str, begins: str) -> None:
    glob = Glob(pattern)
    assert glob.beginning(glob.start) == begins


def test_a_folder_that_cannot_match_is_known_as_such() -> None:
    glob = Glob("a/*/c/*.x")
    in_b = glob.down(glob.down(glob.start, "a"), "b")
    assert glob.down(glob.start, "b") == frozenset()
    assert glob.down(in_b, "d") == frozenset()
    assert glob.down(in_b, "c") != frozenset()


@pytest.mark.parametrize(
    ("patterns", "path", "is_left_out"),
    [(("*.bak",), "a/b/x.bak", True), (("*.bak",), "x.csv", False), (("old",), "a/old/x", True),
     (("a/old",), "b/a/old/x", False), (("a/old",), "a/old/b/x", True), (("**/x*",), "a/.x", False),
     (("*",), ".hidden", True), ((), "a", False)],
)  # fmt: skip
def test_an_exclusion_leaves_out(patterns: tuple[str, ...], path: str, is_left_out: bool) -> None:
    assert Exclusions(patterns).leave_out_below(path) is is_left_out


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(Refusal, match=r"pattern 'x\[z-a\]': 'x\[z-a\]' is no glob") as refused:
        Glob("x[z-a]")
    assert refused.value.code == "source_refused"


def test_braces_that_make_too_much_are_refused() -> None:
    with pytest.raises(Refusal, match="more than 1000 alternatives"):
        expand("{0,1,2,3,4,5,6,7,8,9}" * 7)


def test_a_pattern_of_many_stars_is_answered_at_once() -> None:
    assert not Glob("*a" * 12 + "b").matches("a" * 60)


@given(st.text("ab*?", min_size=1, max_size=8).filter(lambda text: text != "**"), st.text("ab", min_size=1, max_size=8))
def test_a_pattern_of_one_name_matches_as_the_standard_library_has_it(pattern: str, name: str) -> None:
    assert Glob(pattern).matches(name) is fnmatchcase(name, pattern)

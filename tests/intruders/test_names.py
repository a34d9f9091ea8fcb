"""Names and filters that carry SQL, Cypher or a path: bound, quoted or refused, wherever they go in."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.engine.job import INTERNAL, Submission
from labd.engine.views import JobFilter
from labd.errors import BadRequest, GraphRefused, LabdError
from labd.ingest.remote_globs import Glob
from labd.ingest.remote_refusal import Refusal
from labd.snapshots import names
from labd.snapshots.embedded_statement import reading
from tests.fakes.api_door import open_engine

SQL = (
    "' OR 1=1 --",
    "'; DROP TABLE jobs; --",
    "%",
    "_",
    "\\",
    "\\%",
    "x\0y",
    "a' UNION SELECT * FROM tokens --",
    "\u202e",
)
WRITING = (
    "MATCH (n) DELETE n",
    "MATCH (n) SET n.x = 1 RETURN n",
    "MATCH (n) /* x */ DETACH /**/ DELETE n",
    "MATCH (n) // x\nREMOVE n.x",
    "CREATE (n:X)",
    "MERGE (n:X)",
    "MATCH (n) RETURN n; DROP TABLE Person",
    "COPY Person TO '/tmp/x.csv'",
    "LOAD CSV FROM 'file:///etc/passwd' AS row RETURN row",
    "LOAD FROM '/etc/passwd' RETURN *",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "ATTACH '/etc/passwd' AS x",
    "INSTALL httpfs",
    "LOAD EXTENSION '/tmp/x.so'",
    "CALL threads=1 RETURN 1",
    "CALL dbms.security.createUser('x', 'y')",
    "CALL apoc.load.json('http://127.0.0.1/') YIELD value RETURN value",
    "PROFILE EXPLAIN CREATE (n)",
    "match (n) dElEtE n",
    "MATCH (n) WHERE n.x = 'a\\\\' DELETE n //'",
    "\ufeffCREATE (n)",
    "MATCH (n) \u00a0DELETE n",
    "BEGIN TRANSACTION",
    "USE other MATCH (n) RETURN n",
    "ALTER TABLE Person DROP name",
    "COMMENT ON TABLE Person IS 'x'",
)
PATHS = (
    "..",
    ".",
    "../x",
    "a/b",
    "/etc",
    "a\0b",
    "a\nb",
    ".hidden",
    "a.",
    "-rf",
    "x" * 129,
    "",
    "ä",
    "a\\b",
    "~",
    "a\u2215b",
)


@pytest.mark.parametrize("text", SQL)
async def test_filters_are_bound_and_their_wildcards_are_letters(state_dir: Path, text: str) -> None:
    async with open_engine(state_dir) as engine:
        for number in range(3):
            await engine.submit_one(Submission("test.add", {"a": number}), INTERNAL)
        assert await engine.jobs(JobFilter(text=text)) == []
        assert len(await engine.jobs(JobFilter())) == 3
        if text == "_":
            return  # a tag like any other
        with pytest.raises(BadRequest):
            await engine.submit_one(Submission("test.add", {"a": 1}, tags=[text]), INTERNAL)


@pytest.mark.parametrize("cypher", WRITING)
def test_a_query_that_does_more_than_read_is_refused(cypher: str) -> None:
    with pytest.raises(GraphRefused):
        reading(cypher)


@pytest.mark.parametrize(
    "cypher",
    ["MATCH (n) WHERE n.`DELETE` = 'CREATE' RETURN n", "MATCH (n:`DROP`) RETURN n.set, n.delete", "RETURN 'x; y'"],
)
def test_a_query_that_only_looks_like_writing_is_read(cypher: str) -> None:
    assert reading(cypher)


@pytest.mark.parametrize("name", PATHS)
def test_a_folder_that_is_no_plain_name_is_no_customer_and_reaches_no_store(name: str) -> None:
    assert names.customer_fault(name) is not None
    with pytest.raises(LabdError):
        names.alias_of(name)


@given(
    st.text(st.sampled_from("abAB01._-"), min_size=1, max_size=12),
    st.text(st.sampled_from("abAB01._-"), min_size=1, max_size=12),
)
def test_two_customers_never_share_an_alias_nor_own_each_others_databases(one: str, other: str) -> None:
    if one == other or names.customer_fault(one) or names.customer_fault(other):
        return
    assert names.alias_of(one) != names.alias_of(other)
    assert not names.belongs(names.database_of(one, "17"), other)


@given(st.text(max_size=40))
def test_a_quoted_identifier_is_one_token_whatever_is_in_it(text: str) -> None:
    try:
        quoted = names.quote(text)
    except GraphRefused:
        return
    inside = quoted[1:-1]
    assert hashlib.sha256(inside.replace("``", "`").encode()).digest() == hashlib.sha256(text.encode()).digest()
    assert "`" not in inside.replace("``", "")


@pytest.mark.parametrize(
    "pattern", ["*a" * 200 + "*b", "**/" * 60 + "b", "[a-z]*" * 200 + "b", "{a,b}" * 5 + "*a" * 99 + "b"]
)
def test_a_pattern_of_many_stars_is_answered_at_once(pattern: str) -> None:
    started = time.process_time()
    try:
        found = Glob(pattern).matches("a" * 250 + "/" + "a" * 250)
    except Refusal:
        found = False
    assert not found
    assert time.process_time() - started < 2.0

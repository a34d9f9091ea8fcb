"""Names of customers, databases and aliases: one-to-one whatever folders are called."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import BadRequest, GraphRefused
from labd.snapshots import names

NEO4J_NAME = re.compile(r"[a-z][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
ENDS = string.ascii_letters + string.digits
customers = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", fullmatch=True).filter(str.isascii)
# Short names from few characters meet in case, dash, dot, and in what looks like a version or a digest.
near = st.text(alphabet="aA-._v1", min_size=1, max_size=8).filter(lambda name: names.customer_fault(name) is None)
timestamps = st.integers(0, 10**19 - 1).map(str)
anything = st.one_of(customers, near)


@given(anything, timestamps)
def test_a_database_has_a_name_that_neo4j_takes(customer: str, timestamp: str) -> None:
    database = names.database_of(customer, timestamp)
    assert NEO4J_NAME.fullmatch(database)
    assert NEO4J_NAME.fullmatch(names.alias_of(customer))
    assert not database.startswith("system") and not names.alias_of(customer).startswith("system")
    assert names.check_database(database) == database


@given(anything, timestamps, anything, timestamps)
def test_two_versions_never_share_a_database(one: str, first: str, other: str, second: str) -> None:
    same = names.database_of(one, first).lower() == names.database_of(other, second).lower()
    assert same == ((one, first) == (other, second))


@given(near, near)
def test_customers_that_differ_in_case_dash_or_dot_never_share_an_alias(one: str, other: str) -> None:
    assert (names.alias_of(one) == names.alias_of(other)) == (one == other)


@given(anything, anything, timestamps)
def test_an_alias_is_never_a_database(one: str, other: str, timestamp: str) -> None:
    assert names.alias_of(one) != names.database_of(other, timestamp)
    assert names.version_of(names.alias_of(one)) is None


@given(anything, timestamps)
def test_a_database_tells_its_version(customer: str, timestamp: str) -> None:
    assert names.version_of(names.database_of(customer, timestamp)) == (names.alias_of(customer), timestamp)


@given(anything, anything, timestamps)
def test_a_database_belongs_to_one_customer(one: str, other: str, timestamp: str) -> None:
    assert names.belongs(names.database_of(one, timestamp), other) == (one == other)


@given(st.integers(43, 128))
def test_long_names_that_differ_at_the_end_do_not_meet(length: int) -> None:
    first, second = "a" * length, "a" * (length - 1) + "b"
    assert names.alias_of(first) != names.alias_of(second)


@pytest.mark.parametrize(
    ("customer", "alias"),
    [
        ("acme", "acme"),
        ("acme-eu", "acme-eu"),
        ("customer1", "customer1"),
        ("customer-1", "customer-1"),
        ("Acme", "acme--g4bwzwhzorwtguby5sus7cttvz"),
        ("acme_eu", "acme-eu--grx5lbtem2kbzjqzqeribwylsn"),
        ("system1", "c-system1--qidzdc2zvmbo364m6pbg7kv2we"),
        ("7up", "c-7up--xy43dz2fbgnzqdei5vazfyaas3"),
        ("acme-v7", "acme-v7--wxfocupurmki4frzzzud3zwbyk"),
    ],
)
def test_alias_of_a_customer(customer: str, alias: str) -> None:
    assert names.alias_of(customer) == alias


def test_acme_eu_is_not_acme() -> None:
    database = names.database_of("acme-eu", "1767741527")
    assert database == "acme-eu-v1767741527"
    assert names.belongs(database, "acme-eu")
    assert not names.belongs(database, "acme")


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../etc", "a/b", "a b", "-rf", "a-", ".hidden", "a`b", "a'; DROP DATABASE neo4j; //", "a\n",
        "a\0b",
        "ä", "а",  # the second is Cyrillic
        "a\\u0060b", "x" * 129, "%2e%2e", "a;b", "a$b", "٣",
    ],
)  # fmt: skip
def test_hostile_customers_are_refused_by_name(name: str) -> None:
    assert names.customer_fault(name)
    with pytest.raises(BadRequest):
        names.alias_of(name)


@pytest.mark.parametrize("name", ["", "01", "-1", "1.5", "1e3", "٣", "1\n", "9" * 20, "latest", "1767741527.tmp"])
def test_what_is_no_timestamp_is_refused_by_name(name: str) -> None:
    assert names.timestamp_fault(name)
    with pytest.raises(BadRequest):
        names.database_of("acme", name)


def test_the_message_says_what_is_allowed() -> None:
    assert names.customer_fault("a b") == (
        "'a b' is no customer: letters, digits, dot, dash and underscore, a letter or digit at both ends"
    )


@given(st.text())
def test_nothing_leaves_a_quoted_identifier(identifier: str) -> None:
    try:
        quoted = names.quote(identifier)
    except GraphRefused:
        assert not identifier or "\0" in identifier or "\\u" in identifier.lower()
        return
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")
    assert quoted[1:-1].replace("``", "`") == identifier


@pytest.mark.parametrize("identifier", ["a\\u0060) DETACH DELETE n //", "a\\U0060", "", "a\0"])
def test_what_no_quotes_hold_is_refused(identifier: str) -> None:
    with pytest.raises(GraphRefused):
        names.quote(identifier)


@pytest.mark.parametrize("name", ["ab", "1ab", "a_b", "system", "System-x", "ab-", "ab.", "../a", "a" * 64, "äbc", ""])
def test_names_that_no_database_has(name: str) -> None:
    with pytest.raises(GraphRefused):
        names.check_database(name)


def test_case_says_nothing_in_the_name_of_a_database() -> None:
    assert names.check_database("Acme-V1") == "acme-v1"

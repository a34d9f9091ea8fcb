"""What the Spark engine decides before it asks Spark: addresses, names, types, filters, partitions."""

from __future__ import annotations

from typing import Any

import pytest

from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_spark_commit import literal
from labd.ingest.remote_spark_plan import SparkPlan
from labd.ingest.remote_spark_session import Spark, first_line, is_lost
from labd.ingest.remote_spark_table import State, catalog_conf, check_filter, jdbc_uri, partition, partitions
from labd.ingest.remote_spark_types import quote, to_spark

COLUMNS = [{"name": "id", "type": "long"}, {"name": "region", "type": "string"}, {"name": "at", "type": "timestamptz"}]
RULE: dict[str, Any] = {"mode": "evolve", "evolution": "additive-auto", "columns": []}


def address(url: str, token: str = "") -> tuple[str, int, str]:
    return Spark({"url": url, "secrets": {"token": token}})._address()


@pytest.mark.parametrize(
    ("url", "token", "found"),
    [
        ("sc://spark.lab", "", ("spark.lab", 15002, "sc://spark.lab")),
        ("sc://localhost:7077", "a b", ("localhost", 7077, "sc://localhost:7077/;token=a%20b")),
        ("sc://lab:1/;use_ssl=true", "t", ("lab", 1, "sc://lab:1/;use_ssl=true;token=t")),
        ("sc://[::1]:7", "", ("::1", 7, "sc://[::1]:7")),
    ],
)
def test_an_address_is_read(url: str, token: str, found: tuple[str, int, str]) -> None:
    assert address(url, token) == found


@pytest.mark.parametrize("host", ["127.0.0.1", "spark.lab", "localhost.lab"])
def test_a_token_goes_over_plain_text_to_localhost_only(host: str) -> None:
    with pytest.raises(Refusal, match="a token goes over plain text to `localhost` only") as refused:
        address(f"sc://{host}:15002", "canary")
    assert refused.value.code == "cluster_unreachable"
    assert "canary" not in refused.value.text


def test_a_token_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(Refusal, match="take it out") as refused:
        address("sc://localhost/;token=canary")
    assert "canary" not in refused.value.text


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("sqlite:////var/lib/labd/catalog.db", "jdbc:sqlite:/var/lib/labd/catalog.db"),
        ("postgresql+psycopg2://db/cat", "jdbc:postgresql://db/cat"),
    ],
)
def test_a_catalogues_address_as_java_has_it(uri: str, found: str) -> None:
    assert jdbc_uri(uri) == found


def test_a_catalogue_keeps_its_words_and_no_table_in_memory() -> None:
    rest = catalog_conf("lake", {"type": "rest", "uri": "http://x", "warehouse": "s3://b/w", "s3.region": "eu"})
    assert rest == {
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.cache-enabled": "false",
        "spark.sql.catalog.lake.type": "rest",
        "spark.sql.catalog.lake.uri": "http://x",
        "spark.sql.catalog.lake.warehouse": "s3://b/w",
        "spark.sql.catalog.lake.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.lake.client.region": "eu",
    }


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("long", "bigint"),
        ("timestamptz", "timestamp"),
        ("timestamp", "timestamp_ntz"),
        ("decimal(10, 2)", "decimal(10, 2)"),
        ("struct<a: long, `b c`: list<string>>", "struct<`a`: bigint, `b c`: array<string>>"),
        ("map<string, double>", "map<string, double>"),
    ],
)
def test_types_in_sparks_words(words: str, found: str) -> None:
    assert to_spark(words) == found


@pytest.mark.parametrize("words", ["time", "fixed[16]"])
def test_a_type_that_spark_has_not_is_refused(words: str) -> None:
    with pytest.raises(Refusal, match="engine spark has no type"):
        to_spark(words)


@pytest.mark.parametrize(
    "where",
    ["amount > 3 and region == 'eu'", "id in (1, 2) or not (x is null)", "t < '2026-01-01T00:00:00Z' and n != -1.5e3"],
)
def test_filters_that_only_compare_pass(where: str) -> None:
    check_filter(where)


@pytest.mark.parametrize(
    "where",
    ["java_method('java.lang.System', 'exit')", "id in (select 1)", "exists (x)", "1; drop table x", "a -- b\n$"],
)
def test_filters_that_do_more_are_refused(where: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        check_filter(where)


def test_a_word_in_a_text_is_no_call() -> None:
    check_filter("note == 'select (from) x'")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("region", "`region`"), ("days(at)", "days(`at`)"), ("year(at)", "years(`at`)"),
        ("bucket(16, id)", "bucket(16, `id`)"), ("truncate(4, region)", "truncate(4, `region`)"),
    ],
)  # fmt: skip
def test_partitions_in_sparks_words(text: str, found: str) -> None:
    assert partition(text, COLUMNS, "lake.t") == found


def test_partitions_are_told_as_they_were_asked_for() -> None:
    rows = [("id", "bigint"), ("# Partitioning", ""), ("Part 0", "days(at)"), ("Part 1", "bucket(4, id)"), ("", "")]
    assert partitions(rows) == ["days(at)", "bucket(4, id)"]


def test_tokens_of_expired_snapshots_stand_before_those_that_are_there() -> None:
    state = State(
        "uuid", 2, {"labd.tokens.sales": '[["a", "t1"], ["b", "t2"]]', "other": "x"},
        {1: {"labd.token": "b", "labd.try": "t2"}, 2: {"operation": "delete"}, 3: {"labd.token": "c"}},
    )  # fmt: skip
    assert state.marks() == {"a": ("t1", None), "b": ("t2", 1), "c": (None, 3)}


def plan(known: list[dict[str, str]] | None, **rule: Any) -> SparkPlan:
    return SparkPlan({"schema": {**RULE, **rule}, "approved": []}, known, "lake.t")


def test_the_columns_of_a_new_table_hold_the_values_of_all_files() -> None:
    made = plan(None)
    made.take([("a", [{"name": "x", "type": "long"}]), ("b", [{"name": "X", "type": "double"}])])
    assert made.columns == [{"name": "x", "type": "double"}]
    assert made.changes == []


def test_a_frozen_table_names_file_and_column() -> None:
    frozen = plan([{"name": "id", "type": "int"}], evolution="freeze")
    with pytest.raises(Refusal, match=r"b\.jsonl brings column id \(long\), which is int in the table"):
        frozen.take([("b.jsonl", [{"name": "id", "type": "long"}])])


def test_a_type_that_does_not_fit_is_told_and_needs_nobody() -> None:
    asking = plan([{"name": "id", "type": "long"}], evolution="approve")
    asking.take([("a", [{"name": "id", "type": "string"}])])
    assert ([one["kind"] for one in asking.changes], asking.pending) == (["conflict"], [])


@pytest.mark.parametrize(
    ("mode", "known", "needs"), [("infer", None, True), ("infer", [], False), ("fixed", None, False)]
)
def test_files_are_read_once_where_the_columns_are_known(mode: str, known: list[Any] | None, needs: bool) -> None:
    assert plan(known, mode=mode).needs_look is needs


def test_names_and_texts_cannot_leave_their_quotes() -> None:
    assert quote("a`b", "c") == "`a``b`.`c`"
    assert literal("a'b\\") == "'a\\'b\\\\'"


def test_what_spark_says_is_told_without_its_stack() -> None:
    fault = RuntimeError(
        "An error occurred while calling o83.x.\n: org.a.ValidationException: Found 2 files\n\tat org.a.B(C.java:1)"
    )
    assert first_line(fault) == "org.a.ValidationException: Found 2 files"
    assert not is_lost(fault)
    assert is_lost(RuntimeError("StatusCode.UNAVAILABLE: failed to connect"))

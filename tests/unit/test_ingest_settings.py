"""The table [ingest], what a definition may not say, and how secrets are resolved at the moment of use."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from labd.errors import SourceRefused, TableRefused
from labd.ingest.access import catalog_access, source_access, table_name
from labd.ingest.checks import Known, faults, secret_keys
from labd.ingest.definition import Column, Definition, Destination, Format, Quality, Schedule, SchemaRule, Source
from labd.ingest.settings import IngestSettings, parse
from labd.settings import Problems

WHOLE = """
high_memory_mib = 8192
[spark]
url = "sc://localhost:15002"
token = "env:SPARK_TOKEN"
[catalog.lake]
type = "rest"
uri = "https://catalog.example/api"
warehouse = "s3://lake/w"
properties = { "s3.region" = "eu-west-1" }
secrets = { token = "env:LAKE_TOKEN" }
[credentials.bucket]
options = { endpoint = "http://minio.lan:9000", region = "eu" }
secrets = { access_key_id = "env:ID", secret_access_key = "env:KEY" }
[definition.readings]
source = { url = "s3://in/readings", credentials = "bucket", options = { region = "us" }, marker = "_SUCCESS" }
format = { type = "csv" }
destination = { catalog = "lake", namespace = "lab", table = "readings", partition_by = ["days(ts)"] }
"""
STATE = Path("/var/lib/labd")
ENVIRON = {"ID": "canary-id", "KEY": "canary-key", "LAKE_TOKEN": "canary-token"}


def read(text: str) -> tuple[IngestSettings, list[str]]:
    problems = Problems()
    return parse(tomllib.loads(text), "labd.toml", problems), problems.lines()


def small(**given: Any) -> Definition:
    fields: dict[str, Any] = {
        "source": Source(url="s3://b/p"), "format": Format(type="csv"), "destination": Destination(table="t"),
    }  # fmt: skip
    return Definition(**{"name": "small", **fields, **given})


def test_the_whole_table_is_read() -> None:
    settings, problems = read(WHOLE)
    assert problems == []
    assert (settings.high_memory_mib, settings.memory_mib, settings.max_attempts) == (8192, 1024, 4)
    assert settings.catalogs == {"default", "lake"}
    assert settings.definition["readings"].name == "readings"
    assert settings.spark.url == "sc://localhost:15002"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("memory_mb = 1", "ingest.memory_mb: unknown key; did you mean memory_mib?"),
        ("memory_mib = 1", "ingest.memory_mib: "),
        ("spark = 3", "ingest.spark: needs a table, got 3"),
        ("catalog = 3", "ingest.catalog: needs tables such as [ingest.catalog.NAME], got 3"),
        ("[catalog]\nx = 3", "ingest.catalog.x: needs a table [ingest.catalog.x], got 3"),
        ('[catalog.x]\ntype = "rest"', "ingest.catalog.x.uri: type rest needs one"),
        ('[catalog.x]\nuri = "postgresql://a:canary@h/d"', "ingest.catalog.x.uri: carries a password"),
        ('[catalog.x.properties]\n"s3.secret-access-key" = "canary"', "ingest.catalog.x.properties.s3.secret-"),
        ('[credentials.x.options]\naccount_key = "canary"', "ingest.credentials.x.options.account_key: looks like"),
        ('[credentials.x.secrets]\nkey = "canary"', "ingest.credentials.x.secrets"),
        ('[spark]\nurl = "local[*]"\ntoken = "env:T"', "ingest.spark.token: belongs to a url sc://host:port"),
        ("[definition.x]\n", "ingest.definition.x.source"),
        (WHOLE + 'name = "y"', "ingest.definition.readings.name: is 'y'; the table's own name counts, leave it out"),
        (WHOLE.replace('"bucket", options', '"buckt", options'), "did you mean bucket?"),
        (
            WHOLE + WHOLE[WHOLE.index("[definition") :].replace("definition.readings", "definition.again"),
            "ingest.definition.again.destination: table lake/lab.readings is that of readings",
        ),
    ],
)  # fmt: skip
def test_faults_name_their_key(text: str, problem: str) -> None:
    _, problems = read(text)
    assert any(problem in line for line in problems), problems
    assert not any("canary" in line for line in problems)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"source": Source(url="s3://key:canary@bucket/p")}, "source.url: carries a user or a secret"),
        ({"source": Source(url="az://box/p?sig=canary")}, "source.url: takes no ?query"),
        ({"source": Source(url="s3:///p")}, "source.url: names no bucket"),
        ({"source": Source(url="/srv/in")}, "source.url: '/srv/in' is no place that labd reads; write file:///folder"),
        ({"source": Source(url="ftp://me:canary@host/p?canary")}, "source.url: 'ftp://...@host/p' is no place"),
        ({"name": "two words"}, "name: 'two words': a name has letters, digits, dot"),
        ({"destination": Destination(table="a-b")}, "destination.table: 'a-b': a table's name has letters"),
        ({"destination": Destination(table="a", namespace="x..y")}, "destination.namespace: 'x..y': up to 8 names"),
        ({"source": Source(url="file:///srv/../etc")}, "source.url: must not climb"),
        ({"source": Source(url="s3://b", options={"secret_access_key": "canary"})}, "source.options.secret_access_key"),
        ({"format": Format(type="csv", encoding="klingon")}, "format.encoding: 'klingon'"),
        ({"format": Format(type="csv", quote=",")}, "format: delimiter, quote, escape and comment must differ"),
        ({"format": Format(type="csv", json_path="a")}, "format.json_path: only json has one"),
        ({"schema": SchemaRule(mode="fixed")}, "schema.columns: mode fixed needs them"),
        ({"schema": SchemaRule(columns=(Column("a", "long"),))}, "schema.columns: only mode fixed has them"),
        (
            {"schema": SchemaRule(mode="fixed", columns=(Column("a", "long"), Column("A", "int")))},
            "schema.columns: A stands twice",
        ),
        ({"schema": SchemaRule(hints={"_labd_file": "string"})}, "schema: column _labd_file is labd's own"),
        ({"schema": SchemaRule(hints={"a": "number"})}, "schema: a 'number': no type"),
        ({"schedule": Schedule()}, "schedule: give either cron or interval_s"),
        ({"schedule": Schedule(cron="61 * * * *")}, "schedule.cron: "),
        ({"schedule": Schedule(interval_s=5, timezone="Mars/Olympus")}, "schedule.timezone: 'Mars/Olympus'"),
        ({"changed": "replace-rows", "provenance": False}, "changed: replace-rows finds a file's rows"),
        ({"quality": Quality(min_rows=5, max_rows=4)}, "quality: min_rows 5 is more than max_rows 4"),
        ({"tags": ("a b",)}, "tags: 'a b'"),
        ({"extra": {"conn": {"password": "canary"}}}, "extra.conn.password: looks like a secret"),
    ],
)  # fmt: skip
def test_what_a_definition_may_not_say(given: dict[str, Any], fault: str) -> None:
    found = list(faults(small(**given), Known()))
    assert len(found) == 1 and found[0].startswith(fault), found
    assert "canary" not in found[0]


def test_a_usual_definition_has_no_fault() -> None:
    columns = tuple(
        Column(f"c{n}", kind) for n, kind in enumerate(("decimal(10, 2)", "list<string>", "struct<a: long>"))
    )
    assert list(faults(small(schema=SchemaRule(mode="fixed", columns=columns)), Known())) == []
    azure = Source(
        url="abfss://box@account.dfs.core.windows.net/p", options={"access_key_id": "AKIA", "token_file": "/x"}
    )
    assert list(faults(small(source=azure), Known())) == []
    assert list(secret_keys({"use_token": False, "note": "x"})) == []


def test_secrets_are_resolved_when_they_are_used(tmp_path: Path) -> None:
    settings, _ = read(WHOLE)
    definition = settings.definition["readings"]
    source = source_access(definition.source, settings, STATE, ENVIRON)
    assert source.secrets == {"access_key_id": "canary-id", "secret_access_key": "canary-key"}
    assert source.options == {"endpoint": "http://minio.lan:9000", "region": "us"}
    assert (source.url, source.marker) == ("s3://in/readings", "_SUCCESS")
    table = table_name(definition.destination, settings, tmp_path, ENVIRON)
    assert (table.namespace, table.table, table.partition_by) == ("lab", "readings", ("days(ts)",))
    assert table.catalog.secrets == {"token": "canary-token"}
    assert table.catalog.properties == {
        "type": "rest", "uri": "https://catalog.example/api", "warehouse": "s3://lake/w", "s3.region": "eu-west-1",
    }  # fmt: skip
    rotated = source_access(definition.source, settings, STATE, {**ENVIRON, "KEY": "other"})
    assert rotated.secrets["secret_access_key"] == "other"


def test_the_own_catalogue_is_in_the_state_folder(tmp_path: Path) -> None:
    access = catalog_access("default", IngestSettings(), tmp_path)
    assert access.properties == {
        "type": "sql", "uri": f"sqlite:///{tmp_path}/ingest/catalog.db", "warehouse": f"file://{tmp_path}/ingest/warehouse",
    }  # fmt: skip


def test_a_missing_secret_or_table_is_a_refusal_that_names_the_reference(tmp_path: Path) -> None:
    settings, _ = read(WHOLE)
    source = settings.definition["readings"].source
    with pytest.raises(SourceRefused, match=r"\[ingest.credentials.bucket\] secrets.access_key_id: env:ID"):
        source_access(source, settings, STATE, {})
    with pytest.raises(SourceRefused, match=r"no table \[ingest.credentials.bucket\] in the settings"):
        source_access(source, IngestSettings(), STATE, ENVIRON)
    with pytest.raises(TableRefused, match=r"catalogue lake: \[ingest.catalog.lake\] secrets.token: env:LAKE_TOKEN"):
        catalog_access("lake", settings, tmp_path, {})
    with pytest.raises(TableRefused, match=r"no table \[ingest.catalog.other\]"):
        catalog_access("other", settings, tmp_path)


def test_every_secret_word_of_the_sources_is_known_as_one() -> None:
    secret = ("secret_access_key", "session_token", "account_key", "sas_token", "bearer_token", "client_secret")
    plain = ("access_key_id", "client_id", "tenant_id", "region", "endpoint", "service_account_file", "account")
    assert list(secret_keys(dict.fromkeys((*secret, "service_account_key", *plain), "x"))) == [
        *secret,
        "service_account_key",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "{0}",
        "{0}/ingest/warehouse",
        "{0}/..",
        "/",
        "file://{0}/inbox/..",
        "/etc/labd/labd.d",
        "{0}/../link",
        "{0}/../keys",
    ],
)
def test_what_is_labds_own_is_no_source(tmp_path: Path, url: str) -> None:
    """Who may operate would read databases and secrets by a preview."""
    state = tmp_path / "state"
    (state / "inbox").mkdir(parents=True)
    (tmp_path / "link").symlink_to(state)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "keys")}
    with pytest.raises(SourceRefused, match="labd's own and no source"):
        source_access(Source(url=url.format(state)), IngestSettings(), state, environ)
    for free in ("inbox", "../files", "../state-of-things", "../keys2"):
        source_access(Source(url=f"{state}/{free}"), IngestSettings(), state, environ)

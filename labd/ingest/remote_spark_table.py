"""Tables as Spark sees them: catalogues set up in the session, tables made, described, changed, asked, dropped.

Why the session keeps no tables: other programs commit to them as well, the arrow engine among them, and Iceberg's cache
in Spark would show them as they were half a minute ago.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.ingest.remote_commit import TOKEN, TOKENS, TRY
from labd.ingest.remote_iceberg import BATCH, FILE, OWN_COLUMNS, PARTITION, RESCUED, VERSION, local_path, made_with
from labd.ingest.remote_query import plain
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_spark_session import Spark, first_line, is_lost
from labd.ingest.remote_spark_types import from_spark, quote, to_spark

Json = dict[str, Any]
PROVENANCE = {FILE: "string", VERSION: "string", BATCH: "long"}
FILTER = re.compile(
    r"""\s+|'(?:[^'\\]|'')*'|"(?:[^"\\]|"")*"|`[^`]+`|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[<>]=?|[!=]=|<>|=|[(),.+-]|\w+"""
)
CALL = re.compile(r"(?i)\b(?!(?:in|and|or|not)\b)(\w+)\s*\(|\b(select|from|with|table|values)\b")
REDACTED = "(redacted)"
INSTANTS = {"date", "timestamp", "timestamptz"}
EXACT = {"int", "long", "decimal", "string", "binary"}
SUITS = {
    "identity": {"boolean", "float", "double"} | INSTANTS | EXACT,
    "years": INSTANTS, "months": INSTANTS, "days": INSTANTS, "hours": INSTANTS - {"date"},
    "bucket": EXACT | INSTANTS, "truncate": EXACT,
}  # fmt: skip
SQL_CATALOG = "org.apache.iceberg.jdbc.JdbcCatalog"
DYNAMO_CATALOG = "org.apache.iceberg.aws.dynamodb.DynamoDbCatalog"


@dataclass(frozen=True)
class State:
    """A table in one moment; `uuid` is empty where it cannot be told, `summaries` are those of the snapshots, by id."""

    uuid: str = ""
    snapshot_id: int | None = None
    properties: dict[str, str] = field(default_factory=dict)
    summaries: dict[int, dict[str, str]] = field(default_factory=dict)

    def marks(self) -> dict[str, tuple[str | None, int | None]]:
        """Labd's tokens that snapshots or properties still show, oldest first, each with its try and snapshot."""
        found: dict[str, tuple[str | None, int | None]] = {}
        for name, text in self.properties.items():
            if name.startswith(TOKENS):
                found |= {str(token): (attempt, None) for token, attempt in json.loads(text)}
        for snapshot_id, summary in self.summaries.items():
            if TOKEN in summary:
                known = found.pop(summary[TOKEN], (None, None))[0]
                found[summary[TOKEN]] = (summary.get(TRY) or known, snapshot_id)
        return found


class SparkTable:
    """One table, which may not be there.

    Args:
        table: As `port.TableName`.

    Raises:
        Refusal: The name cannot be used with Spark; the cluster is lost.
    """

    def __init__(self, spark: Spark, table: Json) -> None:
        self.access: Json = table["catalog"]
        self.catalog = spark.cluster_catalog or str(self.access["name"])
        self.name = quote(self.catalog, *str(table["namespace"]).split("."), str(table["table"]))
        self.spoken = f"{self.catalog}.{table['namespace']}.{table['table']}"
        self.namespace = str(table["namespace"]).split(".")
        self.partition_by = [str(one) for one in table.get("partition_by", ())]
        self.is_iceberg = self.access.get("properties", {}).get("type") != "spark"
        self._spark = spark
        self._set_up()
        self.session = spark.session()

    def _set_up(self) -> None:
        """Tell the session of the catalogue, unless the cluster knows it by itself."""
        if self._spark.cluster_catalog or not self.is_iceberg:
            return
        if "." in self.catalog:
            raise Refusal("table_refused", f"catalogue {self.catalog}: engine spark wants a name without dots")
        conf = catalog_conf(self.catalog, {**self.access.get("properties", {}), **self.access.get("secrets", {})})
        self._spark.set_up(self.catalog, conf)

    def sql(self, text: str, **parameters: Any) -> list[Any]:
        """All rows of a statement."""
        return list(self.session.sql(text, args=parameters or None).collect())

    def exists(self) -> bool:
        """Whether it is there."""
        return bool(self.session.catalog.tableExists(self.name))

    def columns(self) -> list[Json]:
        """All columns but labd's own."""
        schema = self.session.table(self.name).schema
        return [{"name": f.name, "type": from_spark(f.dataType)} for f in schema if f.name not in OWN_COLUMNS]

    def make(self, columns: list[Json], provenance: bool) -> None:
        """Make it with its namespace, or take the one that somebody else has made meanwhile."""
        for depth in range(1, len(self.namespace) + 1):
            self.sql(f"CREATE NAMESPACE IF NOT EXISTS {quote(self.catalog, *self.namespace[:depth])}")
        own = PROVENANCE if provenance else {}
        whole = [(one["name"], one["type"]) for one in columns] + [*own.items(), (RESCUED, "string")]
        body = ", ".join(f"{quote(name)} {to_spark(kind)}" for name, kind in whole)
        parts = [partition(text, columns, self.spoken) for text in self.partition_by]
        by = f" PARTITIONED BY ({', '.join(parts)})" if parts else ""
        made = ", ".join(f"'{key}'='{value}'" for key, value in made_with(name for name, _ in whole).items())
        kind = f"USING iceberg{by} TBLPROPERTIES ({made})" if self.is_iceberg else f"USING parquet{by}"
        self.sql(f"CREATE TABLE IF NOT EXISTS {self.name} ({body}) {kind}")

    def change(self, changes: list[Json], provenance: bool) -> None:
        """Add and widen columns; those that are there already are left alone, so a second call does nothing.

        Why apart from the commit of the rows: Spark has no transaction over both. A column without rows harms nobody.
        """
        own = {**(PROVENANCE if provenance else {}), RESCUED: "string"}
        wanted = [(one["column"], one["type"]) for one in changes if one["kind"] == "add"]
        there = paths(self.session.table(self.name).schema)
        adds = [(name, kind) for name, kind in [*wanted, *own.items()] if name.lower() not in there]
        if adds:
            known = [one["name"] for one in self.columns()]
            after = f"AFTER {quote(known[-1])}" if known else "FIRST"
            body = []
            for name, kind in reversed(adds):  # each is put behind the same one, so the last comes first
                place = "" if "." in name or name in own else f" {after}"
                body.append(f"{quote(*name.split('.'))} {to_spark(kind)}{place}")
            self.sql(f"ALTER TABLE {self.name} ADD COLUMNS ({', '.join(body)})")
        for one in changes:
            if one["kind"] == "widen" and there.get(one["column"].lower()) != one["type"]:
                kind = to_spark(one["type"])
                self.sql(f"ALTER TABLE {self.name} ALTER COLUMN {quote(*one['column'].split('.'))} TYPE {kind}")

    def state(self) -> State:
        """The table as its catalogue shows it in this moment."""
        if not self.is_iceberg:
            return State()
        found = self._metadata()
        if found is None:
            return self._shown_state()
        snapshots = sorted(found.get("snapshots", []), key=lambda one: int(one["timestamp-ms"]))
        summaries = {int(one["snapshot-id"]): dict(one.get("summary", {})) for one in snapshots}
        current = int(found.get("current-snapshot-id") or -1)
        return State(found["table-uuid"], current if current >= 0 else None, found.get("properties", {}), summaries)

    def _metadata(self) -> Json | None:
        """The newest of the table's metadata files; None where Spark's own file systems cannot read it.

        Why the file: Spark shows the table's UUID nowhere, and takes properties that are named token for secrets. One
        file is also one moment, and two small jobs instead of many.
        """
        try:
            path = str(self.sql(f"SELECT file FROM {self.name}.metadata_log_entries")[-1][0])  # noqa: S608 quoted
            here = None if self._spark.is_remote else local_path(path)
            if here is not None:
                return dict(json.loads(Path(here).read_text("utf-8")))
            return dict(json.loads(self.session.read.text(path, wholetext=True).collect()[0][0]))
        except Exception as fault:  # there may be no such scheme, or no right to read there
            if is_lost(fault):
                raise
            return None

    def _shown_state(self) -> State:
        """The same as far as Spark's own tables show it."""
        shown = {str(row[0]): str(row[1]) for row in self.sql(f"SHOW TBLPROPERTIES {self.name}")}
        properties = {key: text for key, text in shown.items() if REDACTED not in text}
        rows = self.sql(f"SELECT snapshot_id, summary FROM {self.name}.snapshots ORDER BY committed_at")  # noqa: S608
        main = self.sql(f"SELECT snapshot_id FROM {self.name}.refs WHERE name = 'main'")  # noqa: S608 quoted
        summaries = {int(row[0]): dict(row[1]) for row in rows}
        return State("", int(main[0][0]) if main else None, properties, summaries)

    def has_batch(self, number: int) -> bool:
        """Whether rows of a batch are in; what snapshots and properties have forgotten, the rows still know."""
        if BATCH not in self.session.table(self.name).columns:
            return False
        return bool(self.sql(f"SELECT 1 FROM {self.name} WHERE {BATCH} = {int(number)} LIMIT 1"))  # noqa: S608 quoted

    def facts(self) -> Json:
        """In the shape of `port.TableFacts`."""
        described = [(str(row[0]), str(row[1] or "")) for row in self.sql(f"DESCRIBE TABLE EXTENDED {self.name}")]
        state = self.state()
        summary = state.summaries.get(state.snapshot_id or 0, {})
        empty = 0 if self.is_iceberg and state.snapshot_id is None else None
        return {
            "uuid": state.uuid,
            "location": dict(described).get("Location", ""),
            "columns": self.columns(),
            "rows": int(summary["total-records"]) if "total-records" in summary else empty,
            "files": int(summary["total-data-files"]) if "total-data-files" in summary else empty,
            "snapshot_id": state.snapshot_id,
            "tokens": list(state.marks()),
            "partition_by": partitions(described),
        }

    def query(self, columns: list[str], where: str, limit: int) -> Json:
        """In the shape of `port.Rows`.

        Raises:
            Refusal: The filter is no row filter, or names what is not there.
        """
        frame = self.session.table(self.name)
        known = [field.name for field in frame.schema]
        if unknown := [name for name in columns if name not in known]:
            text = f"{self.spoken} has no column {', '.join(unknown)}; it has {', '.join(known)}"
            raise Refusal("table_refused", text)
        try:
            if where.strip():
                check_filter(where)
                frame = frame.where(where)
            frame = frame.select(*(quote(name) for name in columns or known))
            found = frame.limit(limit + 1).toArrow()
        except Exception as fault:
            if not where.strip() or is_lost(fault):
                raise
            text = f"{self.spoken}: the filter {where!r} cannot be used: {first_line(fault)}"
            raise Refusal("table_refused", text) from fault
        schema = [{"name": field.name, "type": from_spark(field.dataType)} for field in frame.schema]

        return {"columns": schema, "rows": plain_rows(found)[:limit], "more": found.num_rows > limit}

    def files_of(self, numbers: list[int]) -> list[Json] | None:
        """Each file and version with rows of these batches, as `port.FoundFile`; None where the table does not say."""
        if not {field.name for field in self.session.table(self.name).schema}.issuperset(PROVENANCE):
            return None
        listed = ", ".join(str(number) for number in numbers)
        rows = self.sql(
            f"SELECT {FILE}, {VERSION}, {BATCH}, count(*) FROM {self.name} WHERE {BATCH} IN ({listed}) "  # noqa: S608
            f"GROUP BY {FILE}, {VERSION}, {BATCH}"
        )
        return [{"url": row[0], "version": row[1], "number": int(row[2]), "rows": int(row[3])} for row in rows]

    def drop(self) -> bool:
        """Drop it with its files; False if there was none."""
        if not self.exists():
            return False
        self.sql(f"DROP TABLE {self.name} PURGE")
        return True


def paths(kind: Any, above: str = "") -> dict[str, str]:
    """Every column and field by its dotted name in small letters, with its type; `element` is what a list holds."""
    found: dict[str, str] = {}
    inner: list[tuple[str, Any]] = []
    if hasattr(kind, "fields"):
        inner = [(field.name, field.dataType) for field in kind.fields]
    elif hasattr(kind, "elementType"):
        inner = [("element", kind.elementType)]
    for name, one in inner:
        path = f"{above}{name}".lower()
        found[path] = from_spark(one)
        found |= paths(one, f"{path}.")
    return found


def partitions(described: list[tuple[str, str]]) -> list[str]:
    """How a table is partitioned, in the words of `partition_by`."""
    found: list[str] = []
    heads = [place for place, row in enumerate(described) if row[0] in ("# Partition Information", "# Partitioning")]
    for name, kind in described[heads[0] + 1 :] if heads else []:
        if not name or (name.startswith("#") and name != "# col_name"):
            break
        if name != "# col_name":
            found.append((kind if name.startswith("Part ") else name).replace("`", ""))
    return found


def plain_rows(table: Any) -> list[list[Any]]:
    """Rows of an Arrow table as JSON values, the same as the arrow engine shows."""
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def catalog_conf(name: str, properties: dict[str, str]) -> dict[str, str]:
    """A catalogue in Spark's names, from the words of PyIceberg."""
    given = dict(properties)
    kind = given.pop("type", "")
    given.pop("py-io-impl", None)
    made = {"": "org.apache.iceberg.spark.SparkCatalog", "cache-enabled": "false"}
    if kind == "sql":
        made |= {"catalog-impl": SQL_CATALOG, "uri": jdbc_uri(given.pop("uri", "")), "jdbc.schema-version": "V1"}
    elif kind == "dynamodb":
        made["catalog-impl"] = DYNAMO_CATALOG
    elif kind:
        made["type"] = kind
    if given.get("warehouse", "").startswith(("s3://", "s3a://")) and "io-impl" not in given:
        made["io-impl"] = "org.apache.iceberg.aws.s3.S3FileIO"
    if "s3.region" in given:
        made["client.region"] = given.pop("s3.region")
    first = f"spark.sql.catalog.{name}"
    return {f"{first}.{key}" if key else first: str(value) for key, value in {**made, **given}.items()}


def jdbc_uri(uri: str) -> str:
    """`sqlite:////folder/catalog.db` as Java has it."""
    driver, _, rest = uri.partition("://")
    if driver == "sqlite":
        return f"jdbc:sqlite:{'/' + rest.lstrip('/')}"
    return f"jdbc:{driver.partition('+')[0]}://{rest}"


def partition(text: str, columns: list[Json], spoken: str) -> str:
    """One entry of `partition_by` in Spark SQL.

    Raises:
        Refusal: It is not known, names no column, or does not work on its type.
    """
    parts = PARTITION.fullmatch(text.strip())
    kind, width, column = ("", None, "") if parts is None else (parts[1] or "identity", parts[2], parts[3] or parts[4])
    what = f"{spoken}: partition_by {text!r}"
    if parts is None or (kind in ("bucket", "truncate")) != (width is not None):
        raise Refusal(
            "table_refused",
            f"{what} is not known; say column, years(c), months(c), days(c), hours(c), bucket(16, c) or truncate(4, c)",
        )
    types = {one["name"]: one["type"] for one in columns}
    if column.strip() not in types:
        raise Refusal("table_refused", f"{what} names no column of the table; it has {', '.join(types)}")
    type_, name = types[column.strip()], quote(column.strip())
    word = kind if kind in SUITS else kind.rstrip("s") + "s"
    if type_.partition("(")[0].partition("<")[0] not in SUITS[word]:
        raise Refusal("table_refused", f"{what} does not work on a {type_}")
    if kind == "identity":
        return name
    return f"{kind}({width}, {name})" if width is not None else f"{word}({name})"


def check_filter(where: str) -> None:
    """Let only row filters pass, which compare columns with values and do nothing else.

    Raises:
        ValueError: It calls functions or asks other tables.
    """
    place = 0
    while place < len(where):
        found = FILTER.match(where, place)
        if found is None:
            raise ValueError(f"{where[place : place + 20]!r} is not understood")
        place = found.end()
    bare = re.sub(r"'(?:[^'\\]|'')*'|\"(?:[^\"\\]|\"\")*\"|`[^`]+`", "''", where)
    if call := CALL.search(bare):
        told = "compare columns with values, such as amount > 3 and region == 'eu'"
        raise ValueError(f"{call[0].strip(' (')!r} is not allowed; {told}")

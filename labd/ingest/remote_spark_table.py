"""Tables as Spark sees them: catalogues set up in the session, tables made, described, changed, asked, dropped.

Why the session keeps no tables: other programs commit to them as well, the arrow engine among them, and Iceberg's cache
in Spark would show them as they were half a minute ago.
"""

from __future__ import annotations

import json
import re
from typing import Any

from labd.ingest.remote_commit import TOKEN, TOKENS, TRY
from labd.ingest.remote_iceberg import BATCH, FILE, MADE_WITH, OWN_COLUMNS, PARTITION, RESCUED, VERSION
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_spark_session import Spark, first_line
from labd.ingest.remote_spark_types import from_spark, quote, to_spark

Json = dict[str, Any]
PROVENANCE = {FILE: "string", VERSION: "string", BATCH: "long"}
FILTER = re.compile(
    r"""\s+|'(?:[^'\\]|'')*'|"(?:[^"\\]|"")*"|`[^`]+`|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[<>]=?|[!=]=|<>|=|[(),.+-]|\w+"""
)
CALL = re.compile(r"(?i)\b(?!(?:in|and|or|not)\b)(\w+)\s*\(|\b(select|from|with|table|values)\b")
REDACTED = "(redacted)"
CATALOGS = {"sql": "org.apache.iceberg.jdbc.JdbcCatalog"}


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
        self.session = spark.session()
        self._set_up()

    def _set_up(self) -> None:
        """Tell the session of the catalogue, unless the cluster knows it by itself."""
        if self._spark.cluster_catalog or not self.is_iceberg:
            return
        if "." in self.catalog:
            raise Refusal("table_refused", f"catalogue {self.catalog}: engine spark wants a name without dots")
        conf = catalog_conf(self.catalog, {**self.access.get("properties", {}), **self.access.get("secrets", {})})
        if not self._spark.knows(self.catalog, conf):
            for key, value in conf.items():
                self.session.conf.set(key, value)

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
        parts = [partition(text, [one["name"] for one in columns], self.spoken) for text in self.partition_by]
        by = f" PARTITIONED BY ({', '.join(parts)})" if parts else ""
        made = ", ".join(f"'{key}'='{value}'" for key, value in MADE_WITH.items())
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

    def properties(self) -> dict[str, str]:
        """All properties of the table; where its metadata cannot be read, without those that Spark hides.

        Why not as Spark shows them: it takes all that is named token for a secret.
        """
        found = self._metadata().get("properties")
        if found is None:
            shown = {str(row[0]): str(row[1]) for row in self.sql(f"SHOW TBLPROPERTIES {self.name}")}
            found = {key: text for key, text in shown.items() if REDACTED not in text}
        return dict(found)

    def snapshot_id(self) -> int | None:
        """Of the snapshot that readers see now."""
        if not self.is_iceberg:
            return None
        found = self.sql(f"SELECT snapshot_id FROM {self.name}.refs WHERE name = 'main'")  # noqa: S608 quoted
        return int(found[0][0]) if found else None

    def marks(self) -> dict[str, tuple[str | None, int | None]]:
        """Labd's tokens that snapshots or properties still show, oldest first, each with its try and snapshot."""
        if not self.is_iceberg:
            return {}
        found: dict[str, tuple[str | None, int | None]] = {}
        for name, text in self.properties().items():
            if name.startswith(TOKENS):
                found |= {str(token): (attempt, None) for token, attempt in json.loads(text)}
        rows = self.sql(
            f"SELECT summary['{TOKEN}'], summary['{TRY}'], snapshot_id FROM {self.name}.snapshots "  # noqa: S608 quoted
            f"WHERE summary['{TOKEN}'] IS NOT NULL ORDER BY committed_at"
        )
        for token, attempt, snapshot_id in rows:
            known = found.pop(token, (None, None))[0]
            found[token] = (attempt or known, int(snapshot_id))
        return found

    def summary(self, snapshot_id: int) -> dict[str, str]:
        """What a commit says of itself."""
        found = self.sql(f"SELECT summary FROM {self.name}.snapshots WHERE snapshot_id = {int(snapshot_id)}")  # noqa: S608
        return dict(found[0][0]) if found else {}

    def has_batch(self, number: int) -> bool:
        """Whether rows of a batch are in; what snapshots and properties have forgotten, the rows still know."""
        if BATCH not in self.session.table(self.name).columns:
            return False
        return bool(self.sql(f"SELECT 1 FROM {self.name} WHERE {BATCH} = {int(number)} LIMIT 1"))  # noqa: S608 quoted

    def uuid(self) -> str:
        """Of the table; empty where its metadata cannot be read. Spark shows it nowhere."""
        return str(self._metadata().get("table-uuid", ""))

    def _metadata(self) -> Json:
        """The table's metadata as they are in its newest file; empty where Spark's own file systems cannot read it."""
        if not self.is_iceberg:
            return {}
        try:
            newest = "ORDER BY timestamp DESC, coalesce(latest_sequence_number, 0) DESC LIMIT 1"
            path = self.sql(f"SELECT file FROM {self.name}.metadata_log_entries {newest}")[0][0]  # noqa: S608 quoted
            return dict(json.loads(self.session.read.text(path, wholetext=True).collect()[0][0]))
        except Exception:  # noqa: BLE001 there may be no such scheme, or no right to read there
            return {}

    def facts(self) -> Json:
        """In the shape of `port.TableFacts`."""
        described = {str(row[0]): str(row[1]) for row in self.sql(f"DESCRIBE TABLE EXTENDED {self.name}")}
        summary: dict[str, str] = {}
        if self.is_iceberg:
            found = self.sql(
                f"SELECT s.summary FROM {self.name}.snapshots s JOIN {self.name}.refs r "  # noqa: S608 quoted
                "ON s.snapshot_id = r.snapshot_id WHERE r.name = 'main'"
            )
            summary = dict(found[0][0]) if found else {}
        empty = 0 if self.is_iceberg and not summary else None
        return {
            "uuid": self.uuid(),
            "location": described.get("Location", ""),
            "columns": self.columns(),
            "rows": int(summary["total-records"]) if "total-records" in summary else empty,
            "files": int(summary["total-data-files"]) if "total-data-files" in summary else empty,
            "snapshot_id": self.snapshot_id(),
            "tokens": list(self.marks()),
            "partition_by": self._partitions(),
        }

    def _partitions(self) -> list[str]:
        """As `partition_by` says it."""
        rows = [(str(row[0]), str(row[1] or "")) for row in self.sql(f"DESCRIBE TABLE EXTENDED {self.name}")]
        found: list[str] = []
        heads = [place for place, row in enumerate(rows) if row[0] in ("# Partition Information", "# Partitioning")]
        for name, kind in rows[heads[0] + 1 :] if heads else []:
            if not name or (name.startswith("#") and name != "# col_name"):
                break
            if name != "# col_name":
                found.append(kind if name.startswith("Part ") else name)
        return [re.sub(r"`", "", one) for one in found]

    def query(self, columns: list[str], where: str, limit: int) -> Json:
        """In the shape of `port.Rows`.

        Raises:
            Refusal: The filter is no row filter, or names what is not there.
        """
        frame = self.session.table(self.name)
        try:
            if where.strip():
                frame = frame.where(checked_filter(where, self.spoken))
            if columns:
                frame = frame.select(*(quote(name) for name in columns))
            rows = frame.limit(limit + 1).collect()
        except Refusal:
            raise
        except Exception as fault:
            if "AnalysisException" not in {kind.__name__ for kind in type(fault).__mro__}:
                raise
            raise Refusal("table_refused", f"{self.spoken}: {first_line(fault)}") from fault
        schema = [{"name": field.name, "type": from_spark(field.dataType)} for field in frame.schema]
        plain = [[plain_value(value) for value in row] for row in rows[:limit]]
        return {"columns": schema, "rows": plain, "more": len(rows) > limit}

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


def catalog_conf(name: str, properties: dict[str, str]) -> dict[str, str]:
    """A catalogue in Spark's names, from the words of PyIceberg."""
    given = dict(properties)
    kind = given.pop("type", "")
    given.pop("py-io-impl", None)
    made = {"": "org.apache.iceberg.spark.SparkCatalog", "cache-enabled": "false"}
    if kind in CATALOGS:
        uri = given.pop("uri", "")
        made |= {"catalog-impl": CATALOGS[kind], "uri": jdbc_uri(uri), "jdbc.schema-version": "V1"}
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


def partition(text: str, columns: list[str], spoken: str) -> str:
    """One entry of `partition_by` in Spark SQL.

    Raises:
        Refusal: It is not known, or names no column.
    """
    parts = PARTITION.fullmatch(text.strip())
    kind, width, column = ("", None, "") if parts is None else (parts[1] or "identity", parts[2], parts[3] or parts[4])
    what = f"{spoken}: partition_by {text!r}"
    if parts is None or (kind in ("bucket", "truncate")) != (width is not None):
        raise Refusal(
            "table_refused",
            f"{what} is not known; say column, years(c), months(c), days(c), hours(c), bucket(16, c) or truncate(4, c)",
        )
    if column.strip().split(".")[0] not in columns:
        raise Refusal("table_refused", f"{what} names no column of the table; it has {', '.join(columns)}")
    name = quote(*column.strip().split("."))
    if kind == "identity":
        return name
    return f"{kind}({width}, {name})" if width is not None else f"{kind.rstrip('s')}s({name})"


def checked_filter(where: str, spoken: str) -> str:
    """A row filter, which may compare columns with values and do nothing else.

    Raises:
        Refusal: It calls functions or asks other tables.
    """
    place = 0
    while place < len(where):
        found = FILTER.match(where, place)
        if found is None:
            raise Refusal("table_refused", f"{spoken}: filter: {where[place : place + 20]!r} is not understood")
        place = found.end()
    bare = re.sub(r"'(?:[^'\\]|'')*'|\"(?:[^\"\\]|\"\")*\"|`[^`]+`", "''", where)
    if call := CALL.search(bare):
        raise Refusal(
            "table_refused",
            f"{spoken}: filter: {call[0].strip(' (')!r} is not allowed; compare columns with values, such as "
            "amount > 3 and region == 'eu'",
        )
    return where


def plain_value(value: Any) -> Any:
    """A value of a row as JSON has it."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if hasattr(value, "asDict"):
        return {key: plain_value(one) for key, one in value.asDict().items()}
    if isinstance(value, dict):
        return {str(key): plain_value(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(one) for one in value]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)

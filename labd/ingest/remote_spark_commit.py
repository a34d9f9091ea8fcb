"""One commit that carries a batch's rows and its token, so that a try that lands late cannot land twice.

Exactly once rests on the rows themselves. A batch's number stands in each of its rows, and a commit replaces all rows
of that number; the number has exact bounds in Iceberg's statistics, while texts are cut short. Iceberg refuses the
commit if rows of that number came after the snapshot at which nobody had seen the token (`serializable`,
`validate-from-snapshot-id`). So a commit of a session that was given up may land before or after the next try: one of
the two holds.

Where data files were merged by somebody's compaction, the number lies between others' and Iceberg cannot replace it by
statistics; then, and for files that are to be replaced, MERGE does the same and reads only data files with such rows.
Iceberg holds a MERGE to the snapshot that it read, which is that of the look at the token, or the MERGE raises: one
that a cluster begins late would else put back rows that a later batch has replaced.

Without Iceberg, or without labd's columns in the rows, a late commit cannot be told from a new one: at least once.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labd.ingest.remote_commit import KEPT_TOKENS, TOKEN, TOKENS, TRY
from labd.ingest.remote_iceberg import BATCH, FILE
from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_spark_session import first_line, is_lost
from labd.ingest.remote_spark_table import SparkTable, State
from labd.ingest.remote_spark_types import quote

Json = dict[str, Any]
TRIES = 8
FIRST_WAIT_S = 0.1
MARKER, SESSION_PROPERTY = "_labd_replaced", "spark.sql.iceberg.snapshot-property."
MIXED = "Cannot delete file where some, but not all, rows match"
MOVED = "labd: somebody committed since the look at the token"
CONFLICTS = (MOVED, "CommitFailedException", "ValidationException", "CommitStateUnknownException", "SQLITE_BUSY")


@dataclass
class Write:
    """What one commit brings.

    `frame` has the table's columns and no others; rows of the files `replaced` (their URLs) are taken out.
    """

    table: SparkTable
    frame: Any
    ingestion: str
    token: str
    attempt: str
    number: int
    summary: dict[str, str]
    replaced: list[str]
    provenance: bool

    @property
    def exactly_once(self) -> bool:
        """Whether a late commit of a lost session is held off."""
        return self.provenance and self.table.is_iceberg


@dataclass(frozen=True)
class Landed:
    """A commit that is there; the try that made it and its snapshot as far as they are known."""

    attempt: str | None
    snapshot_id: int | None


def look(table: SparkTable, state: State, token: str, number: int, provenance: bool) -> Landed | None:
    """The commit of this token, if the table has it.

    Why rows count as well: they stay when snapshots expire. Not without Iceberg, where half of a commit may be seen.
    """
    if not table.is_iceberg:
        return None
    mark = state.marks().get(token)
    if mark is not None:
        return Landed(*mark)
    return Landed(None, None) if provenance and table.has_batch(number) else None


def commit(
    write: Write, sleep: Callable[[float], None] = time.sleep, jitter: Callable[[], float] = random.random
) -> Landed:
    """Bring a batch into the table once.

    Raises:
        Refusal: table_conflict (nothing is in), table_refused, cluster_unreachable (nobody knows; ask again).
    """
    merge, fault = bool(write.replaced), ""
    for number in range(TRIES):
        state = write.table.state()  # what comes after it is a conflict
        found = look(write.table, state, write.token, write.number, write.provenance)
        if found is not None:
            return found
        try:
            _write(write, merge, state.snapshot_id)
        except Exception as raised:
            text = f"{type(raised).__name__}: {raised}"
            if is_lost(raised):
                raise
            fault = first_line(raised)
            if MIXED in text and not merge:
                merge = True
            elif not any(word in text for word in CONFLICTS):
                raise Refusal("table_refused", f"{write.table.spoken}: {fault}") from raised
        else:
            if not write.table.is_iceberg:
                return Landed(write.attempt, None)
            continue  # the look tells which try is in, and under which snapshot
        sleep(FIRST_WAIT_S * 2**number * (0.5 + jitter() / 2))
    found = look(write.table, write.table.state(), write.token, write.number, write.provenance)
    if found is not None:
        return found
    text = f"{write.table.spoken}: others committed to it all the time, {TRIES} tries; nothing was added"
    raise Refusal("table_conflict", text, reason=fault)


def keep_token(write: Write) -> None:
    """Note the token where it outlives its snapshot; a table that others change in this moment goes without.

    Why after the commit: Spark has no transaction over both, and a note without rows would be a lie.
    """
    if not write.table.is_iceberg:
        return
    name = f"{TOKENS}.{write.ingestion}"
    try:
        state = write.table.state()
        if not state.uuid:
            return  # what stands there already cannot be read, so nothing is put in its place
        kept = json.loads(state.properties.get(name, "[]"))
        if write.token in (token for token, _ in kept):
            return
        text = json.dumps([*kept[1 - KEPT_TOKENS :], [write.token, write.attempt]])
        write.table.sql(f"ALTER TABLE {write.table.name} SET TBLPROPERTIES ({literal(name)} = {literal(text)})")
    except Exception as raised:
        if is_lost(raised):
            raise


def literal(text: str) -> str:
    """A text in Spark SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def functions_of(session: Any) -> Any:
    """The functions that make columns for this kind of session; those of one kind do not work with the other."""
    if ".connect." in type(session).__module__:
        from pyspark.sql.connect import functions as remote

        return remote
    from pyspark.sql import functions as local

    return local


def _write(write: Write, merge: bool, base: int | None) -> None:
    functions = functions_of(write.table.session)

    if not write.table.is_iceberg:
        write.frame.write.insertInto(write.table.name)
        return
    properties = {TOKEN: write.token, TRY: write.attempt, "labd.ingestion": write.ingestion, **write.summary}
    if merge and write.provenance:
        _merge(write, properties, base)
        return
    writer = write.frame.writeTo(write.table.name)
    for key, value in properties.items():
        writer = writer.option(f"snapshot-property.{key}", value)
    if not write.provenance:
        writer.append()
        return
    writer = writer.option("isolation-level", "serializable")
    if base is not None:
        writer = writer.option("validate-from-snapshot-id", str(base))
    writer.overwrite(functions.col(BATCH) == functions.lit(write.number))


def _merge(write: Write, properties: dict[str, str], base: int | None) -> None:
    """Rows in and replaced files' rows out.

    Why markers beside the rows, one for the batch's number and one for each replaced file: Spark then rewrites only
    data files that hold such rows, and no row of the table meets two rows of the source. With a clause that deletes,
    Iceberg holds the commit to the snapshot that was read; a MERGE that only inserts would be an append, held to none.
    """
    functions = functions_of(write.table.session)

    session, table = write.table.session, write.table
    columns = write.frame.columns
    rows = write.frame.withColumn(MARKER, functions.lit(None).cast("string"))
    markers = session.createDataFrame(
        [(f"b{write.number}",), *((f"f{url}",) for url in write.replaced)], f"{MARKER} string"
    )
    empty = [functions.lit(None).cast(write.frame.schema[name].dataType).alias(name) for name in columns]
    source = rows.unionByName(markers.select(*empty, functions.col(MARKER)))
    view = f"labd_{uuid.uuid4().hex}"
    source.createOrReplaceTempView(view)
    main = f"(SELECT max(snapshot_id) FROM {table.name}.refs WHERE name = 'main')"  # noqa: S608 quoted
    pinned = f"if(coalesce({main}, -1) = {base or -1}, true, raise_error({literal(MOVED)}))"
    names = ", ".join(quote(name) for name in columns)
    values = ", ".join(f"s.{quote(name)}" for name in columns)
    try:
        for key, value in properties.items():
            session.conf.set(SESSION_PROPERTY + key, value)
        session.sql(
            f"MERGE INTO {table.name} t USING (SELECT * FROM {view} WHERE {pinned}) s "  # noqa: S608 quoted
            f"ON if(t.{BATCH} = {write.number}, 'b{write.number}', concat('f', t.{FILE})) = s.{MARKER} "
            f"WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.{MARKER} IS NULL THEN INSERT ({names}) VALUES ({values})"
        ).collect()
    finally:
        session.catalog.dropTempView(view)
        for key in properties:
            session.conf.unset(SESSION_PROPERTY + key)

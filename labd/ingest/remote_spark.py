"""The engine `spark` as the child's entry asks it: one session, kept from call to call, and the verbs of the port.

Every verb takes the words of `labd.ingest.port` as plain values, and beside them `spark`: see `remote_spark_session`.
A session that does not answer any more is given up, and the next call
opens another; what became of a commit in it is found out by the batch's token.
"""

from __future__ import annotations

import json
from random import Random, SystemRandom
from typing import Any

from labd.ingest.remote_refusal import Refusal
from labd.ingest.remote_spark_load import SparkLoad, sample
from labd.ingest.remote_spark_session import Spark, first_line, is_lost
from labd.ingest.remote_spark_table import SparkTable, State
from labd.ingest.remote_trace import commits_of

Json = dict[str, Any]
AGAIN = "what became of a commit is found out by the next call"
_sessions: dict[str, Spark] = {}


def ask(verb: str, args: Json, random: Random | None = None) -> Any:
    """Answer one verb of the port.

    Raises:
        Refusal: As the port says; cluster_unreachable where the session was lost.
    """
    spark = session_of(args)
    try:
        return _answer(spark, verb, args, random or SystemRandom())
    except Exception as fault:
        if is_lost(fault) or spark.has_died():
            spark.lost()
            raise Refusal("cluster_unreachable", f"Spark {spark.url}: {first_line(fault)}; {AGAIN}") from fault
        if isinstance(fault, Refusal):
            raise
        raise Refusal("table_refused", f"Spark {spark.url}: {verb}: {first_line(fault)}") from fault


def session_of(args: Json) -> Spark:
    """The session that these settings ask for; another one is closed."""
    given = args.get("spark") or {}
    key = json.dumps(given, sort_keys=True)
    if key not in _sessions:
        close()
        _sessions[key] = Spark(given)
    return _sessions[key]


def close() -> None:
    """End the session; a second call does nothing."""
    while _sessions:
        _sessions.popitem()[1].close()


def _answer(spark: Spark, verb: str, args: Json, random: Random) -> Any:
    if verb == "load":
        return SparkLoad(spark, args["batch"], random).run()
    if verb == "sample":
        return sample(spark, args["batch"], int(args["rows"]), random)
    table = SparkTable(spark, args["table"])
    if verb == "drop":
        return table.drop()
    if verb == "describe":
        return table.facts() if table.exists() else None
    if verb == "find_tokens":
        there = set(table.state().marks()) if table.exists() else set()
        return [token for token in args["tokens"] if token in there]
    if verb == "find_commits":
        state = table.state() if table.exists() else State()
        return commits_of(state.properties, state.summaries.values(), str(args["ingestion"]))
    if verb == "find_files":
        return table.files_of([int(number) for number in args["numbers"]]) if table.exists() else []
    if verb == "query":
        if not table.exists():
            raise Refusal("table_refused", f"{table.spoken}: there is no such table")
        return table.query(list(args["columns"]), str(args["where"]), int(args["limit"]))
    raise Refusal("table_refused", f"engine spark knows no verb {verb}")

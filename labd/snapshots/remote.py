"""What runs where ladybug is: loads one embedded graph database, or answers queries on them, as a child process.

The standard library, ladybug, and for loading pyarrow; of labd what needs no more than that. Requests and answers are
JSON lines on standard input and output. Why a process: a fault in the library ends this process and nothing else, and
a query or a load that is no longer wanted is ended with it.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.errors import GraphRefused, LabdError
from labd.snapshots.embedded_values import SEVERAL_LABELS, plain
from labd.snapshots.embedded_wire import Meter, Wire

MIB = 2**20
OPEN_LIMIT = 2
SPARE_MIB = 2048
ROOM_STEPS = 34  # 16 GiB: the least address space that a database reserves
Json = dict[str, Any]
_NO_TABLE = re.compile(r"Table (.+) does not exist")


def main() -> None:
    """Answer until the daemon wants no more."""
    _end_with_parent()
    wire = Wire()
    readers: dict[str, tuple[Any, Any]] = {}
    while True:
        request = wire.requests.get()
        try:
            if request["do"] == "load":
                wire.say({"answer": _load(request, wire)})
            else:
                _, connection = _reader(readers, request)
                answer = _counts(connection) if request["do"] == "counts" else _query(connection, request)
                wire.say({"answer": answer})
        except LabdError as fault:
            wire.say({"error": fault.to_wire()})
        except Exception as fault:  # noqa: BLE001 whatever ladybug raises is the answer
            wire.say({"error": {"code": _code(fault), "message": _words(fault), "details": {}}})


def _end_with_parent() -> None:
    """Ask the kernel for a SIGKILL when the daemon dies (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


def _open(path: str, memory_mib: int, threads: int, *, read_only: bool, room_bytes: int) -> tuple[Any, Any]:
    """A database and a connection.

    Why its address space is bounded: ladybug reserves 8 TiB for each, which small hosts refuse.
    """
    import ladybug

    database = ladybug.Database(
        path, buffer_pool_size=memory_mib * MIB, max_num_threads=threads, read_only=read_only,
        max_db_size=1 << _room_steps(room_bytes),
    )  # fmt: skip
    return database, ladybug.Connection(database)


def _load(request: Json, wire: Wire) -> Json:
    import pyarrow as pa

    from labd.snapshots import dataset_load
    from labd.snapshots.dataset_mapping import Source

    pa.set_cpu_count(request["threads"])
    os.chdir(request["scratch"])
    sources = [
        Source(one["kind"], one["name"], tuple(one["files"]), one["roles"], one["rows"]) for one in request["tables"]
    ]
    size_bytes = int(request["size_bytes"])
    database, connection = _open(
        request["path"], request["memory_mib"], request["threads"], read_only=False, room_bytes=8 * size_bytes
    )
    meter = Meter(wire)
    try:
        connection.execute("CALL progress_bar=true").close()
        dataset_load.load(connection, Path(request["scratch"]), sources, meter)
        counts = _counts(connection)
        connection.execute("CHECKPOINT").close()
    finally:
        meter.stop()
        connection.close()
        database.close()
    return counts


def _reader(readers: dict[str, tuple[Any, Any]], request: Json) -> tuple[Any, Any]:
    """The database of a query, kept open; the one used longest ago is closed for another."""
    path = request["path"]
    found = readers.pop(path, None)
    if found is None:
        while len(readers) >= OPEN_LIMIT:
            database, connection = readers.pop(next(iter(readers)))
            connection.close()
            database.close()
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        room_bytes = Path(path).stat().st_size
        found = _open(path, request["memory_mib"], request["threads"], read_only=True, room_bytes=room_bytes)
    readers[path] = found
    _bound_memory(readers, request["memory_mib"])
    return found


def _bound_memory(readers: Mapping[str, Any], memory_mib: int) -> None:
    """Let a query that wants more than a host has fail here.

    Why beside the size of the pool: what a single value takes, such as `range(1, 10000000000)`, is not in the pool.
    """
    room = sum(1 << _room_steps(Path(path).stat().st_size) for path in readers)
    resource.setrlimit(
        resource.RLIMIT_AS, (room + (len(readers) * memory_mib + SPARE_MIB) * MIB, resource.RLIM_INFINITY)
    )


def _room_steps(room_bytes: int) -> int:
    return max(ROOM_STEPS, room_bytes.bit_length() + 2)


def _counts(connection: Any) -> Json:
    from labd.snapshots.names import quote

    def number(query: str) -> int:
        return int(_all(connection, query)[0][0])

    labels: dict[str, int] = {}
    types: dict[str, int] = {}
    nodes = 0
    for name, kind, comment in _all(connection, "CALL show_tables() RETURN name, type, comment"):
        if kind == "REL":
            types[name] = number(f"MATCH ()-[r:{quote(name)}]->() RETURN count(*)")
        elif kind == "NODE":
            of_table = number(f"MATCH (n:{quote(name)}) RETURN count(*)")
            nodes += of_table
            if comment == SEVERAL_LABELS:
                told = f"MATCH (n:{quote(name)}) WHERE size(n.labels) > 0"
                for label, count in _all(connection, f"{told} UNWIND list_distinct(n.labels) AS l RETURN l, count(*)"):
                    labels[label] = labels.get(label, 0) + int(count)
                of_table -= number(f"{told} RETURN count(*)")
            labels[name] = labels.get(name, 0) + of_table
    return {
        "nodes": nodes,
        "relationships": sum(types.values()),
        "labels": {name: count for name, count in sorted(labels.items()) if count},
        "types": {name: count for name, count in sorted(types.items()) if count},
    }


def _all(connection: Any, query: str, parameters: Json | None = None) -> list[Any]:
    result = connection.execute(query, parameters or {})
    try:
        return list(result.get_all())
    finally:
        result.close()


def _query(connection: Any, request: Json) -> Json:
    """Rows up to the limits of number and of size."""
    begun = time.monotonic()
    connection.set_query_timeout(max(1, int(request["timeout_s"] * 1000)))
    try:
        result = connection.execute(request["cypher"], dict(request["parameters"]))
    except RuntimeError as fault:
        if str(fault).startswith("Interrupted"):
            raise _too_long(request) from None
        if match := _NO_TABLE.search(str(fault)):
            _explain_second_label(connection, match[1])
        raise
    try:
        columns, size_bytes, more = list(result.get_column_names()), 0, False
        rows: list[list[Any]] = []
        while result.has_next():
            row = [plain(value) for value in result.get_next()]
            size_bytes += len(json.dumps(row))
            if len(rows) >= request["limit"] or size_bytes > request["size_limit_bytes"]:
                more = True
                break
            if time.monotonic() - begun > request["timeout_s"]:
                raise _too_long(request)
            rows.append(row)
    finally:
        result.close()
    return {"columns": columns, "rows": rows, "more": more}


def _explain_second_label(connection: Any, name: str) -> None:
    """Raise with the way to ask, if a name that is no table is a label beside others."""
    from labd.snapshots.names import quote

    for table, comment in _all(connection, "CALL show_tables() RETURN name, comment"):
        if comment == SEVERAL_LABELS:
            query = f"MATCH (n:{quote(table)}) WHERE list_contains(n.labels, $name) RETURN 1 LIMIT 1"
            if _all(connection, query, {"name": name}):
                raise GraphRefused(
                    f"{name} is a second label here and no table; ask MATCH (n) WHERE '{name}' IN n.labels", label=name
                )


def _too_long(request: Json) -> GraphRefused:
    return GraphRefused(
        f"the query took longer than {request['timeout_s']:g} s; ask for less, or give it more time",
        timeout_s=request["timeout_s"],
    )


def _code(fault: Exception) -> str:
    """A file or a disk that is away may come back; everything else that ladybug says is said for good."""
    from labd.snapshots.dataset_load import is_of_disk

    is_of_system = isinstance(fault, OSError) and fault.errno is not None
    return "graph_unreachable" if is_of_system or is_of_disk(str(fault)) else "graph_refused"


def _words(fault: Exception) -> str:
    return f"embedded graph store: {str(fault).splitlines()[0][:500] or type(fault).__name__}"


if __name__ == "__main__":
    main()

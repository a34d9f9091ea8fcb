"""How snapshots become tables of the embedded store, and what it refuses by name: with the real ladybug."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labd.errors import DatasetRefused
from labd.snapshots import layout
from labd.snapshots.embedded import EmbeddedStore
from labd.snapshots.port import Counts, Progress


class Zoo:
    """A snapshot in the making, and the store it goes to."""

    def __init__(self, store: EmbeddedStore, root: Path) -> None:
        self.store = store
        self.root = root

    def write(self, name: str, columns: dict[str, Any], **options: Any) -> None:
        path = self.root / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, **options)

    async def load(self) -> Counts:
        def quiet(_: Progress) -> None:
            """Nobody looks."""

        return await self.store.load("zoo-v1", layout.read(self.root), quiet, replace=True)

    async def refusal(self) -> str:
        with pytest.raises(DatasetRefused) as caught:
            await self.load()
        assert await self.store.databases() == []
        return caught.value.message

    async def ask(self, query: str) -> list[Any]:
        rows = await self.store.query("zoo-v1", query, {}, timeout_s=10, limit=1000)
        return [list(row) for row in rows.rows]


@pytest.fixture
async def zoo(tmp_path: Path) -> AsyncIterator[Zoo]:
    store = EmbeddedStore(tmp_path / "it's a [store]", load_memory_mib=128, query_memory_mib=64)
    yield Zoo(store, tmp_path / "data 'with' [odd] na`mes")
    await store.close()


async def test_several_labels_lie_in_the_table_of_the_folder_and_are_all_counted(zoo: Zoo) -> None:
    labels = [["Person"], ["Employee", "Person"], ["Person", "Boss", "Employee"], [], None]
    zoo.write("nodes/Person/0", {"id": [1, 2, 3, 4, 5], "labels": pa.array(labels, pa.list_(pa.string()))})
    counts = await zoo.load()
    assert counts.nodes == 5
    assert counts.labels == {"Person": 5, "Employee": 2, "Boss": 1}
    assert await zoo.ask("MATCH (n:Person) RETURN count(*)") == [[5]]
    assert await zoo.ask("MATCH (n) WHERE 'Employee' IN n.labels RETURN n.id ORDER BY n.id") == [[2], [3]]
    with pytest.raises(Exception, match="Employee is a second label here and no table; ask MATCH"):
        await zoo.ask("MATCH (n:Employee) RETURN n")


async def test_a_node_without_its_folders_label_lies_in_the_table_of_its_first(zoo: Zoo) -> None:
    zoo.write(
        "nodes/part-1/0", {"id": [1, 2, 3], "labels": [["Dog", "Pet"], ["Cat"], ["Cat", "Pet"]], "n": ["a", "b", "c"]}
    )
    zoo.write("nodes/Dog/0", {"id": [4], "labels": ["Dog"], "age": [7]})
    counts = await zoo.load()
    assert counts.labels == {"Cat": 2, "Dog": 2, "Pet": 2}
    assert await zoo.ask("MATCH (d:Dog) RETURN d.id, d.n, d.age ORDER BY d.id") == [[1, "a", None], [4, None, 7]]


async def test_one_label_a_node_needs_no_property(zoo: Zoo) -> None:
    zoo.write("nodes/Dog/0", {"id": [1], "labels": [["Dog"]]})
    await zoo.load()
    assert await zoo.ask("MATCH (d:Dog) RETURN d") == [[{"labels": ["Dog"], "properties": {"id": 1}}]]


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("of_text", [True, False])
async def test_ends_find_their_labels(zoo: Zoo, apart: bool, of_text: bool) -> None:
    def ids(*numbers: int) -> list[Any]:
        return [f"id {number}" if of_text else number for number in numbers]

    dogs, cats = ((1, 2), (3, 4)) if apart else ((1, 4), (2, 3))
    zoo.write("nodes/Dog/0", {"id": ids(*dogs), "labels": ["Dog"] * 2})
    zoo.write("nodes/Cat/0", {"id": ids(*cats), "labels": ["Cat"] * 2})
    zoo.write(
        "relationships/SEES/0", {"s": ids(1, 1, 2, 3), "t": ids(2, 4, 3, 1), "k": ["SEES"] * 4, "n": [1, 2, 3, 4]}
    )
    await zoo.load()
    label = {number: "Dog" if number in dogs else "Cat" for number in (1, 2, 3, 4)}
    found = await zoo.ask("MATCH (a)-[r:SEES]->(b) RETURN r.n, a.id, label(a), b.id, label(b) ORDER BY r.n")
    expected = []
    for number, (source, target) in enumerate(((1, 2), (1, 4), (2, 3), (3, 1)), 1):
        expected.append([number, ids(source)[0], label[source], ids(target)[0], label[target]])
    assert found == expected


async def test_many_rows_are_sorted_without_losing_one(zoo: Zoo) -> None:
    many = 300_000
    zoo.write("nodes/part/0", {"id": range(many), "labels": [f"L{number % 11}" for number in range(many)]})
    zoo.write(
        "relationships/part/0",
        {
            "s": range(many),
            "t": [(number * 7) % many for number in range(many)],
            "k": [f"T{n % 3}" for n in range(many)],
        },
    )
    counts = await zoo.load()
    assert (counts.nodes, counts.relationships) == (many, many)
    assert sum(counts.labels.values()) == many and len(counts.labels) == 11
    assert counts.types == {"T0": 100_000, "T1": 100_000, "T2": 100_000}
    wrong = await zoo.ask("MATCH (a)-[r]->(b) WHERE b.id <> (a.id * 7) % 300000 RETURN count(*)")
    assert wrong == [[0]]


async def test_columns_keep_their_values(zoo: Zoo) -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC).replace(tzinfo=None)
    columns: dict[str, Any] = {
        "id": pa.array([1, 2], pa.int32()),
        "labels": pa.array(["T", "T"]).dictionary_encode(),
        "u64": pa.array([2**64 - 1, None], pa.uint64()),
        "i8": pa.array([-128, None], pa.int8()),
        "half": pa.array([0.5, None], pa.float16()),
        "flag": pa.array([True, None]),
        "text": pa.array(["ä\n'`\\", None], pa.large_string()),
        "code": pa.array(["a", None]).dictionary_encode(),
        "day": pa.array([moment.date(), None]),
        "us": pa.array([moment, None], pa.timestamp("us")),
        "ns": pa.array([moment, None], pa.timestamp("ns")),
        "zoned": pa.array([moment, None], pa.timestamp("us", "UTC")),
        "price": pa.array([decimal.Decimal("-12.50"), None], pa.decimal128(10, 2)),
        "raw": pa.array([b"\x00\xff", None]),
        "list": pa.array([[1, 2], None], pa.list_(pa.int64())),
        "struct": pa.array([{"a": 1, "b": "x"}, None]),
        "nothing": pa.nulls(2),
        "we`ird na'me": pa.array(["x", None]),
    }
    zoo.write("nodes/T/0", columns)
    await zoo.load()
    ((node,), (empty,)) = await zoo.ask("MATCH (t:T) RETURN t ORDER BY t.id")
    assert node["properties"] == {
        "id": 1, "u64": 2**64 - 1, "i8": -128, "half": 0.5, "flag": True, "text": "ä\n'`\\", "code": "a",
        "day": "2026-01-02", "us": "2026-01-02T03:04:05.678901", "ns": "2026-01-02T03:04:05.678901",
        "zoned": "2026-01-02T03:04:05.678901Z", "price": "-12.50", "raw": "AP8=", "list": [1, 2],
        "struct": {"a": 1, "b": "x"}, "we`ird na'me": "x",
    }  # fmt: skip
    assert empty["properties"] == {"id": 2}


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
async def test_every_compression_is_read(zoo: Zoo, compression: str) -> None:
    zoo.write("nodes/T/0", {"id": range(2000), "labels": ["T"] * 2000, "x": ["word"] * 2000}, compression=compression)
    await zoo.load()
    assert await zoo.ask("MATCH (t:T) WHERE t.x = 'word' RETURN count(*)") == [[2000]]


@pytest.mark.parametrize(
    ("column", "encoding"),
    [
        ("t", "DELTA_BYTE_ARRAY"),
        ("t", "DELTA_LENGTH_BYTE_ARRAY"),
        ("f", "BYTE_STREAM_SPLIT"),
        ("id", "DELTA_BINARY_PACKED"),
    ],
)
async def test_every_packing_is_read(zoo: Zoo, column: str, encoding: str) -> None:
    rows = range(3000)
    columns = {"id": rows, "labels": ["T"] * 3000, "t": [f"text {n}" for n in rows], "f": [n / 4 for n in rows]}
    zoo.write("nodes/T/0", columns, use_dictionary=False, column_encoding={column: encoding}, row_group_size=1000)
    await zoo.load()
    wrong = "MATCH (n:T) WHERE n.t <> 'text ' + cast(n.id, 'STRING') OR n.f <> n.id / 4.0 RETURN count(*)"
    assert await zoo.ask(wrong) == [[0]]
    assert await zoo.ask("MATCH (n:T) RETURN count(*)") == [[3000]]


async def test_names_that_need_quotes_and_names_that_no_quotes_hold(zoo: Zoo) -> None:
    label = "a`b'c\"d) DETACH DELETE n //"
    zoo.write("nodes/T/0", {"id": [1], "labels": [label]})
    zoo.write("relationships/R/0", {"s": [1], "t": [1], "k": ["k`'\\"]})
    assert (await zoo.load()).labels == {label: 1}
    zoo.write("nodes/T/0", {"id": [1], "labels": ["a\\u0060b"]})
    with pytest.raises(DatasetRefused, match=r"nodes/T: .* cannot be an identifier in Cypher"):
        await zoo.load()


async def test_an_empty_table_is_no_fault(zoo: Zoo) -> None:
    zoo.write("nodes/T/0", {"id": [1], "labels": ["T"]})
    zoo.write("nodes/Empty/0", {"id": pa.array([], pa.int64()), "labels": pa.array([], pa.string())})
    zoo.write(
        "relationships/R/0",
        {"s": pa.array([], pa.int64()), "t": pa.array([], pa.int64()), "k": pa.array([], pa.string())},
    )
    counts = await zoo.load()
    assert (counts.labels, counts.types) == ({"T": 1}, {})
    assert await zoo.ask("MATCH (e:Empty) RETURN e") == []


NODES = {"id": [1, 2], "labels": ["Dog", "Dog"]}
CATS = {"id": [3, 4], "labels": ["Cat", "Cat"]}


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (
            {"nodes/Dog/0": {"id": [1, 2, 1], "labels": ["Dog"] * 3}},
            "nodes/Dog: column 'id' has 1 twice; ids must be unique",
        ),
        (
            {"nodes/Dog/0": {"id": [1, None], "labels": ["Dog"] * 2}},
            "nodes/Dog: column 'id' has a row without a value",
        ),
        (
            {"nodes/Dog/0": NODES, "relationships/R/0": {"s": [1, 2], "t": [2, 77], "k": ["R", "R"]}},
            "relationships/R: column 't' has 77, and no node has that id",
        ),
        (
            {"nodes/Dog/0": NODES, "nodes/Cat/0": CATS, "relationships/R/0": {"s": [1, 9], "t": [2, 3]}},
            "relationships/R: column 's' has 9, and no node has that id",
        ),
        (
            {"nodes/Dog/0": NODES, "nodes/Cat/0": CATS, "relationships/R/0": {"s": [1, None], "t": [2, 3]}},
            "relationships/R: column 's' has a row without a value; both ends are needed",
        ),
        (
            {
                "nodes/Dog/0": {"id": [1, 5], "labels": ["Dog"] * 2},
                "nodes/Cat/0": {"id": [3, 5], "labels": ["Cat"] * 2},
                "relationships/R/0": {"s": [1], "t": [3], "k": ["R"]},
            },
            "nodes: the id 5 is that of a node Cat and of a node Dog; relationships could not tell which is meant",
        ),
        (
            {"nodes/Dog/0": NODES, "relationships/R/0": {"s": ["1"], "t": ["2"], "k": ["R"]}},
            "relationships/R: column 's' is text, column 'id' of nodes/Dog whole numbers; all keys must be alike",
        ),
        (
            {"nodes/Dog/0": NODES, "relationships/R/0": {"s": [1], "t": [2], "k": ["dog"]}},
            "relationships/R: type 'dog' is called like a label; the store has one space for both names",
        ),
        (
            {"nodes/Dog/0": {**NODES, "n": [1, 2]}, "nodes/x/0": {"id": [5], "labels": ["Dog"], "n": ["a"]}},
            "nodes/x: 'n' is STRING here and INT64 in nodes/Dog; both make 'Dog'",
        ),
        (
            {"nodes/Dog/0": {**NODES, "wait": pa.array([1, 2], pa.duration("s"))}},
            "nodes/Dog: column 'wait' is duration[s], which the store cannot hold",
        ),
        (
            {"nodes/Dog/0": {"id": pa.array([1, 2**63], pa.uint64()), "labels": ["Dog"] * 2}},
            "nodes/Dog: the store cannot hold it "
            "(Overflow exception: Value 9223372036854775808 is not within INT64 range)",
        ),
        (
            {"nodes/Dog/0": {**NODES, "n": [1, 2], "N": [1, 2]}},
            "nodes/Dog: the store cannot make its table "
            "(Binder exception: Duplicated column name: N, column name must be unique.)",
        ),
        (
            {"nodes/Dog/0": {**NODES, "_id": [1, 2]}},
            "nodes/Dog: the store cannot make its table (Binder exception: _id is a reserved property name.)",
        ),
        (
            {"nodes/Dog/0": {**NODES, "ns": pa.array([1, 2], pa.timestamp("ns"))}},
            "nodes/Dog: a value cannot be held (Casting from timestamp[ns] to timestamp[us] would lose data: 1)",
        ),
        (
            {"nodes/Dog/0": {"id": [1], "kinds": [["Dog", "Pet"]], "labels": ["x"]}},
            "nodes/Dog: nodes have several labels, and a column called 'labels' is something else",
        ),
        (
            {"nodes/Dog/0": {"id": range(1001), "labels": [f"L{number}" for number in range(1001)]}},
            "nodes/Dog: column 'labels' has more than 1000 different values, and each would be a table",
        ),
    ],
)  # fmt: skip
async def test_what_it_cannot_hold_is_refused_by_name(zoo: Zoo, tables: dict[str, Any], told: str) -> None:
    for name, columns in tables.items():
        zoo.write(name, columns)
    assert await zoo.refusal() == told

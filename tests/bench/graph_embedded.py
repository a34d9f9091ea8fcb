"""How fast the embedded store loads a snapshot, beside ladybug's own COPY of the same tables: `python -m ...`.

Three figures a round, one after the other on the same disk, so that what disturbs one disturbs its neighbours:
- `copy`: ladybug alone, a script as its documents have it: the tables are there already in the shape that it wants.
- `load`: labd's load of that very shape, with its process, its checks, its counts, the checkpoint and the fsync.
- `mapped`: labd's load of the same graph as producers write it: labels and types in columns, two labels mixed in one
  folder, ends that name no label.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import psutil

from labd.snapshots import layout
from labd.snapshots.embedded import EmbeddedStore
from labd.snapshots.port import Counts
from tests.bench.report import Report, arguments, say, spread, work_folder

MEMORY_MIB = 512
ROUNDS = 3
# Ladybug by the book; argv: database, folder, threads, MiB. The time is taken inside, without the start of Python.
COPY = """
import sys, time, ladybug
database, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
begin = time.perf_counter()
db = ladybug.Database(database, buffer_pool_size=int(sys.argv[4]) * 2**20, max_num_threads=threads)
c = ladybug.Connection(db)
c.execute("CREATE NODE TABLE Person (id INT64, name STRING, age INT32, PRIMARY KEY (id))")
c.execute("CREATE NODE TABLE City (id INT64, name STRING, age INT32, PRIMARY KEY (id))")
c.execute("CREATE REL TABLE KNOWS (FROM Person TO Person, weight DOUBLE)")
c.execute("CREATE REL TABLE LIVES_IN (FROM Person TO City, weight DOUBLE)")
for table in ("Person", "City"):
    c.execute(f"COPY {table} FROM '{folder}/{table}.parquet'")
for table in ("KNOWS", "LIVES_IN"):
    c.execute(f"COPY {table} FROM '{folder}/{table}.parquet'")
c.execute("CHECKPOINT")
c.close()
db.close()
print(time.perf_counter() - begin)
"""


def write_graph(folder: Path, nodes: int, relationships: int, random: Random) -> None:
    """The same graph three times: for COPY, as a snapshot with a label a folder, and with labels and types mixed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    people, lives = nodes * 9 // 10, nodes * 9 // 10

    def node(first: int, last: int, label: str) -> pa.Table:
        numbers = range(first, last)
        return pa.table(
            {
                "id": pa.array(numbers, pa.int64()),
                "labels": [label] * len(numbers),
                "name": [f"node {number}" for number in numbers],
                "age": pa.array([number % 90 for number in numbers], pa.int32()),
            }
        )

    def edge(count: int, kind: str, low: int, high: int, every: bool) -> pa.Table:
        sources = list(range(count)) if every else [random.randrange(people) for _ in range(count)]
        return pa.table(
            {
                "source": pa.array(sources, pa.int64()),
                "target": pa.array([random.randrange(low, high) for _ in range(count)], pa.int64()),
                "type": [kind] * count,
                "weight": [random.random() for _ in range(count)],
            }
        )

    tables = {
        "Person": node(0, people, "Person"),
        "City": node(people, nodes, "City"),
        "KNOWS": edge(relationships - lives, "KNOWS", 0, people, every=False),
        "LIVES_IN": edge(lives, "LIVES_IN", people, nodes, every=True),
    }
    for part in ("copy", "plain/nodes", "plain/relationships", "mixed/nodes/part", "mixed/relationships/part"):
        (folder / part).mkdir(parents=True)
    for name, table in tables.items():
        kind, role = ("nodes", "labels") if name in ("Person", "City") else ("relationships", "type")
        (folder / "plain" / kind / name).mkdir()
        pq.write_table(table.drop_columns([role]), folder / "copy" / f"{name}.parquet")
        pq.write_table(table, folder / "plain" / kind / name / "0.parquet")
    for kind, (one, other) in {"nodes": ("Person", "City"), "relationships": ("KNOWS", "LIVES_IN")}.items():
        both = pa.concat_tables([tables[one], tables[other]])
        order = list(range(len(both)))
        random.shuffle(order)
        pq.write_table(both.take(pa.array(order)), folder / "mixed" / kind / "part" / "0.parquet")


def copy_s(folder: Path, threads: int) -> float:
    """Ladybug alone."""
    database = folder / "copied.lbug"
    command = [sys.executable, "-c", COPY, str(database), str(folder / "copy"), str(threads), str(MEMORY_MIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    database.unlink()
    return float(done.stdout)


async def load_s(folder: Path, shape: str, threads: int) -> tuple[float, Counts, int]:
    """Labd's load: seconds, what is in it, and the largest size of its child process."""
    store = EmbeddedStore(folder / "store", load_memory_mib=MEMORY_MIB, threads=threads)
    dataset = layout.read(folder / shape)
    largest = 0

    def watch(_: object) -> None:
        nonlocal largest
        for child in psutil.Process().children():
            largest = max(largest, child.memory_info().rss)

    begin = time.perf_counter()
    counts = await store.load("bench", dataset, watch, replace=True)
    took_s = time.perf_counter() - begin
    await store.drop("bench")
    await store.close()
    return took_s, counts, largest


def main() -> None:
    """Measure and print."""
    given = arguments("graph_embedded", nodes=0, relationships=0, rounds=ROUNDS, threads=2)
    nodes = given.nodes or (20_000 if given.short else 200_000)
    relationships = given.relationships or 3 * nodes
    report = Report("graph_embedded", given.short)
    report.figures |= {"nodes": nodes, "relationships": relationships, "rounds": given.rounds, "memory_mib": MEMORY_MIB}
    times: dict[str, list[float]] = {"copy": [], "load": [], "mapped": []}
    size_bytes = {"load": 0, "mapped": 0}
    with work_folder(given.folder) as folder:
        say(f"writing {nodes} nodes and {relationships} relationships")
        write_graph(folder, nodes, relationships, Random(1))
        for number in range(given.rounds):
            times["copy"].append(copy_s(folder, given.threads))
            for name, shape in (("load", "plain"), ("mapped", "mixed")):
                took_s, counts, largest = asyncio.run(load_s(folder, shape, given.threads))
                if (counts.nodes, counts.relationships) != (nodes, relationships):
                    raise SystemExit(f"{name}: {counts} is not what was written")
                times[name].append(took_s)
                size_bytes[name] = max(size_bytes[name], largest)
            say(f"round {number + 1}: " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in times.items()))
    for name, took in times.items():
        report.figures[f"{name}_s"] = statistics.median(took)
        report.figures[f"{name}_spread"] = spread(took)
        report.figures[f"{name}_rows_per_s"] = (nodes + relationships) / statistics.median(took)
    report.figures |= {f"{name}_memory_bytes": size for name, size in size_bytes.items()}
    for name, floor in (("load", 0.9), ("mapped", 0.5)):
        ratio = statistics.median(one / other for one, other in zip(times["copy"], times[name], strict=True))
        report.ratios[f"{name}_to_copy"] = ratio
        report.goal(f"{name}_to_copy", ratio, at_least=floor)
    report.print()


if __name__ == "__main__":
    main()

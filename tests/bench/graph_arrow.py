"""How fast labd sends a snapshot to an Arrow Flight server, beside the least that could.

Run with `python -m tests.bench.graph_arrow`.

Three ways a round, one after the other, into the same emulated server, which is a process of its own:
- `bare`: pyarrow alone in as many threads: read a row group, rename, write, read the acknowledgement. Nothing else.
- `load`: labd's import of the same files with its checks, casts, counts, window, progress and token.
- `fragment`: a new process and a new connection for every file, so many at once as there are streams.
Then labd's import alone, in a process of its own, of the files once and ten times over: the median of its largest sizes
is to stay.
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import flight

from labd.snapshots import layout, neo4j_import
from labd.snapshots.neo4j_bolt import Address
from labd.snapshots.neo4j_flight import BATCH_ROWS
from labd.snapshots.port import Dataset, Table
from tests.bench.report import Report, arguments, say, spread, work_folder

ROUNDS = 3
MEMORY_RUNS = 5
FILE_ROWS = 50_000
PASSWORD = "labd-secret"
NAMES = {
    "node": ["nodeId", "labels", "name", "age"],
    "relationship": ["sourceNodeId", "targetNodeId", "relationshipType", "weight"],
}
SERVER = """
import sys
from tests.fakes.flight_server import FlightServer
from tests.fakes.neo4j_catalogue import Catalogue
server = FlightServer(Catalogue(keep_rows=False, password=sys.argv[1]))
print(server.port, flush=True)
sys.stdin.read()
server.shutdown()
"""
FRAGMENT = """
import sys
from pathlib import Path
from tests.bench.graph_arrow import connect, put
client, options = connect(int(sys.argv[1]))
put(client, options, sys.argv[2], sys.argv[3], Path(sys.argv[4]), None)
"""
ALONE = """
import asyncio, sys
from pathlib import Path
from tests.bench.graph_arrow import dataset_of, load, peak_bytes
dataset = dataset_of(Path(sys.argv[2]), int(sys.argv[3]))
asyncio.run(load(int(sys.argv[1]), "alone", dataset, int(sys.argv[4])))
print(peak_bytes())
"""


def write_graph(folder: Path, nodes: int, relationships: int, random: Random) -> None:
    """One table of each kind, in files of `FILE_ROWS`."""
    for kind, name, total in (("nodes", "Person", nodes), ("relationships", "KNOWS", relationships)):
        place = folder / kind / name
        place.mkdir(parents=True)
        for first in range(0, total, FILE_ROWS):
            count = min(FILE_ROWS, total - first)
            if kind == "nodes":
                numbers = range(first, first + count)
                names = [f"node {number}" for number in numbers]
                table = {"id": numbers, "labels": [name] * count, "name": names, "age": [n % 90 for n in numbers]}
            else:
                ends = [[random.randrange(nodes) for _ in range(count)] for _ in range(2)]
                weights = [random.random() for _ in range(count)]
                table = {"source": ends[0], "target": ends[1], "type": [name] * count, "weight": weights}
            pq.write_table(pa.table(table), place / f"{first:09}.parquet")


def dataset_of(folder: Path, times: int = 1) -> Dataset:
    """The snapshot, its files so many times over."""
    return Dataset(
        tuple(
            Table(
                one.kind, one.name, one.files * times, one.roles, one.rows * times, one.size_bytes * times, one.columns
            )
            for one in layout.read(folder).tables
        )
    )


@contextmanager
def server() -> Iterator[int]:
    """The emulator in a process of its own; its port."""
    command = [sys.executable, "-c", SERVER, PASSWORD]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.stdin.close()
        child.wait(30)
        child.stdout.close()


def connect(port: int) -> tuple[flight.FlightClient, flight.FlightCallOptions]:
    client = flight.FlightClient(f"grpc+tcp://127.0.0.1:{port}")
    token = base64.b64encode(f"neo4j:{PASSWORD}".encode())
    return client, flight.FlightCallOptions(headers=[(b"authorization", b"Basic " + token)])


def act(
    client: flight.FlightClient, options: flight.FlightCallOptions, name: str, body: dict[str, object]
) -> dict[str, object]:
    action = flight.Action(f"v1/{name}", json.dumps(body).encode())
    found: dict[str, object] = json.loads(next(iter(client.do_action(action, options))).body.to_pybytes())
    return found


def put(
    client: flight.FlightClient, options: flight.FlightCallOptions, name: str, kind: str, path: Path,
    stream: list[object] | None,
) -> None:  # fmt: skip
    """A file into a stream: the one in hand, or one of its own."""
    own: list[object] = [] if stream is None else stream
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
            sent = batch.rename_columns(NAMES[kind])
            if not own:
                body = {"name": name, "entity_type": kind}
                command = json.dumps({"name": "PUT_COMMAND", "version": "v1", "body": body}).encode()
                own.extend(client.do_put(flight.FlightDescriptor.for_command(command), sent.schema, options))
            own[0].write_batch(sent)
            own[1].read()
    if stream is None:
        own[0].close()


def bare(port: int, dataset: Dataset, streams: int) -> None:
    """The same streams with nothing else."""
    client, options = connect(port)
    act(client, options, "CREATE_DATABASE", {"name": "bare", "force": True})
    for kind, done in (("node", "NODE_LOAD_DONE"), ("relationship", "RELATIONSHIP_LOAD_DONE")):
        waiting = deque(path for table in dataset.tables if table.kind == kind for path in table.files)

        def work(kind: str = kind, waiting: deque[Path] = waiting) -> None:
            mine, mine_options = connect(port)
            stream: list[object] = []
            while True:
                try:
                    path = waiting.popleft()
                except IndexError:
                    break
                put(mine, mine_options, "bare", kind, path, stream)
            if stream:
                stream[0].close()
            mine.close()

        threads = [threading.Thread(target=work) for _ in range(streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = act(client, options, done, {"name": "bare"})
        wanted = dataset.nodes if kind == "node" else dataset.relationships
        if wanted not in told.values():
            raise SystemExit(f"bare: {told}, {wanted} {kind}s were sent")
    client.close()


async def load(port: int, name: str, dataset: Dataset, streams: int) -> None:
    """Labd's import; it compares the counts itself."""
    address = Address("127.0.0.1", 0, port, "neo4j", PASSWORD)
    await neo4j_import.run(
        address, name, dataset, lambda _: None, streams=streams, call_timeout_s=30.0, replace=True
    )  # fmt: skip


def fragments(port: int, dataset: Dataset, streams: int) -> None:
    """A process and a connection for each file."""
    client, options = connect(port)
    act(client, options, "CREATE_DATABASE", {"name": "fragment", "force": True})
    for kind, done in (("node", "NODE_LOAD_DONE"), ("relationship", "RELATIONSHIP_LOAD_DONE")):
        paths = [path for table in dataset.tables if table.kind == kind for path in table.files]
        commands = [[sys.executable, "-c", FRAGMENT, str(port), "fragment", kind, str(path)] for path in paths]
        with ThreadPoolExecutor(streams) as pool:
            list(pool.map(lambda command: subprocess.run(command, check=True), commands))
        act(client, options, done, {"name": "fragment"})
    client.close()


def peak_bytes() -> int:
    """The largest size of this process.

    Why not `ru_maxrss`: Linux carries it over `exec`, so a child of a large bench reports the size of the bench.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def alone_bytes(port: int, folder: Path, times: int, streams: int) -> int:
    """The largest size of a process that does nothing but labd's import."""
    command = [sys.executable, "-c", ALONE, str(port), str(folder), str(times), str(streams)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure and print."""
    given = arguments("graph_arrow", nodes=0, relationships=0, rounds=ROUNDS, streams=4)
    nodes = given.nodes or (50_000 if given.short else 250_000)
    relationships = given.relationships or 3 * nodes
    rows = nodes + relationships
    report = Report("graph_arrow", given.short)
    report.figures |= {"nodes": nodes, "relationships": relationships, "rounds": given.rounds, "streams": given.streams}
    times: dict[str, list[float]] = {"bare": [], "load": [], "fragment": []}
    with work_folder(given.folder) as folder, server() as port:
        say(f"writing {nodes} nodes and {relationships} relationships")
        write_graph(folder, nodes, relationships, Random(1))
        dataset = dataset_of(folder)
        bare(port, dataset, given.streams)  # what is imported and cached once
        ways = {
            "bare": lambda: bare(port, dataset, given.streams),
            "load": lambda: asyncio.run(load(port, "load", dataset, given.streams)),
            "fragment": lambda: fragments(port, dataset, given.streams),
        }
        for number in range(given.rounds):
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - begin)
            say(f"round {number + 1}: " + ", ".join(f"{name} {took[-1]:.2f} s" for name, took in times.items()))
        sizes: dict[int, list[int]] = {1: [], 10: []}
        for _ in range(MEMORY_RUNS):  # in turns; one run's size differs from the next by a tenth
            for over, found in sizes.items():
                found.append(alone_bytes(port, folder, over, given.streams))
    for name, took in times.items():
        report.figures[f"{name}_s"] = statistics.median(took)
        report.figures[f"{name}_spread"] = spread(took)
        report.figures[f"{name}_rows_per_s"] = rows / statistics.median(took)
    for over, found in sizes.items():
        report.figures[f"memory_bytes_of_{rows * over}_rows"] = statistics.median(found)
        report.figures[f"memory_spread_of_{rows * over}_rows"] = spread(found)
    for name, one, other, floor in (
        ("load_to_bare", "bare", "load", 0.6),
        ("load_to_fragment", "fragment", "load", 3.0),
    ):
        ratio = statistics.median(first / second for first, second in zip(times[one], times[other], strict=True))
        report.ratios[name] = ratio
        report.goal(name, ratio, at_least=floor)
    tenfold = statistics.median(sizes[10]) / statistics.median(sizes[1])
    report.ratios["memory_tenfold_to_once"] = tenfold
    report.goal("memory_tenfold_to_once", tenfold, at_most=1.15)
    report.print()


if __name__ == "__main__":
    main()

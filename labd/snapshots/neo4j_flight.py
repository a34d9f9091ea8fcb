"""One import into Neo4j through its Arrow Flight server: actions, and parallel streams of record batches.

Runs in threads; nothing here knows the event loop. Each stream is one thread with one connection, takes row groups from
a shared list, and holds at most `WINDOW` batches that the server has not acknowledged: that is the back-pressure, and
the memory is streams x window x batch, whatever the files hold.

Why a deadline on each stream and a new stream after `STREAM_ROWS`: the server acknowledges every batch with one message
and a client that waits for one that never comes waits for ever; only a deadline ends that, pyarrow cannot cancel a put
from another thread. So a stream is short and its deadline bounds how long a cancelled load can linger.
Source: Neo4j Graph Data Science manual, "Projecting graphs using Apache Arrow" (v1 commands), and "Configure Apache
Arrow server" (basic credentials are answered with a bearer token).
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import flight

from labd.errors import GraphRefused, GraphUnreachable, LabdError
from labd.snapshots import neo4j_columns
from labd.snapshots.neo4j_bolt import Address
from labd.snapshots.neo4j_columns import Plan, Shape, Unit
from labd.snapshots.port import Kind

BATCH_ROWS = 50_000
BATCH_BYTES = 4 * 2**20  # no limit is documented; gRPC's usual one for a message is 4 MiB, Flight servers lift it
WINDOW = 4
STREAM_ROWS = 500_000
TOKEN_AGE_S = 600.0  # after which GDS's own client sends user and password again
PREFIX = "Flight RPC failed with message: org.apache.arrow.flight.FlightRuntimeException: "
DONE = {"node": ("NODE_LOAD_DONE", "node_count"), "relationship": ("RELATIONSHIP_LOAD_DONE", "relationship_count")}


class Stopped(Exception):
    """The import was asked to end; whoever asked knows why."""


class Token(flight.ClientMiddlewareFactory):  # type: ignore[misc]
    """Sends user and password until there is a token, and again when it is old or the server wants another."""

    def __init__(self, user: str, password: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._clock = clock
        self._token: tuple[str, float] | None = None
        self._sent = threading.local()

    def start_call(self, info: Any) -> Any:
        """A call begins."""
        return _TokenCall(self)

    def header(self) -> str:
        """What to send; remembered for the thread, which makes one call at a time."""
        token = self._token
        is_good = token is not None and self._clock() - token[1] < TOKEN_AGE_S
        self._sent.header = token[0] if token is not None and is_good else self._basic
        return str(self._sent.header)

    def take(self, header: str) -> None:
        """What came back; a known token keeps its age."""
        if header.startswith("Bearer ") and (self._token is None or self._token[0] != header):
            self._token = (header, self._clock())

    def forget(self) -> bool:
        """This thread's last call was turned away; whether another try with user and password can do better.

        Why by thread: two streams are turned away with one old token, the first has fetched a new one by the time the
        second comes here; the new one must stay.
        """
        sent = getattr(self._sent, "header", self._basic)
        token = self._token
        if token is not None and token[0] == sent:
            self._token = None
        return bool(sent != self._basic)


class _TokenCall(flight.ClientMiddleware):  # type: ignore[misc]
    def __init__(self, token: Token) -> None:
        super().__init__()
        self._token = token

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": self._token.header()}

    def received_headers(self, headers: dict[str, Any]) -> None:
        for value in headers.get("authorization", ()):
            self._token.take(value)


class FlightImport:
    """One process of the server, by its name: the database's.

    Args:
        streams: Parallel streams; also the server's own concurrency.
        stop: Set from outside, it ends the streams with `Stopped` after the batch in hand.
    """

    def __init__(
        self, address: Address, database: str, plan: Plan, *, streams: int, stop: threading.Event,
        call_timeout_s: float = 30.0, stream_timeout_s: float = 120.0, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._where = f"{address.host}:{address.arrow_port}"
        self._database, self._plan, self._streams, self._stop = database, plan, streams, stop
        self._call_timeout_s, self._stream_timeout_s = call_timeout_s, stream_timeout_s
        self._address = address
        self._token = Token(address.user, address.password, clock)
        self._lock = threading.Lock()
        self._broken = threading.Event()
        self.rows = self.size_bytes = 0
        self.table = ""

    def create(self, *, replace: bool) -> None:
        """Begin; store files of an earlier try are deleted with `replace`."""
        body = {
            "name": self._database, "id_type": self._plan.id_type, "id_property": self._plan.id_property,
            "concurrency": self._streams, "force": replace,
        }  # fmt: skip
        with self._connected() as client:
            self._act(client, "CREATE_DATABASE", body)

    def send(self) -> None:
        """All nodes, then all relationships; the server counts both and so does this.

        Raises:
            DatasetRefused: A value does not fit.
            GraphRefused: The server says no, or has counted other than was sent.
            GraphUnreachable: It is away or does not take batches.
            Stopped: See `stop`.
        """
        for kind, units in (("node", self._plan.nodes), ("relationship", self._plan.relationships)):
            self._send_all(units)
            action, key = DONE[kind]
            with self._connected() as client:
                # The server writes its store now; it answers when it is done, which is no matter of seconds.
                told = self._act(client, action, {"name": self._database}, self._stream_timeout_s * 10)
            sent = sum(unit.rows for unit in units)
            if told.get(key) != sent:
                raise GraphRefused(
                    f"neo4j at {self._where}: {told.get(key)} {kind}s of {sent} of {self._database} were taken; "
                    "look for ids that come twice and for ends that no node has",
                    sent=sent, taken=told.get(key),
                )  # fmt: skip

    def abort(self) -> None:
        """Take back what was begun; nothing to take back is right."""
        try:
            with self._connected() as client:
                self._act(client, "ABORT", {"name": self._database})
        except GraphRefused as fault:
            said = fault.message.lower()
            if "no arrow process" not in said and "not found" not in said and "not_found" not in said:
                raise

    def _connected(self) -> Any:
        scheme = "grpc+tls" if self._address.tls else "grpc+tcp"
        host = f"[{self._address.host}]" if ":" in self._address.host else self._address.host
        more: dict[str, Any] = {}
        if self._address.tls and self._address.tls_ca is not None:
            with open(self._address.tls_ca, "rb") as file:  # noqa: PTH123 - a name as the driver takes it
                more["tls_root_certs"] = file.read()
        try:
            return flight.FlightClient(
                f"{scheme}://{host}:{self._address.arrow_port}", middleware=[self._token], **more
            )  # it connects with the first call
        except (pa.ArrowException, OSError) as fault:
            raise self._fault(fault, "connect") from fault

    def _act(self, client: Any, name: str, body: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        action = flight.Action(f"v1/{name}", json.dumps(body).encode())
        while True:
            try:
                options = flight.FlightCallOptions(timeout=timeout_s or self._call_timeout_s)
                found = [result.body.to_pybytes() for result in client.do_action(action, options)]
            except flight.FlightUnauthenticatedError as fault:
                if self._token.forget():
                    continue
                raise self._fault(fault, name) from fault
            except (pa.ArrowException, OSError) as fault:
                raise self._fault(fault, name) from fault
            told = json.loads(found[0]) if found and found[0] else {}
            return told if isinstance(told, dict) else {}

    def _send_all(self, units: Sequence[Unit]) -> None:
        waiting = deque(units)
        faults: list[BaseException] = []

        def work() -> None:
            try:
                with self._connected() as client:
                    _Stream(self, client, waiting).run()
            except BaseException as fault:  # noqa: BLE001 - told by the one who waits for the thread
                faults.append(fault)
                self._broken.set()

        threads = [
            threading.Thread(target=work, name=f"labd-arrow-{number}", daemon=True)
            for number in range(min(self._streams, len(units)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise next((fault for fault in faults if not isinstance(fault, Stopped)), faults[0])
        if self._stop.is_set():
            raise Stopped

    def check(self) -> None:
        """Between two batches: whether to go on."""
        if self._stop.is_set() or self._broken.is_set():
            raise Stopped

    def taken(self, unit: Unit, rows: int) -> None:
        """The server has acknowledged so many rows."""
        with self._lock:
            self.rows += rows
            self.size_bytes += unit.size_bytes * rows // unit.rows
            self.table = unit.table.name

    def open(self, client: Any, shape: Shape, kind: Kind) -> Any:
        """A new stream."""
        body: dict[str, Any] = {"name": self._database, "entity_type": kind}
        if shape.common_labels:
            body["common_labels"] = shape.common_labels
        command = json.dumps({"name": "PUT_COMMAND", "version": "v1", "body": body}).encode()
        options = flight.FlightCallOptions(timeout=self._stream_timeout_s)
        return client.do_put(flight.FlightDescriptor.for_command(command), shape.schema, options)

    @property
    def id_property(self) -> str:
        """The plan's."""
        return self._plan.id_property

    def renew(self) -> bool:
        """The token was turned away; whether to try again."""
        return self._token.forget()

    def _fault(self, fault: BaseException, doing: str) -> LabdError:
        text = str(fault).replace(PREFIX, "").partition("gRPC client debug context")[0]
        said = (text.strip().splitlines() or [type(fault).__name__])[0][:300]
        subject = f"neo4j's Arrow server at {self._where} ({doing} of {self._database})"
        if isinstance(fault, flight.FlightUnauthenticatedError | flight.FlightUnauthorizedError):
            return GraphRefused(f"{subject} does not let labd in; check neo4j.user and neo4j.password ({said})")
        if isinstance(fault, flight.FlightTimedOutError):
            return GraphUnreachable(f"{subject}: no answer in time; is it overloaded? ({said})")
        if isinstance(fault, flight.FlightUnavailableError | OSError):
            return GraphUnreachable(f"{subject} is away; check neo4j.host, arrow_port and tls ({said})")
        if isinstance(fault, flight.FlightInternalError | flight.FlightCancelledError):
            return GraphUnreachable(f"{subject} broke off: {said}")
        return GraphRefused(f"{subject}: {said}")

    fault = _fault


class _Stream:
    """One thread's work: it goes from row group to row group and opens a new put when shape or length want one."""

    def __init__(self, whole: FlightImport, client: Any, waiting: deque[Unit]) -> None:
        self._whole, self._client, self._waiting = whole, client, waiting
        self._writer: Any = None
        self._acks: Any = None
        self._shape: Shape | None = None
        self._rows = 0
        self._open: deque[tuple[Unit, int]] = deque()

    def run(self) -> None:
        try:
            while True:
                try:
                    unit = self._waiting.popleft()
                except IndexError:
                    break
                for shape, batch in neo4j_columns.batches(unit, self._whole.id_property, BATCH_ROWS):
                    for part in _parts(batch):
                        self._whole.check()
                        self._send(unit, shape, part)
            self._finish()
        except (pa.ArrowException, OSError) as fault:
            raise self._whole.fault(fault, "put") from fault
        finally:
            self._leave()

    def _send(self, unit: Unit, shape: Shape, batch: Any) -> None:
        if self._writer is not None and (self._rows >= STREAM_ROWS or not self._fits(shape)):
            self._finish()
        if self._writer is None:
            self._begin(unit, shape, batch)
        else:
            self._write(unit, batch)
        while len(self._open) >= WINDOW:
            self._acknowledge()

    def _begin(self, unit: Unit, shape: Shape, batch: Any) -> None:
        """The first batch waits for its acknowledgement: only that tells a token that was turned away."""
        while True:
            try:
                self._writer, self._acks = self._whole.open(self._client, shape, unit.table.kind)
                self._shape, self._rows = shape, 0
                self._write(unit, batch)
                self._acknowledge()
                return
            except flight.FlightUnauthenticatedError:
                self._open.clear()
                self._leave()
                if not self._whole.renew():
                    raise

    def _write(self, unit: Unit, batch: Any) -> None:
        self._open.append((unit, len(batch)))
        self._rows += len(batch)
        self._writer.write_batch(batch)

    def _acknowledge(self) -> None:
        if self._acks.read() is None:
            self._writer.close()  # says why the server ended the stream
            raise flight.FlightInternalError("it ended the stream before all batches were acknowledged")
        unit, rows = self._open.popleft()
        self._whole.taken(unit, rows)

    def _fits(self, shape: Shape) -> bool:
        mine = self._shape
        return mine is not None and mine.table.name == shape.table.name and mine.schema.equals(shape.schema)

    def _finish(self) -> None:
        """All acknowledged, then closed: only the close tells a fault of the last batch."""
        if self._writer is None:
            return
        self._writer.done_writing()
        while self._open:
            self._acknowledge()
        writer, self._writer = self._writer, None
        writer.close()

    def _leave(self) -> None:
        """A stream that is given up; what it says about that is known already."""
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except (pa.ArrowException, OSError):
                pass


def _parts(batch: Any) -> list[Any]:
    """A batch in parts that a message can hold."""
    pieces = max(1, -(-batch.nbytes // BATCH_BYTES))
    size = max(1, -(-len(batch) // pieces))
    return [batch.slice(first, size) for first in range(0, len(batch), size)]

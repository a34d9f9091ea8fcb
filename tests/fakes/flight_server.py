"""The Arrow Flight server of Neo4j's Graph Data Science, as far as a database is imported through it (v1 commands)."""

from __future__ import annotations

import base64
import json
import secrets
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import flight

from tests.fakes.neo4j_catalogue import Catalogue, Graph, Import

ENTITIES = {"node": "NODE_LOAD_DONE", "relationship": "RELATIONSHIP_LOAD_DONE"}
NEEDED = {"node": {"nodeId"}, "relationship": {"sourceNodeId", "targetNodeId", "relationshipType"}}


class Door(flight.ServerMiddlewareFactory):
    """Basic credentials are answered with a token; a token is good until it is taken away."""

    def __init__(self, catalogue: Catalogue) -> None:
        super().__init__()
        self.catalogue = catalogue

    def start_call(self, info: Any, headers: dict[str, Any]) -> Any:
        scheme, _, value = next(iter(headers.get("authorization", [""]))).partition(" ")
        catalogue = self.catalogue
        with catalogue.lock:
            catalogue.calls.append(f"{scheme} {info.method.name}")
            if scheme == "Bearer" and value in catalogue.tokens:
                if catalogue.faults.expired_tokens > 0:
                    catalogue.faults.expired_tokens -= 1
                    catalogue.tokens.discard(value)
                else:
                    return Pass(value)
            elif scheme == "Basic" and base64.b64decode(value).decode() == f"{catalogue.user}:{catalogue.password}":
                token = secrets.token_hex(8)
                catalogue.tokens.add(token)
                return Pass(token)
        raise flight.FlightUnauthenticatedError("The client is unauthorized.")


class Pass(flight.ServerMiddleware):
    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


class FlightServer(flight.FlightServerBase):
    """Serves as soon as it is made, on a free port of the loopback."""

    def __init__(self, catalogue: Catalogue, tls: tuple[bytes, bytes] | None = None) -> None:
        scheme = "grpc+tls" if tls else "grpc+tcp"
        super().__init__(
            f"{scheme}://127.0.0.1:0", middleware={"door": Door(catalogue)}, tls_certificates=[tls] if tls else None
        )
        self.catalogue = catalogue

    def list_actions(self, context: Any) -> list[tuple[str, str]]:
        return [(f"v1/{name}", "") for name in ("CREATE_DATABASE", *ENTITIES.values(), "ABORT")]

    def do_action(self, context: Any, action: Any) -> list[bytes]:
        version, _, name = action.type.partition("/")
        body = json.loads(action.body.to_pybytes())
        if version != "v1":
            raise pa.ArrowInvalid(f"INVALID_ARGUMENT: unknown version {version}")
        with self.catalogue.lock:
            self.catalogue.calls.append(action.type)
            return [json.dumps({"name": body["name"], **self._act(name, body)}).encode()]

    def _act(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        catalogue, process = self.catalogue, body["name"]
        running = catalogue.imports.get(process)
        if name == "CREATE_DATABASE":
            if running is not None:
                raise flight.FlightServerError(f"ALREADY_EXISTS: an import {process} is running")
            if process in catalogue.databases or (process in catalogue.stores and not body.get("force")):
                raise flight.FlightServerError(f"ALREADY_EXISTS: the database {process} exists")
            catalogue.stores.pop(process, None)
            new = Import(Graph(), body.get("id_type", "INTEGER"), body.get("id_property", "__originalId__"))
            catalogue.imports[process] = new
            return {}
        if running is None:
            raise flight.FlightServerError(f"NOT_FOUND: No arrow process with the name {process}")
        if name == "ABORT":
            catalogue.imports.pop(process)
            running.aborted.set()
            return {}
        if name != ENTITIES.get(running.phase) or running.streams:
            raise pa.ArrowInvalid(f"INVALID_ARGUMENT: {name} while {running.phase}s are loaded")
        if name == "NODE_LOAD_DONE":
            running.phase = "relationship"
            return {"node_count": running.graph.nodes - catalogue.faults.lose_rows}
        catalogue.stores[process] = catalogue.imports.pop(process).graph
        return {"relationship_count": running.graph.relationships}

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        command = json.loads(descriptor.command)
        body = command["body"]
        with self.catalogue.lock:
            running = self.catalogue.imports.get(body["name"])
            if running is None or command["name"] != "PUT_COMMAND" or command["version"] != "v1":
                raise flight.FlightServerError(f"NOT_FOUND: No arrow process with the name {body['name']}")
            if body["entity_type"] != running.phase:
                raise pa.ArrowInvalid(f"INVALID_ARGUMENT: {body['entity_type']}s while {running.phase}s are loaded")
            check(reader.schema, body, running)
            running.streams += 1
            self.catalogue.changed.notify_all()
            running.peak_streams = max(running.streams, running.peak_streams)
        try:
            self._take(reader, writer, body, running)
        finally:
            with self.catalogue.lock:
                running.streams -= 1

    def _take(self, reader: Any, writer: Any, body: dict[str, Any], running: Import) -> None:
        faults = self.catalogue.faults
        for number, chunk in enumerate(reader):
            if faults.die_after is not None and number >= faults.die_after:
                raise flight.FlightInternalError("INTERNAL: the emulator was told to break off")
            if faults.no_ack_after is not None and number >= faults.no_ack_after:
                assert running.aborted.wait(30)
            if running.aborted.is_set():
                raise flight.FlightCancelledError("the import was aborted")
            batch = chunk.data
            with self.catalogue.lock:
                take(batch, body, running, self.catalogue.keep_rows)
            writer.write(b"ok")


def check(schema: Any, body: dict[str, Any], running: Import) -> None:
    """What the real server says no to, or has no vector for."""
    missing = NEEDED[running.phase] - set(schema.names)
    if running.phase == "node" and "labels" not in schema.names and not body.get("common_labels"):
        missing.add("labels")
    if missing:
        raise pa.ArrowInvalid(f"INVALID_ARGUMENT: columns {', '.join(sorted(missing))} are missing")
    wanted = pa.int64() if running.id_type == "INTEGER" else pa.string()
    for name in ("nodeId", "sourceNodeId", "targetNodeId"):
        if name in schema.names and schema.field(name).type != wanted:
            raise pa.ArrowInvalid(f"INVALID_ARGUMENT: {name} is {schema.field(name).type}, not {wanted}")
    for field in schema:
        if pa.types.is_large_string(field.type) or pa.types.is_dictionary(field.type):
            raise pa.ArrowInvalid(f"INVALID_ARGUMENT: {field.name} is {field.type}")


def take(batch: Any, body: dict[str, Any], running: Import, keep: bool) -> None:
    graph = running.graph
    if running.phase == "relationship":
        graph.relationships += len(batch)
        graph.types.update(count(batch.column("relationshipType")))
        return
    graph.nodes += len(batch)
    common = body.get("common_labels", [])
    graph.labels.update({label: len(batch) for label in common})
    if "labels" in batch.schema.names:
        column = batch.column("labels")
        graph.labels.update(count(pc.list_flatten(column) if pa.types.is_list(column.type) else column))
    if keep:
        for row in batch.to_pylist():
            found = row.pop("labels", [])
            labels = frozenset([*common, *([found] if isinstance(found, str) else found)])
            key = row.pop("nodeId")
            kept = {name: value for name, value in row.items() if value is not None}
            graph.rows[key] = (labels, {**kept, running.id_property: key})


def count(column: Any) -> Counter[str]:
    return Counter({part["values"]: part["counts"] for part in pc.value_counts(column).to_pylist()})

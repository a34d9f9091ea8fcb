"""Values of the embedded store as JSON has them.

Runs in the store's child process: the standard library only. Nodes and relationships come without the store's own
numbers, which differ from version to version, and without properties that a node has not.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Mapping
from typing import Any

# The comment of a table whose nodes may have several labels.
SEVERAL_LABELS = "labd: the property `labels` has all labels of a node"


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON has not goes as text."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return _graph_value(value)
    if isinstance(value, list | tuple | set):
        return [plain(part) for part in value]
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    return str(value)


def _graph_value(value: Mapping[Any, Any]) -> dict[str, Any]:
    """Nodes, relationships and paths without the store's own numbers; properties that a node has not are left out."""
    if "_NODES" in value and "_RELS" in value:
        return {"nodes": plain(value["_NODES"]), "relationships": plain(value["_RELS"])}
    if "_LABEL" not in value or "_ID" not in value:
        return {str(key): plain(part) for key, part in value.items()}
    own = {"_LABEL", "_ID", "_SRC", "_DST"}
    properties = {str(key): plain(part) for key, part in value.items() if key not in own and part is not None}
    if "_SRC" in value:
        return {"type": value["_LABEL"], "properties": properties}
    labels = properties["labels"] if isinstance(properties.get("labels"), list) else [value["_LABEL"]]
    return {"labels": labels, "properties": properties}

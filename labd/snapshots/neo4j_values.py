"""Values of the neo4j driver as JSON has them.

Nodes and relationships come without the store's own numbers, as from the embedded store: they differ from version to
version, and a reader that kept one would find another node behind it after a switch.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON has it; what JSON has not goes as text."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping) and not hasattr(value, "element_id"):  # nodes and relationships are mappings too
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return _graph_value(value)


def _graph_value(value: Any) -> Any:
    """Told by what they have: the driver's classes are not imported for it."""
    if hasattr(value, "labels"):
        return {"labels": sorted(value.labels), "properties": plain(dict(value.items()))}
    if hasattr(value, "relationships"):
        return {"nodes": plain(list(value.nodes)), "relationships": plain(list(value.relationships))}
    if hasattr(value, "start_node"):
        return {"type": value.type, "properties": plain(dict(value.items()))}
    if hasattr(value, "iso_format"):  # its times and durations; a duration is a tuple too
        return value.iso_format().replace("+00:00", "Z")
    if isinstance(value, list | tuple | set):
        return [plain(part) for part in value]
    return str(value)

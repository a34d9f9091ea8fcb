"""JSON documents: their records become lines, which are then read like JSON lines.

Why not all at once: pyarrow reads lines only, and a document as Python objects takes ten times its size. A line's end
in a document stands between values only, so a record without them is a line.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Generator, Iterator
from typing import Any

from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_text import Text

Json = dict[str, Any]
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(object_pairs_hook=lambda pairs: None, parse_float=len, parse_int=len)
_STRING = json.decoder.scanstring  # type: ignore[attr-defined]


def as_lines(text: Text, format_: Json, memory_bytes: int) -> Text:
    """The records of a document as JSON lines; the document is closed.

    Raises:
        FileFault: `malformed`, `wrong_encoding`, or `too_large` for the memory.
    """
    if text.size > memory_bytes:
        message = f"a JSON document of {text.size} bytes, the limit is {memory_bytes}; write it as JSON lines"
        raise FileFault("too_large", message)
    data = text.read(text.start, text.size)
    text.close()
    try:
        document = data.decode()
    except UnicodeDecodeError as fault:
        place = f"line {data.count(10, 0, fault.start) + 1}"
        raise FileFault(
            "wrong_encoding", f"byte 0x{data[fault.start]:02x} is no UTF-8; set the format's encoding", place
        ) from fault
    lines = io.BytesIO()
    if document.strip():
        path = str(format_.get("json_path", ""))
        try:
            for record in _records(document, path.split(".") if path else []):
                lines.write(record.replace("\n", " ").replace("\r", " ").encode())
                lines.write(b"\n")
        except json.JSONDecodeError as fault:
            raise FileFault("malformed", fault.msg, f"line {fault.lineno}, column {fault.colno}") from fault
        except RecursionError as fault:
            raise FileFault("malformed", "the document is nested too deeply") from fault
    return Text(text.name, data=lines.getvalue())


def _records(document: str, path: list[str]) -> Iterator[str]:
    """The texts of the records; the document is read to its end, so one that is cut short is refused."""
    place = yield from _at(document, _space(document, 0), path, path)
    place = _space(document, place)
    if place != len(document):
        raise json.JSONDecodeError(
            "more after the document; if every line is an object set the type to jsonl", document, place
        )


def _at(document: str, place: int, path: list[str], whole: list[str]) -> Generator[str, None, int]:
    if path:
        return (yield from _inside(document, place, path, whole))
    if document[place : place + 1] != "[":
        end = _value(document, place)
        yield document[place:end]
        return end
    place = _space(document, place + 1)
    if document[place : place + 1] == "]":
        return place + 1
    while True:
        end = _value(document, place)
        yield document[place:end]
        place = _space(document, end)
        mark = document[place : place + 1]
        if mark == "]":
            return place + 1
        if mark != ",":
            raise json.JSONDecodeError("a comma or ] expected between records", document, place)
        place = _space(document, place + 1)


def _inside(document: str, place: int, path: list[str], whole: list[str]) -> Generator[str, None, int]:
    """Go through an object to one of its names."""
    dotted, found = ".".join(whole), False
    if document[place : place + 1] != "{":
        raise json.JSONDecodeError(f"no object on the way to {dotted}", document, place)
    begun, place = place, _space(document, place + 1)
    while document[place : place + 1] != "}":
        if document[place : place + 1] != '"':
            raise json.JSONDecodeError("a name in quotes expected", document, place)
        name, place = _STRING(document, place + 1, True)
        place = _space(document, place)
        if document[place : place + 1] != ":":
            raise json.JSONDecodeError("a colon expected", document, place)
        place = _space(document, place + 1)
        if name == path[0] and not found:
            found = True
            place = yield from _at(document, place, path[1:], whole)
        else:
            place = _value(document, place)
        place = _space(document, place)
        if document[place : place + 1] == ",":
            place = _space(document, place + 1)
        elif document[place : place + 1] != "}":
            raise json.JSONDecodeError("a comma or } expected", document, place)
    if not found:
        raise json.JSONDecodeError(f"there is no {dotted}; set json_path", document, begun)
    return place + 1


def _value(document: str, place: int) -> int:
    end: int = _DECODER.raw_decode(document, place)[1]
    return end


def _space(document: str, place: int) -> int:
    match = _SPACE.match(document, place)
    return match.end() if match else place

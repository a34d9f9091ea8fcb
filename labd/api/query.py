"""Query parameters: from text to the Struct that an endpoint names; a fault names parameter, value and limit."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from labd.errors import BadRequest

PARAMETERS_AT_MOST = 50


class QueryReader:
    """Reads the parameters of one endpoint."""

    def __init__(self, kind: type[msgspec.Struct] | None) -> None:
        self._kind = kind
        self._names: dict[str, str] = {}
        if kind is not None:
            self._names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
        self._default = None if kind is None else _default_of(kind)

    def read(self, text: str) -> Any:
        """The parameters as the endpoint's Struct; None where it takes none.

        Raises:
            BadRequest: An unknown, repeated or bad parameter.
        """
        if not text and (self._kind is None or self._default is not None):
            return self._default
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=PARAMETERS_AT_MOST, errors="strict")
        except ValueError as fault:
            raise BadRequest(f"query string: {fault}; at most {PARAMETERS_AT_MOST} parameters in UTF-8") from None
        values: dict[str, str] = {}
        for name, value in pairs:
            if name not in self._names:
                known = ", ".join(sorted(self._names)) or "none"
                raise BadRequest(f"unknown query parameter {name[:80]}; this route takes {known}", parameter=name[:80])
            if name in values:
                raise BadRequest(f"query parameter {name} is given twice; give it once", parameter=name)
            values[name] = value
        if self._kind is None:
            return None
        try:
            return msgspec.convert(values, self._kind, strict=False)
        except msgspec.ValidationError as fault:
            raise self._explain(fault, values) from None

    def _explain(self, fault: msgspec.ValidationError, values: dict[str, str]) -> BadRequest:
        problem, _, path = str(fault).partition(" - at `$.")
        name = path.rstrip("`").partition(".")[0].partition("[")[0]
        if not name:
            return BadRequest(f"query: {problem}", problem=problem)
        value = values.get(name, "")[:80]
        return BadRequest(
            f"query parameter {name}={value}: {problem[:1].lower()}{problem[1:].replace('`', '')}",
            parameter=name,
            value=value,
            problem=problem,
        )


def _default_of(kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert({}, kind)
    except msgspec.ValidationError:
        return None

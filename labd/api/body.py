"""Request bodies: read within a size and a time, decoded to the type that the endpoint names."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web

from labd.api.answer import ENCODER
from labd.api.connection import ClientGone, connection_of
from labd.api.endpoint import Endpoint
from labd.errors import BadRequest, BodyTooLarge, LengthRequired, RequestTimeout

HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")  # msgspec lets the half of a surrogate pair through
SHORT_BYTES = 4 * 1024  # what a stop may take; read before it is known whether its request must wait in line
HEAVY_BYTES = 16 * 1024  # decoding it, and doing what it says, is the work of many others
NO_BODY = frozenset({b"", b"{}", b"null"})


class BodyReader:
    """Reads the bodies of one endpoint."""

    def __init__(self, endpoint: Endpoint, max_bytes: int, timeout_s: float) -> None:
        self._decoder = None if endpoint.body is None else msgspec.json.Decoder(endpoint.body)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._optional = self._decoder is None or _takes_nothing(self._decoder)

    async def short(self, request: web.BaseRequest, limit_s: float | None = None) -> bytes | None:
        """The body, if it is a short one; None where it is not, and was left unread.

        Raises:
            RequestTimeout: It did not arrive within `limit_s`.
            ClientGone: It never will.
        """
        length = request.content_length
        if length is None:
            length = request.content.total_bytes if request.content.is_eof() else SHORT_BYTES + 1
        if not 0 < length <= min(SHORT_BYTES, self._max_bytes):
            return None
        return await self._bytes(request, limit_s)

    async def read(self, request: web.BaseRequest, raw: bytes | None = None) -> Any:
        """The body of the request as the endpoint's type.

        Args:
            raw: It, where it was read already.

        Raises:
            LengthRequired: A body is needed and none was announced.
            BodyTooLarge: Longer than `max_bytes`; nothing of it was decoded.
            RequestTimeout: Not all of it arrived in time.
            BadRequest: No JSON, or not of the type; names the field.
        """
        if raw is None:
            raw = await self._bytes(request)
        if len(raw) > HEAVY_BYTES:
            connection = connection_of(request)
            await connection.door.turnstile.wait_heavy(connection.share_of or "")
        if self._decoder is None:
            if raw.strip() not in NO_BODY:
                raise BadRequest(f"{request.method} {request.path} takes no body; {len(raw)} bytes were sent")
            return None
        if not raw and self._optional:
            raw = b"{}"
        elif not raw:
            raise BadRequest(f"{request.method} {request.path} needs a JSON body; it was empty")
        try:
            value = self._decoder.decode(raw)
            if HALF_OF_A_PAIR.search(raw):
                ENCODER.encode(value)
        except msgspec.ValidationError as fault:
            problem, _, path = str(fault).partition(" - at `$")
            field = path.strip("`.")
            raise BadRequest(
                f"body{', field ' + field if field else ''}: {problem}", field=field, problem=problem
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise BadRequest(f"body is no JSON: {fault}") from None
        except UnicodeEncodeError:
            raise BadRequest("body: a text in it is no Unicode, it has half of a surrogate pair") from None
        except RecursionError:
            raise BadRequest("body: it is nested deeper than labd reads") from None
        return value

    async def _bytes(self, request: web.BaseRequest, limit_s: float | None = None) -> bytes:
        content = request.content
        length = request.content_length
        if length is None and not request.body_exists:
            if not self._optional:
                raise LengthRequired(f"{request.method} {request.path} needs a JSON body with a Content-Length")
            return b""
        if length is not None and length > self._max_bytes:
            raise self._too_large(f"{length}")
        if content.is_eof():
            raw = content.read_nowait()
            if len(raw) > self._max_bytes:
                raise self._too_large(f"{len(raw)}")
            return raw
        if request.headers.get("Expect", "").lower() == "100-continue":
            transport = request.transport
            if transport is not None:
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        limit_s = self._timeout_s if limit_s is None else min(limit_s, self._timeout_s)
        try:
            async with asyncio.timeout(limit_s):
                return await self._stream(request)
        except TimeoutError:
            connection_of(request).linger_no_more()
            raise RequestTimeout(f"the body did not arrive within {limit_s:g} s") from None
        except (ConnectionError, web.RequestPayloadError):
            raise ClientGone("the client hung up before its body was whole") from None

    async def _stream(self, request: web.BaseRequest) -> bytes:
        connection = connection_of(request)
        chunks: list[bytes] = []
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large(f"more than {self._max_bytes}")
            connection.door.hold_body(connection, len(chunk))
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self, size: str) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body has {size} bytes, labd takes {self._max_bytes}; send less at once or raise api.max_body_bytes",
            limit_bytes=self._max_bytes,
        )


def _takes_nothing(decoder: msgspec.json.Decoder[Any]) -> bool:
    try:
        decoder.decode(b"{}")
    except msgspec.ValidationError:
        return False
    return True

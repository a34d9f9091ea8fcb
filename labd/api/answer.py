"""JSON answers: encoded once, and sent in one write where nothing special is asked.

Why not always `web.Response`: its headers are built as a multidict and serialised for every answer, a twentieth of the
whole cost of a submission. An ordinary answer differs from the next only in status, length and date.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy

ENCODER = msgspec.json.Encoder(enc_hook=str)
JSON_HEADERS = CIMultiDictProxy(
    CIMultiDict({"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
)
SMALL_BYTES = 32 * 1024
_HEADS: dict[int, str] = {
    status: f"HTTP/1.1 {status} {reason}\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in JSON_HEADERS.items())
    + "Date: %s\r\nContent-Length: %d\r\n\r\n"
    for status, reason in ((200, "OK"), (201, "Created"))
}


def json_answer(request: Any, value: Any, status: int = 200) -> web.StreamResponse:
    """The value as JSON; `request` decides how it may be sent."""
    body = ENCODER.encode(value)
    is_plain = request.method != "HEAD" and request.version == HttpVersion11 and request.keep_alive
    if is_plain and status in _HEADS and len(body) <= SMALL_BYTES:
        return SmallAnswer(body, status)
    return web.Response(body=body, status=status, headers=JSON_HEADERS)


class SmallAnswer(web.StreamResponse):
    """A short JSON body to a HTTP/1.1 client that keeps its connection.

    Only what aiohttp's protocol asks of a response is there: `prepare`, `write_eof`, `status`, `keep_alive`.
    """

    def __init__(self, body: bytes, status: int) -> None:
        # The parent's state is left out on purpose: building it is what this class is there to avoid.
        self._status = status
        self._text = body
        self._keep_alive = True
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Remember where to send it; nothing is sent yet."""
        self._request = request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send head and body in one write.

        Raises:
            ConnectionResetError: The client is gone.
        """
        assert self._request is not None
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        head = _HEADS[self._status] % (rfc822_formatted_time(), len(self._text))
        transport.write(head.encode() + self._text)
        if transport.get_write_buffer_size() > SMALL_BYTES:
            # A client that sends requests and reads no answers: let it wait for itself.
            await self._request.protocol._drain_helper()

"""A door before an object store: hands requests on, writes them down, and answers some of them itself.

Why not a fault inside the emulators: none of them knows permissions on a prefix, and what labd asks for is proof of
what it does not list.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.broker import DEADLINE_S

ERROR = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{}</Code><Message>no</Message></Error>"
Answer = tuple[int, str]


class StoreDoor:
    """Serves from its making to `close`. `asked` are the requests as `(method, path, query)`.

    `answers` is asked for each one: a status and a code of S3's errors, None to hand it on. `before` is called first.

    Args:
        keeps_host: Hand on the Host header, which is part of what was signed; fake-gcs-server wants its own.
    """

    def __init__(self, endpoint: str, *, keeps_host: bool) -> None:
        self._keeps_host = keeps_host
        self._host = urlsplit(endpoint).netloc
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: Callable[[str, dict[str, str]], Answer | None] = lambda path, query: None
        self.before: Callable[[str, dict[str, str]], None] = lambda path, query: None
        self.is_silent = False
        self._closing = threading.Event()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 2.0

            def do_GET(self) -> None:
                door._serve(self)

            do_HEAD = do_GET  # noqa: N815 the library calls it so

            def log_message(self, *told: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def listed(self) -> list[str]:
        """Prefixes of the listings that were asked for, each once, in order."""
        found = [query.get("prefix", "") for _, _, query in self.asked if {"list-type", "comp"} & set(query)]
        return list(dict.fromkeys(found))

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        path, query = unquote(parts.path), {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        self.asked.append((request.command, path, query))
        if self.is_silent:
            self._closing.wait(DEADLINE_S)
            request.close_connection = True
            return
        self.before(path, query)
        answer = self.answers(path, query)
        if answer is not None:
            self._say(request, answer[0], ERROR.format(answer[1]).encode(), {"Content-Type": "application/xml"})
            return
        onward = http.client.HTTPConnection(self._host, timeout=DEADLINE_S)
        try:
            onward.putrequest(request.command, request.path, skip_host=self._keeps_host, skip_accept_encoding=True)
            for name, text in request.headers.items():
                if self._keeps_host or name.lower() != "host":
                    onward.putheader(name, text)
            onward.endheaders()
            told = onward.getresponse()
            left_out = ("transfer-encoding", "connection", "content-length")
            headers = {name: text for name, text in told.getheaders() if name.lower() not in left_out}
            content = told.read()
            size = told.getheader("Content-Length") if request.command == "HEAD" else None
            self._say(request, told.status, content, headers, size)
        finally:
            onward.close()

    def _say(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: dict[str, str],
        size: str | None = None,
    ) -> None:
        request.send_response_only(status)
        for name, text in headers.items():
            request.send_header(name, text)
        request.send_header("Content-Length", size or str(len(content)))
        request.send_header("Connection", "close")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def close(self) -> None:
        """End it with all its threads; a second call does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

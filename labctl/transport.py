"""How a request reaches the daemon: over a Unix socket, TCP or TLS, with the standard library alone.

Why no HTTP package: `labctl status` and, above all, `labctl resort stop` must be at the socket a blink after the key
was pressed; an asyncio client costs several times the whole budget before its first byte. TLS is imported for https
only.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from labctl.routes import Request
from labctl.wire import Wire
from labd.errors import BadRequest, DaemonUnreachable

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0


class Address(NamedTuple):
    """Where a daemon may be, and what is said to be let in; `source` tells people where the address came from."""

    kind: str  # unix, http or https
    target: str  # path of the socket, or host name
    port: int = 0
    prefix: str = ""
    token: str | None = None
    ca_file: str | None = None
    source: str = ""

    @property
    def authority(self) -> str:
        """What goes into the `Host` header."""
        if self.kind == "unix":
            return "localhost"
        host = f"[{self.target}]" if ":" in self.target else self.target
        return host if self.port == {"http": 80, "https": 443}[self.kind] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as people write it."""
        if self.kind == "unix":
            return f"unix:{self.target}"
        host = f"[{self.target}]" if ":" in self.target else self.target
        return f"{self.kind}://{host}:{self.port}{self.prefix}"


class Answer(NamedTuple):
    """What came back."""

    status: int
    content_type: str
    body: bytes
    retry_after: str = ""


def parse_address(text: str, *, token: str | None = None, ca_file: str | None = None, source: str = "") -> Address:
    """An address from `unix:/path`, `/path`, `http://host[:port]` or `https://host[:port][/prefix]`.

    Raises:
        BadRequest: Any other form.
    """
    if text.startswith(("unix:", "/")):
        path = text.removeprefix("unix:")
        while path.startswith("//"):
            path = path[1:]
        if path:
            return Address("unix", path, token=token, source=source)
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 0
        if port:
            return Address(parts.scheme, parts.hostname, port, parts.path.rstrip("/"), token, ca_file, source)
    raise BadRequest(
        f"{text}: not an address of a daemon; write unix:/path/labd.sock, http://host:8780 or https://host"
        " (or a name of `labctl host list`)",
        address=text,
    )


def usual_sockets(environ: Mapping[str, str]) -> list[str]:
    """Where a daemon listens unless its settings say otherwise: the user's own first, then the system's."""
    if sys.platform == "win32":
        return []
    found = []
    if environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(environ["XDG_RUNTIME_DIR"]) / "labd" / "labd.sock")
    found.append(Path(environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "labd" / "run" / "labd.sock")
    found.append(Path("/run/labd/labd.sock"))
    return [str(path) for path in found]


class Transport:
    """One connection, kept open between requests; not for use by several threads.

    Args:
        candidates: Addresses in the order in which they are tried; the first that lets itself be opened stays.
        connect_timeout_s: Limit for opening a connection.
        timeout_s: Limit for an answer, unless a request brings its own.
    """

    def __init__(
        self,
        candidates: list[Address],
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._candidates = candidates
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._wire: Wire | None = None
        self.address = candidates[0] if candidates else None

    def exchange(self, request: Request, timeout_s: float | None = None) -> Answer:
        """Send a request and read its whole answer.

        Raises:
            DaemonUnreachable: Nobody there, no answer in time, or the connection broke.
        """
        wire = self._send(request, timeout_s)
        try:
            body = wire.read()
        except OSError as fault:
            self.close()
            raise self._broken(request, fault, timeout_s) from fault
        if wire.closes:
            self.close()
        return Answer(wire.status, wire.content_type, body, wire.headers.get("retry-after", ""))

    def stream(self, request: Request, timeout_s: float | None = None) -> tuple[Answer, Iterator[bytes]]:
        """Send a request and read its answer piece by piece; the connection is closed when the iterator is done.

        Returns:
            The answer's head (its body is empty below status 400) and the lines or blocks as they come; silence of
            `timeout_s` ends them.
        """
        wire = self._send(request, timeout_s)
        if wire.status >= 400:
            answer = Answer(wire.status, wire.content_type, wire.read(), wire.headers.get("retry-after", ""))
            self.close()
            return answer, iter(())
        return Answer(wire.status, wire.content_type, b""), self._pieces(request, wire, timeout_s)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _pieces(self, request: Request, wire: Wire, timeout_s: float | None) -> Iterator[bytes]:
        try:
            yield from wire.lines() if wire.content_type == "text/event-stream" else wire.blocks()
        except TimeoutError:
            return
        except OSError as fault:
            raise self._broken(request, fault, timeout_s) from fault
        finally:
            self.close()

    def _send(self, request: Request, timeout_s: float | None) -> Wire:
        wire = self._kept()
        reused = wire is not None
        if wire is None:
            wire = self._open()
        assert self.address is not None
        wire.sock.settimeout(self._timeout_s if timeout_s is None else timeout_s)
        headers = {"Accept": request.accept, "User-Agent": "labctl"}
        body: bytes | None = None
        if request.body is not None:
            body = request.encoded()
            headers["Content-Type"] = "application/json"
        if self.address.token and self.address.kind != "unix":  # on the socket the kernel says who asks
            headers["Authorization"] = f"Bearer {self.address.token}"
        headers.update(request.headers)
        target = self.address.prefix + request.path
        if request.query:
            target += "?" + urlencode(request.query)
        try:
            wire.ask(request.method, target, headers, body)
        except OSError as fault:
            self.close()
            # A kept connection that the daemon closed at this very moment: a read can be asked again, anything else
            # cannot, because the daemon may have taken it.
            if reused and request.method == "GET" and not isinstance(fault, TimeoutError):
                return self._send(request, timeout_s)
            raise self._broken(request, fault, timeout_s) from fault
        return wire

    def _kept(self) -> Wire | None:
        """The open connection, unless the other side closed it: an idle one must have nothing to read."""
        if self._wire is not None and select.select([self._wire.sock], [], [], 0)[0]:
            self.close()
        return self._wire

    def _open(self) -> Wire:
        tried: list[str] = []
        for address in self._candidates:
            try:
                sock = _connected(address, self._connect_timeout_s)
            except OSError as fault:
                tried.append(f"{address.url} ({_plain(fault)})")
                continue
            self._wire, self.address = Wire(sock, address.authority), address
            return self._wire
        raise unreachable(tried, self._candidates)

    def _broken(self, request: Request, fault: Exception, timeout_s: float | None) -> DaemonUnreachable:
        where = self.address.url if self.address else "nowhere"
        if isinstance(fault, TimeoutError):
            limit_s = self._timeout_s if timeout_s is None else timeout_s
            text = f"{where}: the daemon took the request and did not answer within {limit_s:g} s"
        else:
            text = f"{where}: the connection broke before the answer came ({_plain(fault)})"
        if request.method != "GET":
            text += "; it may have been accepted: look with `labctl job list`"
        else:
            text += "; look at its log (journalctl -u labd)"
        return DaemonUnreachable(text, tried=[where])


def unreachable(tried: list[str], candidates: list[Address]) -> DaemonUnreachable:
    """The error that says where labctl looked and what to do next."""
    if not tried:
        text = "no daemon is known; name it with --host, LABD_HOST or `labctl host add`"
    elif any("permission denied" in one for one in tried):
        text = f"no daemon answers at {', '.join(tried)}; is your user in the group of the socket (`ls -l`, `id`)?"
    elif all(address.kind == "unix" for address in candidates):
        text = f"no daemon answers at {', '.join(tried)}; start it (`labd run`, `systemctl start labd`) or name"
        text += " another with --host or LABD_HOST"
    else:
        text = f"no daemon answers at {', '.join(tried)}; is it running there, and is the address right?"
    return DaemonUnreachable(text, tried=tried)


def _connected(address: Address, timeout_s: float) -> socket.socket:
    if address.kind == "unix":
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise OSError("this platform has no Unix sockets; use --host http://... or https://...")
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            _wait_in_line(sock, timeout_s)
            sock.connect(address.target)
            sock.settimeout(timeout_s)
        except BlockingIOError:
            sock.close()
            raise TimeoutError from None
        except OSError:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((address.target, address.port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.kind == "http":
        return sock
    try:
        import ssl

        return ssl.create_default_context(cafile=address.ca_file).wrap_socket(sock, server_hostname=address.target)
    except OSError:
        sock.close()
        raise


def _wait_in_line(sock: socket.socket, timeout_s: float) -> None:
    """Have `connect` wait where too many others are connecting just now, as in a flood, through which a stop must get.

    Why not `settimeout`: it makes the socket non-blocking, and a Unix socket whose queue is full then refuses at once
    with EAGAIN, as if nobody were there; a blocking one waits in the queue for its send timeout. Linux, unix(7).
    """
    whole_s = int(timeout_s)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", whole_s, int((timeout_s - whole_s) * 1e6)))


def _plain(fault: Exception) -> str:
    if isinstance(fault, FileNotFoundError):
        return "no such socket"
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    text = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return str(text).lower()

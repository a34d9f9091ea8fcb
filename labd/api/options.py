"""What the doors may be told: a frozen value, made from `[api]` and `[access]` by whoever starts the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from labd.errors import SettingsFault


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Settings of the doors.

    Args:
        socket: Path of the Unix socket.
        state_dir: Where `GET /backup` may put its copies while it sends them.
        host_name: Name of this host; also a name under which browsers may ask for it.
        listen: `address:port` of the TCP listener, `[::1]:8780` for IPv6, None for none; port 0 takes a free one.
        tls_cert, tls_key: PEM files; both or none.
        behind_proxy: A proxy in front does TLS, so a listener beyond loopback may speak plain HTTP.
        allowed_hosts: Further values of the `Host` header; loopback names, `listen` and `host_name` are always allowed.
        allowed_origins: Further values of the `Origin` header, such as `https://lab.example`.
        users, groups: Who may do what on the socket: name or number -> `read`, `operate` or `admin`; `*` is everybody.
        max_body_bytes: Longest request body.
        request_timeout_s: How long the headers of a request, and again its body, may take.
        keepalive_s: How long an idle connection is kept.
        event_keepalive_s: Pause after which an event stream sends a comment, so that proxies keep it.
        event_write_timeout_s: How long a client may take nothing of an answer, or of its events, before it is cut off;
            a reader of events may resume.
        session_s: How long a browser stays logged in without use.
        session_most_s: How long a browser that is used stays logged in.
        stop_grace_s: How long requests may still run when the server stops.
        connections_at_most: Connections at once, counted for the socket and for TCP apart; event streams not counted.
        event_streams_at_most: Event streams at once, of both listeners together.
        bodies_at_most_bytes: What the bodies of all requests that are being read may hold together.
        share_per_caller: Which part of the connections, by requests under way, and of the event streams one caller may
            have.
    """

    socket: Path
    state_dir: Path
    host_name: str = "localhost"
    listen: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_body_bytes: int = 4 * 1024 * 1024
    request_timeout_s: float = 20.0
    keepalive_s: float = 75.0
    event_keepalive_s: float = 15.0
    event_write_timeout_s: float = 60.0
    session_s: float = 12 * 3600.0
    session_most_s: float = 30 * 86400.0
    stop_grace_s: float = 5.0
    connections_at_most: int = 400
    event_streams_at_most: int = 1200
    bodies_at_most_bytes: int = 32 * 1024 * 1024
    share_per_caller: float = 0.75

    def address(self) -> tuple[str, int] | None:
        """Host and port of the TCP listener.

        Raises:
            SettingsFault: `listen` is not `address:port`.
        """
        if self.listen is None:
            return None
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise SettingsFault(f"api.listen = {self.listen}: expected address:port, such as 127.0.0.1:8780")
        return host.strip("[]"), int(port)

    def check(self) -> None:
        """Refuse combinations that would open the host to strangers.

        Raises:
            SettingsFault: Half a TLS pair, or a listener beyond loopback without TLS and without `behind_proxy`.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingsFault("api.tls_cert and api.tls_key: set both or none")
        address = self.address()
        if address and not is_loopback(address[0]) and self.tls_cert is None and not self.behind_proxy:
            raise SettingsFault(
                f"api.listen = {self.listen} reaches beyond this host without TLS; set api.tls_cert and api.tls_key, "
                "listen on 127.0.0.1, or say api.behind_proxy = true if a proxy in front does TLS"
            )


def is_loopback(host: str) -> bool:
    """Whether only this host can reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

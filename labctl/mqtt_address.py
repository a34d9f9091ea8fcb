"""Where a broker is, as people write it."""

from __future__ import annotations

from labd.errors import BadRequest


def parse_broker(broker: str, ca_file: str | None) -> tuple[str, int, bool]:
    """Host, port and whether TLS is spoken.

    Raises:
        BadRequest: No `host`, `host:port`, `mqtt://` or `mqtts://`.
    """
    scheme, _, rest = broker.rpartition("://")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, ""
    host = host.removeprefix("[").removesuffix("]")
    if scheme not in ("", "mqtt", "mqtts") or not host or (port and not port.isdecimal()):
        raise BadRequest(f"{broker}: no broker; write host, host:port or mqtts://host", broker=broker)
    tls = scheme == "mqtts" or (scheme == "" and (ca_file is not None or port == "8883"))
    return host, int(port) if port else (8883 if tls else 1883), tls

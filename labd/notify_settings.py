"""`[notify]`: where alerts go, each outlet in a table of its own name: `[notify.ops]`.

Why URLs of apprise are references only: the token of the service is a part of them. The same holds for many webhooks,
so theirs may be one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from labd.credentials import SecretReference
from labd.settings_table import Problems, read_table
from labd.settings_types import Name, PositiveSeconds, Seconds, is_loopback

Severity = Literal["info", "warning", "error", "critical"]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
# A reference is a URL too, as far as its first letters go; the secret of neither is shown in a fault.
WebhookUrl = Annotated[
    str, Meta(pattern=r"^(https?://\S+|env:\w+|file:/.+|credential:[\w.@-]+)$", extra={"secret": True})
]
REFERENCES = ("env:", "file:", "credential:")


class OutletSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[notify.NAME]`: one outlet of alerts, and which of them it gets."""

    kind: Literal["webhook", "mqtt", "apprise"]
    url: WebhookUrl | None = None
    secret: SecretReference | None = None
    ca_file: str | None = None
    plaintext: bool = False
    timeout_s: PositiveSeconds = 10.0
    only: tuple[Code, ...] = ()
    min_severity: Severity = "warning"

    def __post_init__(self) -> None:
        if self.kind == "mqtt":
            if self.url is not None or self.secret is not None:
                raise ValueError(
                    "url: an outlet over MQTT goes through the broker of [mqtt]; url and secret are not its"
                )
            return
        if self.url is None:
            raise ValueError(f"url: an outlet of kind {self.kind} needs one")
        if self.kind == "apprise":
            if not self.url.startswith(REFERENCES):
                raise ValueError("url: of apprise needs a reference (env:NAME, file:/path or credential:name)")
            if self.secret is not None or self.ca_file is not None:
                raise ValueError("secret: secret and ca_file are for webhooks; apprise has its own in the URL")
        elif not self.url.startswith(REFERENCES):
            check_webhook(self.url, self.plaintext)


class NotifyKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `[notify]` itself, which hold for all outlets."""

    remind_after_s: Seconds = 0.0
    quiet_s: Seconds = 60.0


class NotifySettings(NotifyKeys, frozen=True, kw_only=True):
    """`[notify]` with its tables, by name."""

    outlets: dict[str, OutletSettings] = {}


def check_webhook(url: str, plaintext: bool) -> None:
    """Whether alerts may be posted there.

    Raises:
        ValueError: No URL of a host, or one beyond this host without TLS.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url: needs http:// or https:// and a host")
    if parts.scheme == "http" and not plaintext and not is_loopback(parts.hostname):
        raise ValueError(
            f"url: {parts.hostname} is another host; use https, or plaintext = true if the line between is safe"
        )


def parse(table: Mapping[str, Any], where: str, has_mqtt: bool, problems: Problems) -> NotifySettings | None:
    """The settings of `[notify]`; None if it has a fault.

    Args:
        has_mqtt: Whether there is a broker to publish through.
    """
    before = len(problems)
    own = read_table(
        NotifyKeys, {key: value for key, value in table.items() if not isinstance(value, Mapping)}, where, "notify",
        problems,
    )  # fmt: skip
    outlets: dict[str, OutletSettings] = {}
    for name, part in table.items():
        if not isinstance(part, Mapping):
            continue
        key = f"notify.{name}"
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            problems.add(where, key, "a name has letters, digits, dot, minus and underscore, at most 63")
            continue
        outlet = read_table(OutletSettings, part, where, key, problems)
        if outlet is None:
            continue
        if outlet.kind == "mqtt" and not has_mqtt:
            problems.add(where, f"{key}.kind", "mqtt goes through the broker of [mqtt], which is not configured")
        if outlet.ca_file is not None and not Path(outlet.ca_file).is_file():
            problems.add(where, f"{key}.ca_file", f"no file {outlet.ca_file}")
        outlets[name] = outlet
    if own is None or len(problems) > before:
        return None
    return NotifySettings(remind_after_s=own.remind_after_s, quiet_s=own.quiet_s, outlets=outlets)

"""`GET /api/v1/settings`: what the daemon works with, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from labd.api.endpoint import Call, Endpoint

_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")


class SettingView(msgspec.Struct):
    """One key that was set; secrets are references such as `env:NAME`, never values."""

    key: str
    value: Any
    origin: str


class SettingsView(msgspec.Struct):
    """Every key that a file, a variable or the command line sets; all others have their defaults."""

    settings: list[SettingView]


def endpoints(given: Callable[[], tuple[Mapping[str, Any], Mapping[str, str]]]) -> list[Endpoint]:
    """The route.

    Args:
        given: Every key with its value, and every key with its origin.
    """

    async def settings(call: Call) -> SettingsView:
        values, origins = given()
        return SettingsView([SettingView(key, _shown(values[key]), origins.get(key, "")) for key in sorted(values)])

    return [
        Endpoint("GET", "/api/v1/settings", settings, "admin", "Every key that is set, and where",
                 answer=SettingsView, tags=("daemon",)),
    ]  # fmt: skip


def _shown(value: Any) -> Any:
    """The value without user and password of a URL, which no setting should have but one may."""
    if isinstance(value, str):
        return _USER_INFO.sub("***", value)
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if isinstance(value, dict):
        return {name: _shown(one) for name, one in value.items()}
    return value

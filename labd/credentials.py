"""Secrets as references: settings hold where a secret is, never the secret.

`env:NAME` is an environment variable, `file:/path` the first line of a file, `credential:name` a systemd credential
(`LoadCredential=` in the unit; a file in `$CREDENTIALS_DIRECTORY`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from labd.errors import SettingsFault

SecretReference = Annotated[
    str, msgspec.Meta(pattern=r"^(env:\w+|file:/.+|credential:[\w.@-]+)$", extra={"secret": True})
]
"""Type of a setting that names a secret; its faults never show the value."""


def resolve(reference: str, environ: Mapping[str, str] | None = None) -> str:
    """The secret that a reference names.

    Args:
        reference: `env:NAME`, `file:/path` or `credential:name`.
        environ: The environment; the process's own unless said.

    Raises:
        SettingsFault: The secret is not there, cannot be read or is empty.
    """
    environ = os.environ if environ is None else environ
    kind, _, name = reference.partition(":")
    if kind == "env":
        secret = environ.get(name, "")
        if not secret:
            raise SettingsFault(f"{reference}: the environment variable {name} is not set or empty")
        return secret
    path = path_of(reference, environ)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsFault(f"{reference}: {path} cannot be read: {_reason(fault)}") from fault
    lines = text.splitlines()
    if not lines or not lines[0]:
        raise SettingsFault(f"{reference}: {path} is empty")
    return lines[0]


def without_secrets(environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """The environment for others, without the variables that the settings name as secrets.

    Why, when a task could find them all the same, being of one user with labd: what it prints goes into logs and
    bundles, and many a library prints its environment. A task that needs one reads a file, or another variable.

    Args:
        given: The settings by dotted key, as they were written.
    """
    texts = (text for value in given.values() for text in (value if isinstance(value, list | tuple) else (value,)))
    named = {text.removeprefix("env:") for text in texts if isinstance(text, str) and text.startswith("env:")}
    return {name: value for name, value in environ.items() if name not in named}


def path_of(reference: str, environ: Mapping[str, str] | None = None) -> Path:
    """The file that a `file:` or `credential:` reference, or a plain path, names; it need not exist.

    Raises:
        SettingsFault: A credential is asked for and systemd gave none, or the reference is no file.
    """
    environ = os.environ if environ is None else environ
    if reference.startswith("credential:"):
        folder = environ.get("CREDENTIALS_DIRECTORY")
        name = reference.removeprefix("credential:")
        if not folder:
            raise SettingsFault(
                f"{reference}: systemd gave no credentials; add LoadCredential={name}:/path to the unit"
            )
        if "/" in name or name in {"", ".", ".."}:
            raise SettingsFault(f"{reference}: the name of a credential has no slash")
        return Path(folder) / name
    if reference.startswith("env:") or (":" in reference.split("/")[0] and not reference.startswith("file:")):
        raise SettingsFault(f"{reference}: unknown kind of reference; use env:NAME, file:/path or credential:name")
    return Path(reference.removeprefix("file:"))


def _reason(fault: Exception) -> str:
    return (fault.strerror or str(fault)) if isinstance(fault, OSError) else "it is not UTF-8 text"

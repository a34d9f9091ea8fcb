"""The daemons that labctl knows by name, and the search for the one that is meant.

Why one JSON file of mode 0600: it holds tokens. It is written whole into a new file that is moved into place, so a
crash leaves the old one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labctl.transport import Address, parse_address, usual_sockets
from labd.errors import BadRequest, NotFound


class HostFile:
    """`hosts.json` of one user: `{"chosen": name or None, "hosts": {name: {"url", "token", "ca_file"}}}`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """What is kept; an absent file is an empty one.

        Raises:
            BadRequest: The file is there and is not what labctl wrote.
        """
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            hosts = document["hosts"]
            if not isinstance(hosts, dict) or not all(isinstance(one["url"], str) for one in hosts.values()):
                raise TypeError("hosts")
        except FileNotFoundError:
            return {"chosen": None, "hosts": {}}
        except (ValueError, KeyError, TypeError):
            raise BadRequest(f"{self.path} cannot be read as labctl's list of hosts; move it away") from None
        return {"chosen": document.get("chosen"), "hosts": hosts}

    def add(self, name: str, url: str, token: str | None, ca_file: str | None, choose: bool) -> None:
        """Keep a daemon under a name; the same name again replaces it, the first one is chosen."""
        parse_address(url)
        if not name or name.startswith("unix:") or "/" in name or ":" in name:
            raise BadRequest(f"{name}: a host's name has no `/` and no `:`, so that it is never taken for an address")
        document = self.read()
        entry = {"url": url, "token": token, "ca_file": ca_file}
        document["hosts"][name] = {key: value for key, value in entry.items() if value is not None}
        if choose or len(document["hosts"]) == 1:
            document["chosen"] = name
        self._write(document)

    def use(self, name: str | None) -> None:
        """Choose a daemon for all later commands; None goes back to the usual sockets."""
        document = self.read()
        if name is not None:
            self._known(document, name)
        document["chosen"] = name
        self._write(document)

    def remove(self, name: str) -> None:
        """Forget a daemon and its token."""
        document = self.read()
        self._known(document, name)
        del document["hosts"][name]
        if document["chosen"] == name:
            document["chosen"] = None
        self._write(document)

    def address(self, name: str, source: str) -> Address | None:
        """Where the daemon of this name is; None for a name that is not kept."""
        entry = self.read()["hosts"].get(name)
        if entry is None:
            return None
        return parse_address(entry["url"], token=entry.get("token"), ca_file=entry.get("ca_file"), source=source)

    def _known(self, document: dict[str, Any], name: str) -> None:
        if name not in document["hosts"]:
            names = ", ".join(sorted(document["hosts"])) or "none"
            raise NotFound(f"no host is named {name}; known: {names}; add it with `labctl host add {name} URL`")

    def _write(self, document: dict[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, ensure_ascii=False)
            file.write("\n")
        fresh.replace(self.path)


def host_file(environ: Mapping[str, str]) -> HostFile:
    """The file of this user."""
    if sys.platform == "win32":
        folder = environ.get("APPDATA") or "~/AppData/Roaming"
    else:
        folder = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return HostFile(Path(folder).expanduser() / "labd" / "hosts.json")


def find(
    host: str | None = None,
    *,
    token: str | None = None,
    ca_file: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Address]:
    """Where the daemon may be: the host that was named, `LABD_HOST`, the chosen host, or the usual sockets.

    Args:
        host: An address or a name of the hosts file.
        token: Goes before `LABD_TOKEN`, which goes before the token that is kept.

    Raises:
        BadRequest: The host is neither an address nor a known name.
    """
    environ = os.environ if environ is None else environ
    file = host_file(environ)
    token = token or environ.get("LABD_TOKEN") or None
    found: list[Address] = []
    if host:
        found = [_named(file, host, "--host")]
    elif environ.get("LABD_HOST"):
        found = [_named(file, environ["LABD_HOST"], "LABD_HOST")]
    else:
        chosen = file.read()["chosen"]
        kept = file.address(chosen, f"labctl host use {chosen}") if chosen else None
        found = [kept] if kept else [Address("unix", path, source="usual") for path in usual_sockets(environ)]
    return [one._replace(token=token or one.token, ca_file=ca_file or one.ca_file) for one in found]


def _named(file: HostFile, host: str, source: str) -> Address:
    return file.address(host, source) or parse_address(host, source=source)

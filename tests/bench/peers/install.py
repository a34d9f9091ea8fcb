"""Makes the environments of the peers, each its own, and says what lies in them.

Packages come from the Python registry by uv, database servers from Debian by apt, where they are not there yet. The
environments stay in the user's cache; `--fresh` makes them anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.peers.peer import ROOT, Peer
from tests.bench.peers.services import POSTGRES
from tests.bench.report import say

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-peers"
LIMIT_S = 900.0
SERVERS = {"redis-server": lambda: shutil.which("redis-server") is not None, "postgresql-15": lambda: bool(POSTGRES)}
LOOK = """
import importlib.metadata as m, json, os
dists = [d for d in m.distributions() if d.metadata["Name"].lower() not in ("pip", "setuptools", "wheel")]
size = sum(os.path.getsize(p) for d in dists for f in d.files or () if (p := str(f.locate())) and os.path.isfile(p)
           and not p.endswith(".pyc"))
versions = {d.metadata["Name"]: d.version for d in dists}
print(json.dumps({"packages": len(dists), "megabytes": size / 1e6, "versions": versions}))
"""


def install(peer: Peer, fresh: bool) -> Path:
    """The interpreter of a peer's environment, made if it is not there; a checkout is put in anew every time."""
    _servers(peer)
    folder = CACHE / peer.environment
    python = folder / "bin" / "python"
    wanted = "\n".join(peer.requirements)
    marker = folder / "requirements"
    if fresh or not marker.exists() or marker.read_text() != wanted:
        say(f"{peer.environment}: installs {' '.join(peer.requirements)}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([_uv(), "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)])
        _run([*_install(python), *peer.requirements])
        marker.write_text(wanted)
    elif str(ROOT) in peer.requirements:
        again = ["--reinstall-package", "labd", "--no-deps"]
        _run([*_install(python), *again, *peer.requirements])
    return python


def look(peer: Peer, python: Path) -> dict[str, Any]:
    """Number, size and versions of the packages, and the size of the servers."""
    found: dict[str, Any] = json.loads(subprocess.run([python, "-c", LOOK], check=True, capture_output=True).stdout)
    found["server_megabytes"] = sum(_debian_megabytes(name) for name in peer.debian)
    return found


def _install(python: Path) -> list[str]:
    """With bytecode: the first start of a fresh environment writes it, later ones are what people have."""
    return [_uv(), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]


def _servers(peer: Peer) -> None:
    missing = [name for name in peer.debian if not SERVERS.get(name, lambda: True)()]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"{peer.title} needs {', '.join(missing)}; install it, then run this again")
    say(f"{peer.environment}: installs {' '.join(missing)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], environ)


def _debian_megabytes(name: str) -> float:
    command = ["dpkg-query", "--show", "--showformat=${Installed-Size}", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return int(done.stdout) * 1024 / 1e6 if done.returncode == 0 and done.stdout.isdecimal() else 0.0


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise RuntimeError("the peers are installed with uv, which is not there; `pip install uv`")
    return found


def _run(command: list[str], environ: dict[str, str] | None = None) -> None:
    subprocess.run(command, check=True, timeout=LIMIT_S, env=environ)

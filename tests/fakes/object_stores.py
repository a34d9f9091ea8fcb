"""Object stores for tests, each a real server on loopback: moto (S3), azurite (Azure Blob), fake-gcs-server (GCS).

`python -m tests.fakes.object_stores` puts azurite and fake-gcs-server into the user's cache, with the host's npm and Go
(1.22 or newer). Why these versions: fake-gcs-server 1.49.3 is the newest that Go 1.22 builds; azurite 3.35.0 takes the
API version that obstore speaks if it is told not to check it.
What fake-gcs-server cannot: begin a listing behind a name (it gives all of it), pages, credentials, a 404 for a bucket.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import obstore as typed_obstore
from obstore import store as typed_store

from tests.conftest import requires
from tests.fakes.broker import DEADLINE_S
from tests.fakes.mongo_server import CACHE, go_command

obstore: Any = typed_obstore
stores: Any = typed_store
AZURITE = CACHE / "azurite-3.35.0"
AZURITE_PROGRAM = AZURITE / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
GCS = CACHE / "fake-gcs-server-v1.49.3"
HOW = "python -m tests.fakes.object_stores"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published
_never = threading.Event()


def build() -> list[Path]:
    """Install what is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        if not GCS.exists():
            module = f"github.com/fsouza/fake-gcs-server@{GCS.name.removeprefix('fake-gcs-server-')}"
            environ = {**os.environ, "GOBIN": folder, "GOFLAGS": "-buildvcs=false"}
            subprocess.run([go_command(), "install", module], cwd=folder, env=environ, check=True)
            Path(folder, "fake-gcs-server").replace(GCS)
        if not AZURITE_PROGRAM.exists():
            npm = shutil.which("npm") or sys.exit("azurite needs npm to be installed")
            module = AZURITE.name.replace("-", "@", 1)
            options = ["--no-audit", "--no-fund", "--omit=dev", "--omit=optional", "--ignore-scripts"]
            subprocess.run([npm, "install", *options, f"--prefix={folder}", module], check=True)
            shutil.rmtree(AZURITE, ignore_errors=True)
            AZURITE.mkdir()
            for name in ("node_modules", "package.json"):
                shutil.move(Path(folder, name), AZURITE / name)
    return [GCS, AZURITE]


class Lab:
    """A place for files with the same face for all kinds: what tests do there, and how labd gets there."""

    kind = ""
    bucket = "lab-data"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = f"in-{uuid.uuid4().hex[:8]}"

    def access(self, pattern: str = "**/*", *, under: str = "", **more: Any) -> dict[str, Any]:
        """A `port.SourceAccess` of the files of this test."""
        url = self.url + (f"/{under}" if under else "")
        return {"url": url, "pattern": pattern, "settle_s": 0.0, "options": {}, "secrets": {}, **more}

    @property
    def url(self) -> str:
        """Of the files of this test."""
        raise NotImplementedError

    def put(self, path: str, content: bytes) -> None:
        """Write or overwrite a file."""
        raise NotImplementedError

    def delete(self, path: str) -> None:
        """Remove a file."""
        raise NotImplementedError


class LocalLab(Lab):
    """A folder."""

    kind = "local"

    @property
    def url(self) -> str:
        return (self.folder / self.prefix).as_uri()

    def put(self, path: str, content: bytes) -> None:
        full = self.folder / self.prefix / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)

    def delete(self, path: str) -> None:
        (self.folder / self.prefix / path).unlink()


class ServedLab(Lab):
    """A server of a store; `start` returns when it answers and has the bucket."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._store: Any = None

    def start(self) -> ServedLab:
        """Serve."""
        log_path = self.folder / f"{self.kind}.log"
        environ = {
            name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))
        }
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(self._command(), cwd=self.folder, env=environ, stdout=log, stderr=log)
        for _ in range(int(DEADLINE_S / 0.02)):
            assert self._process.poll() is None, log_path.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            _never.wait(0.02)
        self._make_bucket()
        return self

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    @property
    def url(self) -> str:
        return f"{self.kind}://{self.bucket}/{self.prefix}"

    def access(self, pattern: str = "**/*", *, under: str = "", **more: Any) -> dict[str, Any]:
        access = super().access(pattern, under=under, **more)
        access["options"] = {"endpoint": self.address, **self._options(), **access["options"]}
        access["secrets"] = self._secrets() | access["secrets"]
        return access

    def put(self, path: str, content: bytes) -> None:
        obstore.put(self._store, f"{self.prefix}/{path}", content)

    def delete(self, path: str) -> None:
        obstore.delete(self._store, f"{self.prefix}/{path}")

    @property
    def address(self) -> str:
        """What `endpoint` says."""
        return self.endpoint

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _make_bucket(self) -> None:
        raise NotImplementedError

    def _options(self) -> dict[str, str]:
        return {}

    def _secrets(self) -> dict[str, str]:
        return {}


class S3Lab(ServedLab):
    """moto; it takes any credentials."""

    kind = "s3"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def _make_bucket(self) -> None:
        _ask("PUT", f"{self.endpoint}/{self.bucket}")
        self._store = stores.S3Store(
            self.bucket, endpoint=self.endpoint, region="us-east-1", client_options={"allow_http": True},
            access_key_id="tester", secret_access_key="s3cr3t/+canary",
        )  # fmt: skip

    def put_raw(self, key: str, content: bytes) -> None:
        """A key that obstore would not write, such as `a//b` or `a/`."""
        _ask("PUT", f"{self.endpoint}/{self.bucket}/{urllib.parse.quote(f'{self.prefix}/{key}')}", content)

    def _options(self) -> dict[str, str]:
        return {"access_key_id": "tester"}

    def _secrets(self) -> dict[str, str]:
        return {"secret_access_key": "s3cr3t/+canary"}


class AzureLab(ServedLab):
    """azurite; it checks signatures."""

    kind = "az"

    def __init__(self, folder: Path) -> None:
        requires("azurite", AZURITE_PROGRAM.exists(), HOW)
        requires("node", shutil.which("node") is not None, HOW)
        super().__init__(folder)

    @property
    def address(self) -> str:
        return f"{self.endpoint}/{ACCOUNT}"

    def _command(self) -> list[str]:
        return [
            "node", str(AZURITE_PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(self.port),
            "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry",
        ]  # fmt: skip

    def _make_bucket(self) -> None:
        from pyarrow.fs import AzureFileSystem

        here = f"127.0.0.1:{self.port}"
        AzureFileSystem(
            ACCOUNT, account_key=ACCOUNT_KEY, blob_storage_authority=here, dfs_storage_authority=here,
            blob_storage_scheme="http", dfs_storage_scheme="http",
        ).create_dir(self.bucket)  # fmt: skip
        self._store = stores.AzureStore(
            self.bucket, endpoint=self.address, client_options={"allow_http": True}, account_name=ACCOUNT,
            account_key=ACCOUNT_KEY,
        )  # fmt: skip

    def _options(self) -> dict[str, str]:
        return {"account": ACCOUNT}

    def _secrets(self) -> dict[str, str]:
        return {"account_key": ACCOUNT_KEY}


class GcsLab(ServedLab):
    """fake-gcs-server; it takes any credentials."""

    kind = "gs"

    def __init__(self, folder: Path) -> None:
        requires("fake-gcs-server", GCS.exists(), HOW)
        super().__init__(folder)

    def _command(self) -> list[str]:
        return [
            str(GCS), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend", "memory",
            "-public-host", f"127.0.0.1:{self.port}", "-log-level", "error",
        ]  # fmt: skip

    def _make_bucket(self) -> None:
        _ask("POST", f"{self.endpoint}/storage/v1/b?project=test", json.dumps({"name": self.bucket}).encode())

    def put(self, path: str, content: bytes) -> None:
        name = urllib.parse.quote(f"{self.prefix}/{path}", safe="")
        _ask("POST", f"{self.endpoint}/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={name}", content)

    def delete(self, path: str) -> None:
        name = urllib.parse.quote(f"{self.prefix}/{path}", safe="")
        _ask("DELETE", f"{self.endpoint}/storage/v1/b/{self.bucket}/o/{name}")

    def _secrets(self) -> dict[str, str]:
        return {"bearer_token": "s3cr3t-canary"}


def _ask(method: str, url: str, content: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=content, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return bytes(answer.read())


LABS: dict[str, type[Lab]] = {"local": LocalLab, "s3": S3Lab, "azure": AzureLab, "gcs": GcsLab}


if __name__ == "__main__":
    print(*build(), sep="\n")

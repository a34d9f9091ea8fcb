"""The session of the Spark engine: `local[*]` in a JVM of its own, or Spark Connect; opened when first asked for, kept.

Settings (`spark` of every call): `url` (`local[*]`, `local[2]` or `sc://host:port`), `conf` (Spark's own names),
`catalog` (name of a catalogue that the cluster has set up itself), `connect_timeout_s`, `memory_mib` (heap of a JVM of
its own), `scratch` (a folder for what it leaves lying about when it is killed; its owner empties it), `secrets` with
`token`.

Why the address is probed and the rest has a deadline: Spark's client tries again for ten minutes, whatever is wrong.
Why a token over plain text goes to `localhost` only: to any other name the client speaks TLS, and if the server does
not, it says nothing of it and tries again; here it is refused before a byte of the token has left.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import sys
import tempfile
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labd
from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-{spark}_2.13:1.12.0"
SQLITE = "org.xerial:sqlite-jdbc:3.50.3.0"
DEFAULT_PORT = 15002
CONNECT_S = 20.0
MEMORY_MIB = 1024
LOST_RETRIES = 5  # of one call, up to half a minute; then the cluster is lost and the batch is tried again
LOST = (
    "UNAVAILABLE", "Connection refused", "SESSION_CLOSED", "INVALID_HANDLE", "SESSION_NOT_FOUND", "RetriesExceeded",
    "Py4JNetworkError", "SparkContext was shut down", "Answer from Java side is empty", "DEADLINE_EXCEEDED",
    "stopped SparkContext", "ExecutorLostFailure", "Socket closed", "Connection reset",
    "NO_ACTIVE_SESSION",  # what clean-up says behind a call that found its session gone, in place of the cause
)  # fmt: skip
STATUS, DETAILS = re.compile(r"status = StatusCode\.(\w+)"), re.compile(r'details = "(.+?)"\n')
LENT = ("__init__.py", "ingest/__init__.py", "ingest/remote*.py")


class Spark:
    """One session and what it was opened with.

    Args:
        given: `spark` of a call.
    """

    def __init__(self, given: Json) -> None:
        self.url = str(given.get("url") or "local[*]")
        self.conf: dict[str, str] = {str(key): str(value) for key, value in (given.get("conf") or {}).items()}
        self.cluster_catalog = str(given.get("catalog") or "")
        self._token = str((given.get("secrets") or {}).get("token") or "")
        self._connect_s = float(given.get("connect_timeout_s") or CONNECT_S)
        self._memory_mib = int(given.get("memory_mib") or MEMORY_MIB)
        self._scratch_root = str(given.get("scratch") or "") or None
        self._session: Any = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._catalogs: dict[str, dict[str, str]] = {}
        self.opened_s = 0.0

    @property
    def is_remote(self) -> bool:
        """Whether it is a cluster's, by Spark Connect."""
        return self.url.startswith("sc://")

    def session(self) -> Any:
        """The session; opened where there is none or the last one was lost.

        Raises:
            Refusal: `cluster_unreachable`, with the reason.
        """
        if self._session is None:
            begun = time.monotonic()
            _interpreter()
            self._session = self._connected() if self.is_remote else self._local()
            self._begin()
            self.opened_s = time.monotonic() - begun
        return self._session

    def _begin(self, lends: bool = True) -> None:
        self._session.conf.set("spark.sql.session.timeZone", "UTC")
        if lends:
            self._lend()

    def lost(self) -> None:
        """Forget a session that does not answer; the next call opens another.

        Why Spark must forget it as well: it takes the first session of a process for that of every function, and a JVM
        that has died for one that is there. Why nothing is said to the server: the farewell would be tried again and
        again, and hold up the next session; a server ends sessions by itself that nobody asks any more.
        """
        session, self._session = self._session, None
        self._catalogs.clear()
        if session is None:
            return
        if self.is_remote:
            _leave(session)
        else:
            _forget_jvm()

    def has_died(self) -> bool:
        """Whether there was a JVM of its own, and it has ended; what its last calls raise says so only at times."""
        if self.is_remote or self._session is None:
            return False
        from pyspark import SparkContext

        process = getattr(SparkContext._gateway, "proc", None)
        return process is not None and process.poll() is not None

    def close(self) -> None:
        """Stop the session; a second call does nothing."""
        session, self._session = self._session, None
        self._catalogs.clear()
        if session is not None:
            session.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder, tempfile.tempdir = None, None
            os.environ.pop("TMPDIR", None)

    def set_up(self, name: str, conf: dict[str, str]) -> None:
        """Let the session know a catalogue.

        Why another session for one that has changed: Spark makes a catalogue when it is first used, and keeps it.
        """
        known = self._catalogs.get(name)
        if known == conf:
            return
        session = self.session()
        if known is not None:
            self._catalogs.clear()
            if self.is_remote:
                session.stop()
            self._session = self._connected() if self.is_remote else session.newSession()
            self._begin(lends=self.is_remote)  # sessions of one JVM of ours share what it was lent
        for key, value in conf.items():
            self._session.conf.set(key, value)
        self._catalogs[name] = conf

    def _local(self) -> Any:
        from pyspark import __version__ as version
        from pyspark.sql import SparkSession

        folder = self._scratch()
        os.environ.setdefault("SPARK_LOCAL_DIRS", str(folder))
        runtime = ICEBERG.format(spark=".".join(version.split(".")[:2]))
        conf = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.defaultJavaOptions": f"-Djava.io.tmpdir={folder}",
            "spark.driver.memory": f"{max(512, self._memory_mib)}m",
            "spark.sql.warehouse.dir": (folder / "warehouse").as_uri(),
            "spark.sql.shuffle.partitions": str(os.cpu_count() or 2),
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        if "spark.jars" not in self.conf:
            conf["spark.jars.packages"] = f"{runtime},{SQLITE}"
        builder = SparkSession.builder.master(self.url)
        for key, value in {**conf, **self.conf}.items():
            builder = builder.config(key, value)
        try:
            session = builder.getOrCreate()
        except Exception as fault:
            raise Refusal("cluster_unreachable", f"Spark {self.url}: no session: {first_line(fault)}") from fault
        session.sparkContext.setLogLevel("ERROR")
        return session

    def _connected(self) -> Any:
        host, port, url = self._address()
        try:
            socket.create_connection((host, port), timeout=self._connect_s).close()
        except OSError as fault:
            text = f"Spark Connect at {host}:{port}: {fault}; check `[ingest.spark] url` and that the server runs"
            raise Refusal("cluster_unreachable", text, host=host, port=port) from fault

        def connect() -> Any:
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession

            session = SparkSession.builder.remote(url).create()
            try:
                session.client.set_retry_policies([DefaultPolicy(max_retries=LOST_RETRIES, max_backoff=10_000)])
                session.range(1).collect()
                for key, value in self.conf.items():
                    session.conf.set(key, value)
            except Exception:
                _leave(session)
                raise
            return session

        session = _within(connect, self._connect_s * 2, f"Spark Connect at {host}:{port}")
        _take_for_default(session)
        return session

    def _address(self) -> tuple[str, int, str]:
        """Host, port and the URL for Spark's client.

        Raises:
            Refusal: The token would be sent where it may be read.
        """
        place, _, options = self.url.removeprefix("sc://").partition("/")
        host, _, port = place.rpartition(":") if ":" in place.split("]")[-1] else (place, "", "")
        host, number = host.strip("[]"), int(port or DEFAULT_PORT)
        words = [word for word in options.lstrip(";").split(";") if word]
        given = {word.partition("=")[0] for word in words}
        if "token" in given:
            text = (
                "a token stands in `[ingest.spark] url`; take it out and name it in `token`, such as `env:SPARK_TOKEN`"
            )
            raise Refusal("cluster_unreachable", text, host=host, port=number)
        if self._token and host != "localhost" and "use_ssl=true" not in words:
            text = (
                f"Spark Connect at {host}:{number}: a token goes over plain text to `localhost` only; add "
                "`;use_ssl=true` to the url, or tunnel to it and say `sc://localhost:PORT`"
            )
            raise Refusal("cluster_unreachable", text, host=host, port=number)
        if self._token:
            words.append(f"token={urllib.parse.quote(self._token, safe='')}")
        return host, number, f"sc://{place}/;{';'.join(words)}" if words else f"sc://{place}"

    def _scratch(self) -> Path:
        """A folder of its own, which is also that of temporary files of the JVM and of the workers that it starts."""
        if self._folder is None:
            if self._scratch_root is not None:
                Path(self._scratch_root).mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(
                prefix="labd-spark-", dir=self._scratch_root, ignore_cleanup_errors=True
            )
            os.environ["TMPDIR"] = tempfile.tempdir = self._folder.name
        return Path(self._folder.name)

    def _lend(self) -> None:
        """Give the cluster's workers the readers, as they are here.

        Why under a name made from the content: Spark refuses another content under a name that it has.
        """
        package = Path(labd.__file__).parent
        contents = {
            str(path.relative_to(package.parent)): path.read_bytes() for one in LENT for path in package.glob(one)
        }
        digest = hashlib.sha256(b"".join(contents[name] for name in sorted(contents))).hexdigest()[:16]
        target = self._scratch() / f"labd_readers_{digest}.zip"
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(contents.items()):
                archive.writestr(name, content)
        self._session.addArtifacts(str(target), pyfile=True)


def _interpreter() -> None:
    """Let the workers of a local session run in this interpreter, which has the packages, not in the host's."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    logging.getLogger(
        "SQLQueryContextLogger"
    ).disabled = True  # pages of stack traces; what is raised says it in a line


def _within(act: Callable[[], Any], limit_s: float, what: str) -> Any:
    """Its result, if it comes in time; it cannot be ended, so it goes on in its thread and nobody listens."""
    told: list[Any] = []
    faults: list[Exception] = []

    def run() -> None:
        try:
            told.append(act())
        except Exception as fault:  # noqa: BLE001 whatever the client raises is told
            faults.append(fault)

    thread = threading.Thread(target=run, name="spark connect", daemon=True)
    thread.start()
    thread.join(limit_s)
    if told:
        return told[0]
    reason = first_line(faults[0]) if faults else f"no answer within {limit_s:g} s; check TLS, token and proxy"
    raise Refusal("cluster_unreachable", f"{what}: {reason}") from (faults[0] if faults else None)


def _leave(session: Any) -> None:
    """Close a Connect session on this side only."""
    session.release_session_on_close = False
    session.stop()


def _take_for_default(session: Any) -> None:
    """Let Spark's functions use this session; by itself Spark keeps the first of a process, alive or not."""
    from pyspark.sql.connect.session import SparkSession

    SparkSession._default_session = SparkSession._active_session.session = session


def _forget_jvm() -> None:
    """Let pyspark start another JVM, as it does in a new process."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    SparkSession._instantiatedSession = SparkSession._activeSession = None
    SparkContext._active_spark_context = SparkContext._gateway = SparkContext._jvm = None


def first_line(fault: BaseException) -> str:
    """What Spark says, without the stack traces of its JVM and the wrapping of gRPC."""
    status, details = STATUS.search(str(fault)), DETAILS.search(str(fault))
    if status and details:
        return f"{status[1]}: {details[1]}"[:600]
    lines = [line.strip() for line in str(fault).splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    told = next((line for line in lines if "xception: " in line), lines[0] if lines else type(fault).__name__)
    return told.removeprefix(": ")[:600]


def is_lost(fault: BaseException) -> bool:
    """Whether a fault says that the cluster is gone, not that it refuses."""
    text = f"{type(fault).__name__}: {fault}"
    return any(word in text for word in LOST)

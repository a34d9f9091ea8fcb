"""A real Spark 4.1 for tests: an environment with pyspark, the jars of Iceberg, children and a Connect server on it.

`python -m tests.fakes.spark_lab` makes both once in the user's cache: the environment with uv, the jars with Maven.
Why an environment of its own: pyspark is 450 MB and a JVM, and labd's has no use for it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import requires
from tests.fakes.ingest_rig import IngestRig

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-tests"
FOLDER = CACHE / "spark-4.1"
PYTHON = FOLDER / "bin" / "python"
JARS = CACHE / "spark-4.1-jars"
REQUIREMENTS = (
    "pyspark[connect]>=4.1,<4.2", "pyarrow>=20", "pyiceberg[pyarrow,sql-sqlite]>=0.10,<1", "obstore>=0.8,<1",
    "fastavro>=1.10,<2",
)  # fmt: skip
ARTIFACTS = ("org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0", "org.xerial:sqlite-jdbc:3.50.3.0")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
MAKE_S, START_S, ANSWER_S = 900.0, 60.0, 150.0
TOKEN = "s3cr3t-spark"


def make() -> None:
    """Make the environment and fetch the jars, unless they are there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "spark-4.1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "complete").exists():
            shutil.rmtree(FOLDER, ignore_errors=True)
            beside = Path(sys.executable).with_name("uv")
            uv = str(beside) if beside.exists() else shutil.which("uv")
            if uv is None:
                sys.exit("spark needs uv to be installed for the tests")
            _run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(FOLDER)])
            _run([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *REQUIREMENTS])
            (FOLDER / "complete").write_text("\n".join(REQUIREMENTS))
        JARS.mkdir(exist_ok=True)
        for artifact in ARTIFACTS:
            _, name, version = artifact.split(":")
            if not (JARS / f"{name}-{version}.jar").exists():
                _run(["mvn", "-q", "-B", COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={JARS}"])


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=MAKE_S)


def is_here() -> bool:
    """Whether all of it is there."""
    return (FOLDER / "complete").exists() and len(list(JARS.glob("*.jar"))) == len(ARTIFACTS) and _java()


def _java() -> bool:
    return shutil.which("java") is not None


def jars() -> str:
    """For `spark.jars`."""
    return ",".join(str(path) for path in sorted(JARS.glob("*.jar")))


def conf() -> dict[str, str]:
    """A small session with Iceberg."""
    return {
        "spark.jars": jars(),
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }


class SparkChild:
    """The engine in a child process, asked verb by verb as the daemon asks it.

    Args:
        spark: `spark` of every call: url, conf, secrets.
    """

    def __init__(self, spark: dict[str, Any], folder: Path) -> None:
        requires("pyspark 4.1, Java and the jars of Iceberg", is_here(), "python -m tests.fakes.spark_lab")
        self.spark = spark
        self._log = (folder / "spark_child.log").open("ab")
        self.process = subprocess.Popen(
            [str(PYTHON), "-c", CHILD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def ask(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        """One call to the child's entry.

        Raises:
            EOFError: The child was killed, or did not answer in time.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"verb": verb, "args": {"spark": self.spark, **args}}) + "\n")
        self.process.stdin.flush()
        killer = threading.Timer(ANSWER_S, self.process.kill)
        killer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            raise EOFError(f"the child ended: {Path(self._log.name).read_text(errors='replace')[-2000:]}")
        told: dict[str, Any] = json.loads(line)
        return told

    def close(self) -> None:
        """End the child and its JVM."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(START_S)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self._log.close()


CHILD = """
import json, os, sys
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from labd.ingest import remote
def late_commit(args):
    # Two tries of batch 99 have seen the same snapshot; the second one lands, and then the first one comes.
    import threading, time
    from labd.ingest import remote_spark, remote_spark_commit, remote_spark_table
    table = remote_spark_table.SparkTable(remote_spark.session_of(args), args["table"])
    replaced, folder = args["replaced"], args["folder"]
    rows = [(100, "file:///new", "v", 99, None)]
    frame = table.session.createDataFrame(rows, table.session.table(table.name).schema)
    base = table.state().snapshot_id
    def write(attempt, frame):
        told = remote_spark_commit.Write(table, frame, "sales", "sales/99", attempt, 99, {}, replaced, True)
        try:
            remote_spark_commit._write(told, bool(replaced), base)
        except Exception as fault:
            faults.append(str(fault))
    def slow(batches):
        open(folder + "/begun", "w").close()
        while not os.path.exists(folder + "/go"):
            time.sleep(0.02)
        yield from batches
    faults = []
    if replaced:  # it has begun, and its files are planned
        late = frame.coalesce(1).mapInArrow(slow, frame.schema)
        thread = threading.Thread(target=write, args=("first", late))
        thread.start()
        while not os.path.exists(folder + "/begun") and thread.is_alive():
            time.sleep(0.02)
    write("second", frame)
    if replaced:
        open(folder + "/go", "w").close()
        thread.join()
    write("first", frame)  # it begins only now
    return faults
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if asked["verb"] == "late_commit":
            answer = {"answer": late_commit(asked["args"])}
        else:
            answer = remote.ask(asked["verb"], asked["args"])
    except Exception as fault:
        answer = {"refusal": "failed", "text": f"{type(fault).__name__}: {fault}", "details": {}}
    told.write(json.dumps(answer) + "\\n")
    told.flush()
from labd.ingest import remote_spark
remote_spark.close()
"""
_shared: dict[str, tuple[SparkChild, tempfile.TemporaryDirectory[str]]] = {}


def shared_child() -> SparkChild:
    """One local session for all tests of this process; ended with it."""
    if "local" not in _shared:
        requires("pyspark 4.1, Java and the jars of Iceberg", is_here(), "python -m tests.fakes.spark_lab")
        folder = tempfile.TemporaryDirectory(prefix="labd-spark-lab-", ignore_cleanup_errors=True)
        child = SparkChild({"url": "local[2]", "conf": conf(), "memory_mib": 768}, Path(folder.name))
        _shared["local"] = child, folder
        atexit.register(_end_shared)
    return _shared["local"][0]


def _end_shared() -> None:
    while _shared:
        child, folder = _shared.popitem()[1]
        child.close()
        folder.cleanup()


def spark_rigs() -> Callable[[Path], IngestRig]:
    """Makes the engine with files and a catalogue of its own in a folder; they share one session."""
    child = shared_child()
    return lambda folder: IngestRig(folder, "spark", child.ask)


class ConnectServer:
    """A Spark Connect server on loopback from the pip package, with a token if one is given."""

    def __init__(self, folder: Path, token: str = "") -> None:
        requires("pyspark 4.1, Java and the jars of Iceberg", is_here(), "python -m tests.fakes.spark_lab")
        self.folder = folder
        self._token = token
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As `[ingest.spark] url` has it."""
        return f"sc://localhost:{self.port}"

    def start(self) -> ConnectServer:
        """Serve; returns when it takes connections."""
        home = next(FOLDER.glob("lib/python*/site-packages/pyspark"))
        settings = {
            **conf(), "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": str(self.port), "spark.ui.enabled": "false",
            "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "768m", "spark.local.dir": str(self.folder / "local"),
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
        }  # fmt: skip
        if self._token:
            settings["spark.connect.authenticate.token"] = self._token
        command = [str(home / "bin" / "spark-submit"), "--master", "local[2]"]
        for key, value in settings.items():
            command += ["--conf", f"{key}={value}"]
        command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal"]
        environ = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder), "SPARK_HOME": str(home),
            "PYSPARK_PYTHON": str(PYTHON), "SPARK_LOCAL_IP": "127.0.0.1",
        }  # fmt: skip
        with (self.folder / "connect.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        end = time.monotonic() + START_S
        pause = threading.Event()
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.folder / "connect.log").read_text()[-3000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            pause.wait(0.1)
        raise TimeoutError(
            f"Spark Connect: no port after {START_S} s: {(self.folder / 'connect.log').read_text()[-2000:]}"
        )

    def kill(self) -> None:
        """End it at once; a second call does nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(START_S)
            self.process = None


if __name__ == "__main__":
    make()
    print(FOLDER, JARS)

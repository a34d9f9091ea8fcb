"""A real Neo4j Community server as a child process, from its jars."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labd.snapshots.neo4j_bolt import Address

PASSWORD = "labd-secret"
START_S = 90.0
OPENED = ("java.base/java.nio", "java.base/java.io", "java.base/sun.nio.ch", "java.base/java.util.concurrent")
SETTINGS = """\
server.bolt.listen_address=127.0.0.1:{port}
server.http.enabled=false
server.https.enabled=false
server.memory.pagecache.size=32m
server.memory.heap.max_size=384m
dbms.usage_report.enabled=false
"""


@contextmanager
def community_server(java: str, jars: Path, home: Path) -> Iterator[Address]:
    """Serve for the length of the context; about ten seconds to start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("conf", "data", "logs", "plugins", "import"):
        (home / name).mkdir(parents=True)
    (home / "conf" / "neo4j.conf").write_text(SETTINGS.format(port=port))
    places = {"NEO4J_HOME": str(home), "NEO4J_CONF": str(home / "conf")}
    subprocess.run(
        [java, "-cp", f"{jars}/*", "org.neo4j.cli.AdminTool", "dbms", "set-initial-password", PASSWORD],
        env=places, check=True, capture_output=True, timeout=START_S,
    )  # fmt: skip
    with (home / "out.log").open("wb") as log:
        child = subprocess.Popen(
            [
                java, "-Xmx384m", *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENED), "-cp", f"{jars}/*",
                "org.neo4j.server.CommunityEntryPoint", f"--home-dir={home}", f"--config-dir={home / 'conf'}",
            ],
            env=places, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait(child, port, home)
            yield Address("127.0.0.1", port, 8491, "neo4j", PASSWORD)
        finally:
            child.kill()  # its data goes with the folder; an orderly end takes ten seconds
            child.wait(30)


def _wait(child: subprocess.Popen[bytes], port: int, home: Path) -> None:
    """Its Bolt port opens last; what it says when it does not goes to a log."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and child.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.2):
                return
        except OSError:
            time.sleep(0.1)
    logs = [home / "out.log", *(home / "logs").glob("*.log")]
    raise RuntimeError("Neo4j did not start: " + "\n".join(log.read_text()[-1000:] for log in logs if log.exists()))

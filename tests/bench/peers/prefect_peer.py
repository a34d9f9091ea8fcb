"""Prefect 3 with a server of its own, as deployments and as background tasks."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.services import free_port


class Deployments(Peer):
    """Flows that are served: a process for every run, asked for every 10 s."""

    key, title, app = "prefect-flows", "Prefect 3, deployments", "prefect_app"
    environment, requirements = "prefect", ("prefect>=3,<4", "fastapi<0.151")  # 3.8.8 does not start with 0.160
    durable, durability = False, "none for the last moments: SQLite, WAL, `synchronous = NORMAL`"
    settings = "`prefect server start`, `serve()`, SQLite: as it comes"
    bulk = "none"
    counts, stamps_at_most = 10, 12
    servers = ("server",)
    kind = "flows"

    def prepare(self, place: Place) -> None:
        """A port, and a first start that makes the database."""
        place.values["port"] = free_port()
        self.start_servers(place)
        place.services.kill()

    def variables(self, place: Place) -> Mapping[str, str]:
        """A home and a server of its own, and no word to anybody."""
        return {
            "PREFECT_HOME": str(place.folder / "prefect"), "PEERS_KIND": self.kind,
            "PREFECT_API_URL": f"http://127.0.0.1:{place.values['port']}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "WARNING",
        }  # fmt: skip

    def start_servers(self, place: Place) -> None:
        """The server."""
        port = str(place.values["port"])
        command = [place.command("prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
        place.services.spawn("server", command, self.environ(place))
        place.services.wait("server", lambda: _is_healthy(port))

    def start_workers(self, place: Place) -> None:
        """What serves."""
        command = [str(place.python), "-c", f"import prefect_app; prefect_app.serve_{self.kind}()"]
        place.services.spawn("worker", command, self.environ(place))


class BackgroundTasks(Deployments):
    """`task.delay()` and a task worker, Prefect's quicker way for small work."""

    key, title = "prefect-tasks", "Prefect 3, background tasks"
    settings = "`prefect server start`, `task.delay()`, task worker with 10 at once, SQLite: as it comes"
    counts, stamps_at_most = 300, 40
    kind = "tasks"
    calls = 200


def _is_healthy(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


PEERS: tuple[Peer, ...] = (Deployments(), BackgroundTasks())

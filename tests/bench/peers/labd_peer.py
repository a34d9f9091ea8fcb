"""labd, installed from this checkout as a user installs it."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping

from tests.bench.peers.peer import APPS, ROOT, Peer, Place
from tests.bench.report import versions

SETTINGS = """log_level = "warning"
[tasks]
folders = ["{tasks}"]
[env.default]
warm = 4
[queue.standard]
concurrency = 256
"""


class Labd(Peer):
    """The daemon and its pool of workers."""

    key, title, app = "labd", "labd, workers", "labd_app"
    environment, requirements = "labd", (str(ROOT),)
    durable, durability = True, "fsync of every commit, shared by what waits for it"
    settings = "4 workers as it comes (`warm = 4`), queue of 256"
    bulk = "list of submissions, 500 each"

    def prepare(self, place: Place) -> None:
        """The task file and the settings."""
        tasks = place.folder / "tasks.d"
        tasks.mkdir()
        shutil.copy(APPS / "labd_tasks.py", tasks)
        (place.folder / "labd.toml").write_text(SETTINGS.format(tasks=tasks))

    def variables(self, place: Place) -> Mapping[str, str]:
        """Where the daemon is."""
        return {"PEERS_SOCKET": str(place.folder / "labd.sock")}

    def command(self, place: Place) -> list[str]:
        """How it is started."""
        paths = {"--config": "labd.toml", "--state": "state", "--socket": "labd.sock"}
        return [place.command("labd"), "run", *self._words(place, paths)]

    @staticmethod
    def _words(place: Place, paths: Mapping[str, str]) -> list[str]:
        return [word for key, name in paths.items() for word in (key, str(place.folder / name))]

    def start_workers(self, place: Place) -> None:
        """The daemon."""
        place.services.spawn("worker", self.command(place), self.environ(place))

    def stop_workers(self, place: Place) -> None:
        """The daemon takes submissions itself; its queue is paused."""
        body = b'{"reason": "bench"}'
        head = f"POST /api/v1/queues/standard/pause HTTP/1.1\r\nHost: labd\r\nContent-Length: {len(body)}\r\n"
        with socket.socket(socket.AF_UNIX) as opened:
            opened.connect(str(place.folder / "labd.sock"))
            opened.sendall(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body)
            answer = opened.recv(65536)
        if b" 200 " not in answer[:20]:
            raise RuntimeError(f"the queue was not paused: {answer[:200]!r}")

    @property
    def version(self) -> str:
        """Of this checkout."""
        return versions()["labd"]


class LabdInline(Labd):
    """Tasks of a wing: coroutines inside the daemon."""

    key, title = "labd-inline", "labd, tasks of a wing (inside the daemon)"
    settings = "queue of 256"
    is_killed = False

    def command(self, place: Place) -> list[str]:
        """The daemon with the bench's wing beside the real ones."""
        paths = {"--config": "labd.toml", "--state": "state", "--socket": "labd.sock"}
        return [str(place.python), "-m", "tests.fakes.bench_daemon", *self._words(place, paths)]

    def variables(self, place: Place) -> Mapping[str, str]:
        """The wing stands in the checkout."""
        return {**super().variables(place), "PEERS_TASKS": "test.", "PYTHONPATH": f"{APPS}:{ROOT}"}

    def prepare(self, place: Place) -> None:
        """Settings without task files."""
        (place.folder / "labd.toml").write_text('log_level = "warning"\n[queue.standard]\nconcurrency = 256\n[test]\n')


PEERS: tuple[Peer, ...] = (Labd(), LabdInline())

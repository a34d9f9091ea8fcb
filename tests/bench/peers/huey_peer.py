"""Huey on SQLite."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, Place


class Huey(Peer):
    """One consumer with threads, which its documents call the safest choice.

    Why `-m 0.1`: by default an idle consumer looks ever more rarely, up to every 10 s; so it looks every 0.1 s.
    """

    key, title, app = "huey", "Huey, SQLite", "huey_app"
    environment, requirements = "huey", ("huey",)
    durable, durability = True, "fsync of every commit (`fsync=True`, WAL)"
    settings = "4 threads, looks every 0.1 s (`-w 4 -m 0.1`)"
    bulk = "none"

    def start_workers(self, place: Place) -> None:
        """The consumer."""
        command = [place.command("huey_consumer"), "huey_app.huey", "-w", "4", "-k", "thread", "-m", "0.1", "-q"]
        place.services.spawn("worker", command, self.environ(place))


PEERS: tuple[Peer, ...] = (Huey(),)

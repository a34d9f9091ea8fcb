"""Celery, Dramatiq and taskiq on Redis, which writes to its log at every command or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.services import answers, free_port

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")


class OnRedis(Peer):
    """What they have in common: a Redis of their own."""

    debian = ("redis-server", "redis-tools")
    servers = ("redis",)
    durable = False
    durability = "none: Redis as it comes writes a snapshot every 60 s to 3,600 s"
    redis_options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def prepare(self, place: Place) -> None:
        """A port."""
        place.values["port"] = free_port()

    def variables(self, place: Place) -> Mapping[str, str]:
        """Where Redis is."""
        return {"PEERS_REDIS_PORT": str(place.values["port"])}

    def start_servers(self, place: Place) -> None:
        """Redis."""
        port = place.values["port"]
        where = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(place.folder)]
        place.services.spawn("redis", ["redis-server", *where, *self.redis_options], self.environ(place))
        place.services.wait("redis", lambda: answers(port))

    def start_workers(self, place: Place) -> None:
        """The workers, as many as it starts by itself."""
        name, *rest = self.command
        place.services.spawn("worker", [place.command(name), *rest], self.environ(place))


class Celery(OnRedis):
    """Prefork, as many as there are processors, early acknowledgement: as it comes."""

    key, title, app = "celery", "Celery, Redis", "celery_app"
    environment, requirements = "celery", ("celery[redis]",)
    settings = "prefork, one process a processor, acknowledges before it runs: as it comes"
    bulk = "none (one producer for all)"
    command = ("celery", "-A", "celery_app", "worker", "--loglevel", "WARNING")


class DurableCelery(Celery):
    """The same with every write on disk, and jobs that are acknowledged when they have ended."""

    key, title = "celery-durable", "Celery, Redis with fsync"
    durable, durability = True, "fsync of every write (`appendfsync always`), `acks_late`"
    settings = "prefork, one process a processor, `task_acks_late`"
    redis_options = ALWAYS

    def variables(self, place: Place) -> Mapping[str, str]:
        """Late acknowledgement."""
        return {**super().variables(place), "PEERS_ACKS_LATE": "1"}


class Dramatiq(OnRedis):
    """2 processes with 8 threads each: as it comes."""

    key, title, app = "dramatiq", "Dramatiq, Redis", "dramatiq_app"
    environment, requirements = "dramatiq", ("dramatiq[redis]",)
    settings = "a process a processor, 8 threads each, results kept"
    bulk = "group"
    command = ("dramatiq", "dramatiq_app")


class Taskiq(OnRedis):
    """The stream broker, which acknowledges: its documents' recommendation."""

    key, title, app = "taskiq", "taskiq, Redis", "taskiq_app"
    environment, requirements = "taskiq", ("taskiq", "taskiq-redis")
    settings = "2 processes, stream broker, results kept"
    bulk = "none (100 at once)"
    command = ("taskiq", "worker", "taskiq_app:broker", "--log-level", "WARNING")


PEERS: tuple[Peer, ...] = (Celery(), DurableCelery(), Dramatiq(), Taskiq())

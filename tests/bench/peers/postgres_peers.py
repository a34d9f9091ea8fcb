"""Procrastinate and DBOS on PostgreSQL, and DBOS on SQLite."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.services import free_port, make_cluster, postgres, postgres_answers


class OnPostgres(Peer):
    """What they have in common: a PostgreSQL of their own."""

    debian = ("postgresql-15",)
    servers = ("postgres",)
    durable, durability = True, "fsync of every commit (PostgreSQL as it comes)"
    scheme = "postgresql"

    def prepare(self, place: Place) -> None:
        """A cluster and, with the server running for a moment, its schema."""
        place.folder.chmod(0o755)
        place.values["port"] = free_port()
        make_cluster(place.folder / "postgres")
        self.start_servers(place)
        self.make_schema(place)
        self.end(place)

    def make_schema(self, place: Place) -> None:
        """The tables."""

    def variables(self, place: Place) -> Mapping[str, str]:
        """Where the database is."""
        return {"PEERS_URL": f"{self.scheme}://peers@127.0.0.1:{place.values['port']}/postgres"}

    def start_servers(self, place: Place) -> None:
        """PostgreSQL."""
        port = place.values["port"]
        place.services.spawn("postgres", postgres(place.folder / "postgres", port), self.environ(place))
        place.services.wait("postgres", lambda: postgres_answers(port))

    def end(self, place: Place) -> None:
        """A PostgreSQL that is killed leaves its shared memory behind."""
        place.services.kill(["worker"])
        place.services.end(["postgres"])


class Procrastinate(OnPostgres):
    """One worker with 10 jobs at once, told of new ones by LISTEN/NOTIFY."""

    key, title, app = "procrastinate", "Procrastinate, PostgreSQL", "procrastinate_app"
    environment, requirements = "procrastinate", ("procrastinate", "psycopg[binary,pool]")
    settings = "10 jobs at once, LISTEN/NOTIFY, its recipe for stalled jobs every minute"
    bulk = "batch_defer, 1,000 each"

    def make_schema(self, place: Place) -> None:
        """Its own command."""
        command = [place.command("procrastinate"), "--app", "procrastinate_app.app", "schema", "--apply"]
        subprocess.run(command, cwd=place.folder, env=self.environ(place), check=True, capture_output=True, timeout=60)

    def start_workers(self, place: Place) -> None:
        """Its own command."""
        command = [place.command("procrastinate"), "--app", "procrastinate_app.app", "worker", "-c", "10"]
        place.services.spawn("worker", command, self.environ(place))


class DBOS(OnPostgres):
    """One application process with one queue."""

    key, title, app = "dbos-postgres", "DBOS, PostgreSQL", "dbos_app"
    environment, requirements = "dbos", ("dbos",)
    settings = "one queue as it comes: no limit, looked at every second"
    bulk = "enqueue_in_transaction, 100 each"
    stamps_at_most = 30
    scheme = "postgresql+psycopg"

    def make_schema(self, place: Place) -> None:
        """Its first start makes the tables, as a release of an application would."""
        self.start_workers(place)
        place.services.wait("worker", lambda: (place.folder / "launched").exists())

    def start_workers(self, place: Place) -> None:
        """The application."""
        command = [str(place.python), "-c", "import dbos_app; dbos_app.serve()"]
        place.services.spawn("worker", command, self.environ(place))


class DBOSOnSQLite(DBOS):
    """The same on a file."""

    key, title = "dbos-sqlite", "DBOS, SQLite"
    debian, servers = (), ()
    durability = "fsync of every commit (SQLite as it comes)"
    workers = ("worker",)

    def prepare(self, place: Place) -> None:
        """Nothing."""

    def variables(self, place: Place) -> Mapping[str, str]:
        """Where the file is."""
        return {"PEERS_URL": f"sqlite:///{place.folder / 'dbos.sqlite'}"}

    def start_servers(self, place: Place) -> None:
        """None."""

    def end(self, place: Place) -> None:
        """The application."""
        place.services.kill()


PEERS: tuple[Peer, ...] = (Procrastinate(), DBOS(), DBOSOnSQLite())

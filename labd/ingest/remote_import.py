"""In a worker: reads the `ingestions` table of an older loader through SQLAlchemy.

Why here and not in the daemon: a database driver is somebody else's code, and belongs into an environment of its own.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labd import task
from labd.ingest.remote_refusal import Refusal

TABLE = "ingestions"
FILES = "processed_files"
READ_ROWS = "SELECT * FROM ingestions ORDER BY id"
COUNT_FILES = "SELECT ingestion_id, COUNT(*) AS files FROM processed_files WHERE status = 'SUCCESS' GROUP BY 1"
MOST_ROWS = 10_000
CONNECT_S = 10
DRIVERS = {
    "postgresql": ("psycopg", "psycopg2", "pg8000"),
    "mysql": ("pymysql", "MySQLdb"),
    "mariadb": ("pymysql", "MySQLdb"),
}
PACKAGES = {"MySQLdb": "mysqldb"}


@task(name="ingest")
def ask(verb: str, args: dict[str, Any]) -> dict[str, Any]:
    """One question; the only verb is `read_rows`."""
    try:
        if verb != "read_rows":
            raise Refusal("source_refused", f"import: no verb {verb}")
        return {"answer": read_rows(args["secrets"]["database_url"])}
    except Refusal as refusal:
        return {"refusal": refusal.code, "text": refusal.text, "details": refusal.details}


def read_rows(database_url: str) -> dict[str, Any]:
    """All definitions, and how many files each has taken in: `{"rows": [...], "files": {id: count}}`.

    Raises:
        Refusal: The URL is none, its driver is missing, or the database says no.
    """
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        url, options = _opened(database_url)
        engine = create_engine(url, connect_args=options, pool_pre_ping=False)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise Refusal("source_refused", "import: the database URL is none that SQLAlchemy knows") from None
    except ImportError as fault:
        raise Refusal("source_refused", f"import: the driver {fault.name} is not installed") from None
    where = f"{url.get_backend_name()} database {url.database or ''}"
    try:
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
            if TABLE not in tables:
                raise Refusal("source_refused", f"import: {where} has no table {TABLE}", tables=sorted(tables)[:50])
            rows = _all(connection, READ_ROWS)
            return {"rows": rows, "files": _counted(connection) if FILES in tables else {}}
    except SQLAlchemyError as fault:
        text = str(getattr(fault, "orig", None) or fault).strip().splitlines()
        raise Refusal("source_unreachable", f"import: {where}: {text[0][:300] if text else fault}") from None
    finally:
        engine.dispose()


def _opened(database_url: str) -> Any:
    """The URL with a driver that is there, and options for its connection."""
    from sqlalchemy.engine import make_url

    url = make_url(database_url)
    backend = url.get_backend_name()
    if backend == "sqlite":
        path = Path(url.database or "")
        if not url.database or not path.is_file():
            raise Refusal("source_refused", f"import: there is no SQLite file {path}")
        address = "file:" + path.absolute().as_posix().replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        return url.set(drivername="sqlite", database=address, query={"mode": "ro", "uri": "true"}), {}
    wanted = DRIVERS.get(backend)
    if wanted is None:
        raise Refusal("source_refused", f"import: a {backend} database is none of sqlite, postgresql, mysql, mariadb")
    driver = next((name for name in wanted if find_spec(name) is not None), None)
    if driver is None:
        raise Refusal(
            "source_refused",
            f"import: no driver for {backend} in this environment; add {' or '.join(wanted)} to its `requires`, or "
            "import a JSON or CSV dump",
        )
    timeout = "timeout" if driver == "pg8000" else "connect_timeout"
    return url.set(drivername=f"{backend}+{PACKAGES.get(driver, driver)}"), {timeout: CONNECT_S}


def _all(connection: Any, statement: str) -> list[dict[str, Any]]:
    found = connection.exec_driver_sql(statement).mappings().fetchmany(MOST_ROWS + 1)
    return [{str(name): _plain(value) for name, value in row.items()} for row in found]


def _counted(connection: Any) -> dict[str, int]:
    return {str(row["ingestion_id"]): int(row["files"]) for row in _all(connection, COUNT_FILES)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool, list, dict)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

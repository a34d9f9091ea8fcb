"""One call of labctl: which daemon, which form of answer, where text goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labctl import exits, render, stock_words
from labctl.terminal import say, tell
from labd.errors import LabdError

if TYPE_CHECKING:
    from labctl.client import Client

ANSWER_TIMEOUT_S = 30.0
_NEXT_STEPS = {
    "stop_latched": "labctl resort reset --by NAME --reason TEXT",
    "not_connected": "labctl resort connect",
    "mode_mismatch": "labctl resort connect --configure",
    "not_authenticated": "set LABD_TOKEN, or `labctl host add NAME URL --token-stdin`",
    "scope_missing": "ask an admin for the scope (`labctl token create`, or [access] in labd.toml)",
    "unknown_task": "labctl task list",
    "unknown_job": "labctl job list",
    "unknown_queue": "labctl queue list",
    "unknown_schedule": "labctl schedule list",
    "unknown_reservoir": "labctl inventory reservoir list",
    "unknown_snapshot": "labctl snapshot list",
    "unknown_ingestion": "labctl ingest list",
    "graph_unreachable": "labctl snapshot health",
    "insufficient_stock": "labctl inventory restock NAME=VOLUME --operator NAME; or --override REASON",
    "inventory_not_initialized": "labctl inventory init NAME=VOLUME",
}


class Invocation:
    """What every command gets: click's `obj`."""

    def __init__(self, host: str | None = None, as_json: bool = False, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.host = host
        self.as_json = as_json
        self._timeout_s = timeout_s
        self._client: Client | None = None
        self._client_host: str | None = None

    @property
    def client(self) -> Client:
        """The client of the chosen daemon, made when first used."""
        if self._client is None or self._client_host != self.host:
            from labctl.client import Client

            self.close()
            self._client, self._client_host = Client(self.host, timeout_s=self._timeout_s), self.host
        return self._client

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def emit(self, value: Any, text: str | Callable[[], str]) -> None:
        """The answer: the API's own object with `--json`, else the text."""
        if self.as_json:
            say(render.to_json(value))
        else:
            say(text if isinstance(text, str) else text())

    def listing(
        self,
        value: Any,
        columns: list[str],
        rows: list[list[str]],
        form: str = "table",
        shown: list[str] | None = None,
    ) -> None:
        """The answer of a list command; `shown` are the columns that a table has room for."""
        if form == "json" or self.as_json:
            say(render.to_json(value))
        elif form == "csv":
            say(render.to_csv(columns, rows))
        else:
            places = [columns.index(name) for name in shown or columns]
            say(render.to_table(shown or columns, [[row[at] for at in places] for row in rows]))

    @staticmethod
    def tell(text: str) -> None:
        """Something for the person, not for the pipe."""
        tell(text)


def tell_error(error: LabdError) -> int:
    """Print an error and its next step; returns the exit code."""
    tell(f"labctl: {render.printable(error.message or error.code)}")
    for line in stock_words.shortages(error.details):
        tell(f"  {line}")
    step = error.details.get("next") or _NEXT_STEPS.get(str(error.details.get("code", error.code)))
    if step and "`labctl " not in error.message:
        tell(f"  next: {render.printable(str(step))}")
    problems = error.details.get("problems")
    for problem in problems if isinstance(problems, list) else []:
        if str(problem) in error.message:
            continue
        tell(f"  {render.printable(str(problem))}")
    return exits.of_error(error)

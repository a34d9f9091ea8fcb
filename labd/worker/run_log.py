"""The standard library's loggers as lines of the job's log."""

from __future__ import annotations

import logging

import labd

NAME = "labd.run"


class JobLogHandler(logging.Handler):
    """Sends records to `labd.log`; outside of a job they go on to the program's own handlers."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record, formatted, with its traceback if it carries one."""
        if labd._run is None:
            return
        try:
            labd._run.log(self.format(record), record.levelname.lower())
        except Exception:  # noqa: BLE001 a bad format string must not fail the job: logging's own habit
            self.handleError(record)


def logger() -> logging.Logger:
    """The logger that `get_run_logger` gives."""
    made = logging.getLogger(NAME)
    if labd._run is not None:
        take_root()
        made.setLevel(logging.DEBUG)
    return made


def take_root() -> None:
    """Give the root logger a handler that writes the job's log, once; a program's own set-up stays."""
    root = logging.getLogger()
    if any(isinstance(handler, JobLogHandler) for handler in root.handlers):
        return
    root.addHandler(JobLogHandler())
    if root.level == logging.WARNING:
        root.setLevel(logging.INFO)

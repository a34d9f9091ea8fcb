"""Logs: structlog set-up and the one catalogue of event names."""

from __future__ import annotations

import contextlib
import logging
import sys
from contextvars import ContextVar
from typing import Any, TextIO, cast

import structlog

JOB: ContextVar[tuple[int, str, int] | None] = ContextVar("job", default=None)
"""Id, task and attempt of the job that this context works for; carried into tasks and threads made from it."""

EVENTS: dict[str, str] = {
    # daemon
    "daemon.started": "the daemon serves",
    "daemon.draining": "SIGTERM came; running work is given its time",
    "daemon.stopped": "the daemon has ended in good order",
    "daemon.stop_forced": "a second signal or the end of the drain time cut the rest",
    "settings.reloaded": "a changed settings file is in force",
    "settings.refused": "a changed settings file is faulty; the old one stays",
    "clock.stepped": "the wall clock jumped against the monotonic clock",
    # journal
    "journal.opened": "the databases are open",
    "journal.full": "the disk takes no more; submissions are refused",
    "journal.recovered": "writes work again",
    "journal.failed": "a commit failed for another reason than space",
    # jobs
    "job.submitted": "a job was accepted",
    "job.started": "an attempt began",
    "job.retrying": "an attempt failed and another will follow",
    "job.succeeded": "the job has its result",
    "job.failed": "the job has failed for good",
    "job.cancelling": "the job was asked to end",
    "job.cancelled": "the job has ended on request",
    "job.interrupted": "a physical job was cut off; a person decides",
    "job.requeued": "a repeatable job runs again after the daemon died",
    "job.rescheduled": "the clock was set back, and the times of a waiting job with it",
    "job.retried": "a person asked for another run",
    "job.held": "a queued job waits for a person",
    "job.released": "a person let a held job go",
    "job.waiting": "a job waits for its steps, without slot and worker",
    "job.resumed": "a waiting job goes on",
    "job.asked": "a job asks a person",
    "job.answered": "a question was answered",
    "job.progress": "a job told how far it is",
    "queue.paused": "no job of the queue starts",
    "queue.resumed": "jobs of the queue start again",
    "queue.changed": "limit or priority of a queue changed",
    "schedule.fired": "a schedule made a job",
    "schedule.skipped": "a run was left out by policy",
    "schedule.changed": "a schedule was made, changed, paused or deleted",
    # task files and workers
    "task.reloaded": "the task files were looked at again and are in force",
    "task.file_faulty": "a task file cannot be used; its tasks are refused",
    "worker.started": "a worker process is ready for jobs",
    "worker.not_started": "a worker process could not be started, or could not read the task files",
    "worker.replaced": "the code of a task with an affinity changed; its worker and what it held are given up",
    "worker.ended_by_signal": "a job did not end when asked; its worker gets a signal",
    "worker.protocol_broken": "a worker said what is no message; it is ended",
    "worker.limit_refused": "the limit of processor time could not be set",
    "worker.debit_failed": "what a job takes from stock could not be put on disk; the job is told",
    "worker.orphans_ended": "processes that tasks of a killed daemon had started were ended",
    # doors
    "api.listening": "a listener is open",
    "api.listener_deferred": "a listener beyond this host stays closed until a token exists",
    "api.overloaded": "more clients than labd bears were refused; which limit, and how many since the start",
    "api.event_untold": "the data of an event could not be encoded; streams get it without",
    "api.limits_lowered": "the system allows fewer open files than the limits of the doors need",
    "api.accept_failed": "a connection could not be taken",
    "api.closed": "all listeners are closed and all requests answered",
    "api.request_failed": "an unexpected exception reached the door",
    "access.refused": "a caller was turned away",
    # mqtt
    "mqtt.off": "the MQTT door cannot work; says what is missing",
    "mqtt.connected": "the broker has labd's subscription",
    "mqtt.disconnected": "the broker is away; labd tries again",
    "mqtt.connection_failed": "an unexpected exception reached the supervisor of the broker's connection",
    "mqtt.refused": "a request over MQTT was turned away",
    "mqtt.request_failed": "an unexpected exception reached the MQTT door",
    "mqtt.answer_unsent": "the broker did not get an answer; the end of a job is sent again",
    "mongo.off": "the MongoDB outlet cannot work; says what is missing",
    "mongo.connected": "MongoDB answers and knows labd's user",
    "mongo.disconnected": "MongoDB is away or turns labd away; labd tries again",
    "mongo.connection_failed": "an unexpected exception reached the supervisor of MongoDB's connection",
    "mongo.ledger_changed": "MongoDB has movements that this ledger never made, as after a restore; levels go again",
    "mongo.levels_replaced": "MongoDB had levels of another program; from now on it shows the ledger's",
    "mongo.note_stays": "how far MongoDB is could not be kept; some movements will be sent once more, to no effect",
    "mongo.imported": "an existing lab's collections were taken into the ledger",
    "mqtt.note_stays": "a note of an answer could not be removed; the answer will be sent once more",
    # alerts
    "alert.raised": "something needs a person, or stands otherwise than before",
    "alert.cleared": "the cause of an alert is gone",
    "alert.acknowledged": "a person has seen an alert; no outlet is told any more",
    "alert.told": "an outlet has taken an alert",
    "alert.undelivered": "an outlet did not take an alert; it is tried again",
    "alert.outlet_back": "an outlet takes alerts again",
    "alert.outlet_failed": "an unexpected exception reached the supervisor of an outlet",
    "alert.look_failed": "what needs a person could not be looked at; it is tried again",
    # snapshots
    "graph.changed": "the graph store answers, or no longer does",
    "snapshot.discovered": "a complete snapshot was found",
    "snapshot.changed": "a snapshot stands elsewhere on its way",
    "snapshot.pinned": "a version is kept whatever its age",
    "snapshot.unpinned": "it is kept no longer",
    "snapshot.canary_failed": "a canary failed and there is no version to go back to",
    "snapshot.skipped": "a folder cannot be a snapshot; the others go on",
    "snapshot.not_queued": "a snapshot has no job yet; the next scan tries again",
    "snapshot.alias_differs": "somebody else has pointed an alias elsewhere; a person decides",
    "snapshot.events_off": "the system tells no changes of the folder; the scan at every interval goes on",
    "snapshot.again": "a snapshot that failed for what passes is tried again",
    "snapshot.mended": "a damaged snapshot has other files now and is tried again",
    "snapshot.watch_ended": "an unexpected exception reached the watch over the folder or the store",
    "snapshot.slow_loader": "the graph server has no Arrow; a load goes over Bolt, which is slower",
    "snapshot.half_made_stays": "what a failed load had begun could not be taken back; the next try does so",
    # ingestion
    "ingestion.created": "an ingestion was made, by hand or by the settings",
    "ingestion.changed": "an ingestion has another definition",
    "ingestion.paused": "an ingestion runs by itself no longer",
    "ingestion.resumed": "it does again",
    "ingestion.deleted": "an ingestion is out of service; its runs and its table stay",
    "ingestion.run_started": "a run of an ingestion began",
    "ingestion.run_ended": "a run of an ingestion is over; says how it went",
    "ingestion.schema_changed": "the files of an ingestion brought other columns and the table has them",
    "ingestion.taken_over": "its table has commits that the ledger had forgotten; their files are noted as loaded",
    "ingestion.refused": "an ingestion of the settings cannot be kept; the others go on",
    "ingest.child_started": "a process that reads files and writes tables is ready",
    "ingest.child_said": "what such a process printed outside of a job",
    "ingest.watch_ended": "an unexpected exception reached the watch over the ingestions",
    # systemd
    "systemd.notify_failed": "the service manager did not take a message; it goes with the next one",
    "watchdog.withheld": "the journal does not answer, so systemd's watchdog is not fed",
    "watchdog.fed_again": "the journal answers again",
    "access.changed": "another access table is in force",
    "access.name_unknown": "a user or group of the access table does not exist on this host",
    # carousel motor
    "device.connected": "the motor answers and was verified",
    "device.reopened": "the motor is back and was verified; says whether it was moved meanwhile",
    "device.not_opened": "the port does not open, or another motor is behind it",
    "device.lost": "the port or the motor is gone",
    "device.disconnected": "torque was switched off on purpose and the port closed",
    "device.configured": "operating or drive mode of the motor was changed",
    "device.settings_changed": "changed settings of the carousel are in force",
    "device.watchdog_tripped": "the motor stopped by itself because nobody fed its watchdog; it was cleared",
    "device.warning": "a reading is beyond its limit, or a protection is missing",
    "device.hold_unconfirmed": "a move ended badly and the motor could not be confirmed at rest",
    "device.stop_unconfirmed": "torque-off could not be read back yet; it is sent again and again",
    "device.stop_latched": "somebody pressed stop; motion is refused until a reset by name",
    "device.stop_confirmed": "torque reads off and the motor rests",
    "device.stop_reset": "a person ended the stop",
    "device.connect_failed": "labd could not make the carousel ready by itself; somebody must look",
    "device.read_failed": "a reading for a status was not to be had; the last one is shown",
    "device.hold_failed": "the carousel could not be brought to rest at the end of the daemon",
    "device.note_not_stored": "whether torque was released on purpose could not be kept on disk",
    # robot
    "device.halt_unanswered": "the worker on the robot did not answer a halt; it is signalled and ended",
    "robot.said": "what a worker on the robot printed",
    "device.foreign_run": "a run that labd did not make has the robot",
    "device.control_lost": "somebody else took the robot while a run of labd was going on",
    "run.played": "a run of a protocol was started on a robot",
    "run.changed": "a run of labd on a robot has another status",
    "run.ended": "a run of labd on a robot is over",
    "connection.failed": "an unexpected exception reached the connection supervisor",
    # stock
    "stock.opened": "the ledger was read, evaporation of the time away is written",
    "stock.forecast_failed": "what runs out soon could not be worked out; it is tried again within a minute",
    "stock.moved": "levels are different: filled, taken, corrected or evaporated",
    "stock.changed": "a reservoir was made, changed or removed, or its level was read and found right",
    "stock.clock_stepped": "the wall clock jumped; the ledger's own time goes on",
}


def _name_job(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Put the job's id, task and attempt into every line that is written on its behalf."""
    job = JOB.get()
    if job is not None:
        event.setdefault("job_id", job[0])
        event.setdefault("task", job[1])
        event.setdefault("attempt", job[2])
    return event


class SteadyStream:
    """A stream for logs whose failures harm nobody; lines that do not get through are lost.

    Why: where standard error is a file on a disk that is full, the line "the disk is full" would otherwise end the very
    task that keeps the daemon going without the disk.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """As much as gets through."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Likewise."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(stream: Any = None, level: str = "info") -> None:
    """Set up structlog: coloured lines on a terminal, JSON lines elsewhere.

    Args:
        stream: Where lines go; standard error unless said.
        level: The lowest level that is written.
    """
    stream = stream or sys.stderr
    renderer: Any
    if stream.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    else:
        renderer = structlog.processors.JSONRenderer()
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _name_job,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not stream.isatty():
        processors.append(structlog.processors.format_exc_info)
    processors.append(renderer)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", SteadyStream(stream))),
        cache_logger_on_first_use=True,
    )

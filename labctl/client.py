"""The blocking Python client of labd.

    with Client("unix:/run/labd/labd.sock") as lab:
        job = lab.submit("resort.activate_hotel", {"hotel": "B"})
        job = lab.wait(job["id"], timeout_s=60)

Answers are the API's own objects. Every refusal and failure is raised as the class of its code in `labd.errors`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from labctl import hosts, routes
from labctl.ingest_calls import IngestCalls
from labctl.inventory_calls import InventoryCalls
from labctl.ot2_calls import OT2Calls
from labctl.patience import Patience
from labctl.refusals import value_of
from labctl.routes import Request, get, part, post, put
from labctl.snapshot_calls import SnapshotCalls
from labctl.transport import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Transport
from labd.errors import DaemonUnreachable, Overloaded

Json = dict[str, Any]
LONG_POLL_S = 30.0
STREAM_SILENCE_S = 60.0  # four times the daemon's keep-alive
RECONNECT_FOR_S = 120.0
ENDED = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


class Client(InventoryCalls, OT2Calls, SnapshotCalls, IngestCalls):
    """One daemon.

    Args:
        host: `unix:/path`, `http://...`, `https://...` or a name of `labctl host list`; where it is left out,
            `LABD_HOST`, the chosen host and the usual sockets are tried in this order.
        token: Bearer token; else `LABD_TOKEN` or the token kept for the host.
        timeout_s: Limit for one answer.

    A client is for one thread. Nothing is sent before the first call; `close` may be called twice.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        candidates = hosts.find(host, token=token, ca_file=ca_file)
        self._transport = Transport(candidates, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s)
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._pause = pause

    @property
    def url(self) -> str:
        """Where the daemon is, or would be looked for first."""
        return self._transport.address.url if self._transport.address else "nowhere"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the client can be used again."""
        self._transport.close()

    def ask(self, request: Request, timeout_s: float | None = None) -> Any:
        """Send any request of the API; where labd is full, again after the time that it named.

        Raises:
            DaemonUnreachable: No answer.
            Overloaded: labd was full for `patience.PATIENCE_S`.
            LabdError: The class of the code that the daemon answered.
        """
        patience = Patience(monotonic=self._monotonic)
        while True:
            try:
                return value_of(*self._transport.exchange(request, timeout_s))
            except Overloaded as busy:
                self._pause(patience.pause_s(busy, request))

    # daemon
    def status(self) -> Json:
        """State of the daemon, its queues, wings and what needs attention."""
        return self._object(get("/status"))

    def health(self) -> str:
        """`ok` as long as the daemon serves."""
        return str(self.ask(Request("GET", "/healthz", accept="text/plain"))).strip()

    def metrics(self) -> str:
        """Prometheus text."""
        return str(self.ask(Request("GET", "/metrics", accept="text/plain")))

    def openapi(self) -> Json:
        """The API's description of itself."""
        return self._object(get("/openapi.json"))

    def reload(self) -> Json:
        """Read the settings again."""
        return self._object(post("/reload"))

    def backup(self, write: Callable[[bytes], Any]) -> int:
        """Give a consistent copy of the databases, a tar, to `write` block by block; returns its size in bytes."""
        answer, blocks = self._transport.stream(Request("GET", routes.V1 + "/backup", accept="application/x-tar"))
        if answer.status >= 400:
            value_of(*answer)
        size_bytes = 0
        for block in blocks:
            write(block)
            size_bytes += len(block)
        return size_bytes

    # tasks
    def tasks(self) -> list[Json]:
        """All tasks that can be asked for."""
        return _list(self.ask(get("/tasks")), "tasks")

    def task(self, name: str) -> Json:
        """One task and the JSON schema of its arguments; aliases are understood."""
        return self._object(get(f"/tasks/{part(name)}"))

    def reload_tasks(self) -> Json:
        """Look at the task files again: how many files and tasks there are, and what is wrong with which file."""
        return self._object(post("/tasks/reload"), 600.0)

    def pin_task(self, name: str) -> Json:
        """Let a task run the code that its file holds now, and no other."""
        return self._object(post(f"/tasks/{part(name)}/pin"))

    def unpin_task(self, name: str) -> Json:
        """Let a task run whatever its file holds."""
        return self._object(post(f"/tasks/{part(name)}/unpin"))

    def environments(self) -> Json:
        """`{"environments": [...], "faults": [...], "pins": [...]}`: where tasks of task files run."""
        return self._object(get("/environments"))

    def sync_environment(self, name: str, fresh: bool = False, timeout_s: float | None = None) -> Json:
        """Make an environment; answers when it is made."""
        return self._object(post(f"/environments/{part(name)}/sync", {"fresh": fresh}), timeout_s)

    def execute(self, task: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = 3600.0) -> Json:
        """Run a task and wait for it; raises the error of a task that fails."""
        return self._object(routes.execute(task, args or {}), timeout_s)

    # jobs
    def submit(self, task: str, args: Mapping[str, Any] | None = None, **options: Any) -> Json:
        """Ask for one job; it is on disk when this returns. Options are the fields of a submission."""
        return self._object(post("/jobs", routes.submission(task, args, options)), routes.SUBMIT_ANSWER_S)

    def submit_many(self, submissions: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Ask for several jobs in one commit: all are accepted, or none."""
        return _list(self.ask(post("/jobs", [dict(one) for one in submissions]), routes.SUBMIT_ANSWER_S), "jobs")

    def jobs(self, **filters: Any) -> Json:
        """One page, newest first: `{"jobs": [...], "next": id or None}`; filters as in `routes.jobs`."""
        return self._object(routes.jobs(**filters))

    def job(self, job_id: int, wait_s: float | None = None) -> Json:
        """One job; with `wait_s` the answer comes when it has ended or that time is over (60 s at most)."""
        request = get(f"/jobs/{part(job_id)}", wait=None if wait_s is None else f"{max(0.0, min(60.0, wait_s)):g}")
        return self._object(request, self._timeout_s + (wait_s or 0.0))

    def wait(self, job_id: int, timeout_s: float | None = None) -> Json:
        """The job when it has ended (or is interrupted), or as it is when `timeout_s` is over."""
        deadline = None if timeout_s is None else self._monotonic() + timeout_s
        while True:
            asked = self._monotonic()
            left_s = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - asked)
            job = self.job(job_id, wait_s=max(0.0, left_s))
            if job["state"] in ENDED or left_s <= 0:
                return job
            self.pace(asked, left_s)

    def follow(self, job_id: int, timeout_s: float | None = None) -> Json:
        """As `wait`, but a daemon that is away, such as at a restart, is looked for again for up to two minutes."""
        deadline = None if timeout_s is None else self._monotonic() + timeout_s
        lost_since: float | None = None
        while True:
            asked = self._monotonic()
            left_s = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - asked)
            try:
                job = self.job(job_id, wait_s=max(0.0, left_s))
            except DaemonUnreachable:
                lost_since = asked if lost_since is None else lost_since
                if left_s <= 0 or self._monotonic() - lost_since > RECONNECT_FOR_S:
                    raise
                self._pause(1.0)
                continue
            lost_since = None
            if job["state"] in ENDED or left_s <= 0:
                return job
            self.pace(asked, left_s)

    def pace(self, asked: float, wait_s: float) -> None:
        """After a long poll that ended early: a daemon that drains answers at once, and must not be asked in a loop."""
        if self._monotonic() - asked < min(wait_s, 0.2):
            self._pause(0.2)

    def cancel(self, job_id: int, reason: str | None = None) -> Json:
        """Ask a job to end; it is `cancelled` only when its work has ended."""
        return self._object(post(f"/jobs/{part(job_id)}/cancel", routes.given(reason=reason)))

    def retry(self, job_id: int) -> Json:
        """Queue an ended or interrupted job again."""
        return self._object(post(f"/jobs/{part(job_id)}/retry"))

    def release(self, job_id: int) -> Json:
        """Let a held job go."""
        return self._object(post(f"/jobs/{part(job_id)}/release"))

    def answer(self, job_id: int, value: Any) -> Json:
        """Answer the question of a waiting job."""
        return self._object(post(f"/jobs/{part(job_id)}/answer", {"value": value}))

    def steps(self, job_id: int) -> list[Json]:
        """What a job called and asked."""
        return _list(self.ask(get(f"/jobs/{part(job_id)}/steps")), "steps")

    def why(self, job_id: int) -> Json:
        """Everything that holds a job back."""
        return self._object(get(f"/jobs/{part(job_id)}/why"))

    def logs(self, job_id: int, after: int | None = None, limit: int | None = None) -> Json:
        """Lines of a job's log: `{"lines": [...], "next": id or None}`."""
        return self._object(get(f"/jobs/{part(job_id)}/logs", after=after, limit=limit))

    def job_events(self, job_id: int) -> list[Json]:
        """What happened to a job."""
        return _list(self.ask(get(f"/jobs/{part(job_id)}/events")), "events")

    # queues
    def queues(self) -> list[Json]:
        """All queues."""
        return _list(self.ask(get("/queues")), "queues")

    def change_queue(self, name: str, concurrency: int | None = None, priority: int | None = None) -> Json:
        """Another limit or priority."""
        return self._object(put(f"/queues/{part(name)}", routes.given(concurrency=concurrency, priority=priority)))

    def pause_queue(self, name: str, reason: str = "") -> Json:
        """Start no job of the queue."""
        return self._object(post(f"/queues/{part(name)}/pause", {"reason": reason}))

    def resume_queue(self, name: str) -> Json:
        """Start its jobs again."""
        return self._object(post(f"/queues/{part(name)}/resume"))

    # schedules
    def schedules(self) -> list[Json]:
        """All schedules."""
        return _list(self.ask(get("/schedules")), "schedules")

    def schedule(self, name: str) -> Json:
        """One schedule."""
        return self._object(get(f"/schedules/{part(name)}"))

    def add_schedule(self, specification: Mapping[str, Any]) -> Json:
        """A new schedule."""
        return self._object(post("/schedules", dict(specification)))

    def put_schedule(self, name: str, specification: Mapping[str, Any]) -> Json:
        """A schedule as said here, whatever it was before."""
        return self._object(put(f"/schedules/{part(name)}", dict(specification)))

    def delete_schedule(self, name: str) -> Json:
        """Remove a schedule; jobs it made stay."""
        return self._object(routes.delete(f"/schedules/{part(name)}"))

    def pause_schedule(self, name: str) -> Json:
        """Make no jobs until it is resumed."""
        return self._object(post(f"/schedules/{part(name)}/pause"))

    def resume_schedule(self, name: str) -> Json:
        """Make jobs again."""
        return self._object(post(f"/schedules/{part(name)}/resume"))

    def preview_schedule(self, name: str, count: int = 5) -> list[str]:
        """The next instants."""
        return [str(run) for run in _list(self.ask(get(f"/schedules/{part(name)}/preview", count=count)), "runs")]

    # events, audit, tokens
    def events(
        self, after: int | None = None, kinds: Sequence[str] = (), quiet_s: float | None = None
    ) -> Iterator[Json]:
        """Events as they come, resumed after a broken connection without a gap.

        Args:
            after: The number of the last event seen; None begins now.
            kinds: Prefixes such as `job.` or `device.`.
            quiet_s: End when nothing came for so long; None never ends.
        """
        lost_since: float | None = None
        patience = Patience(RECONNECT_FOR_S, self._monotonic)
        while True:
            request = routes.events(after, kinds)
            try:
                answer, lines = self._transport.stream(request, quiet_s or STREAM_SILENCE_S)
                if answer.status >= 400:
                    value_of(*answer)
                for line in lines:
                    lost_since = None
                    if line.startswith(b": from "):
                        after = int(line[7:]) if after is None else after
                    elif line.startswith(b"data:"):
                        event: Json = json.loads(line[5:])
                        after = int(event["seq"])
                        yield event
                patience = Patience(RECONNECT_FOR_S, self._monotonic)
            except Overloaded as busy:
                self._pause(patience.pause_s(busy, request))
                continue
            except DaemonUnreachable:
                now = self._monotonic()
                lost_since = now if lost_since is None else lost_since
                if quiet_s is not None or after is None or now - lost_since > RECONNECT_FOR_S:
                    raise
            if quiet_s is not None:
                return
            self._pause(1.0)

    def last_event(self) -> int:
        """The number of the newest event, from which a reader may count back."""
        answer, lines = self._transport.stream(routes.events(None, ()), self._timeout_s)
        if answer.status >= 400:
            value_of(*answer)
        for line in lines:
            if line.startswith(b": from "):
                self._transport.close()
                return int(line[7:])
        return 0

    def audit(self, before: int | None = None, limit: int | None = None) -> Json:
        """One page of the record of who did what, newest first."""
        return self._object(get("/audit", before=before, limit=limit))

    def runbook(self, code: str) -> Json:
        """What an alarm means, what labd does meanwhile, and what a person does."""
        return self._object(get(f"/runbook/{part(code)}"))

    def doctor(self) -> Json:
        """`{"ok", "at", "findings": [...]}`: databases, audit, devices, disk, clock, environments, schedules."""
        return self._object(get("/doctor"), 600.0)

    def settings(self) -> list[Json]:
        """Every key that is set, with its value and where it comes from; secrets are references."""
        return _list(self.ask(get("/settings")), "settings")

    def verify_audit(self) -> Json:
        """Check the hash chain."""
        return self._object(get("/audit/verify"), 600.0)

    def alerts(self, everything: bool = False) -> list[Json]:
        """What needs a person, newest first; with `everything` also what is over."""
        return _list(self.ask(get("/alerts", all="true" if everything else None)), "alerts")

    def alert(self, key: str) -> Json:
        """One alert."""
        return self._object(get(f"/alerts/{part(key)}"))

    def acknowledge_alert(self, key: str, by: str | None = None, note: str | None = None) -> Json:
        """Say that somebody has seen it; no outlet is told any more, until it changes."""
        return self._object(post(f"/alerts/{part(key)}/ack", routes.given(by=by, note=note)))

    def test_alerts(self, outlet: str | None = None) -> list[Json]:
        """Send a test message to one outlet or to all; what became of each."""
        return _list(self.ask(post("/alerts/test", routes.given(outlet=outlet))), "results")

    def tokens(self) -> list[Json]:
        """All tokens, without their secrets."""
        return _list(self.ask(get("/tokens")), "tokens")

    def create_token(self, name: str, scopes: Sequence[str], expires_in_s: float | None = None) -> Json:
        """A new token; its secret is in this answer and nowhere else."""
        body = {"name": name, "scopes": list(scopes), **routes.given(expires_in_s=expires_in_s)}
        return self._object(post("/tokens", body))

    def revoke_token(self, token_id: object) -> Json:
        """Make a token worthless."""
        return self._object(routes.delete(f"/tokens/{part(token_id)}"))

    # resort
    def resort_status(self, device: str | None = None) -> Json:
        """State of a carousel and what is allowed now."""
        return self._object(get("/resort/status", device=device))

    def resort_position(self, device: str | None = None) -> Json:
        """Where a carousel stands."""
        return self._object(get("/resort/position", device=device))

    def resort_health(self, device: str | None = None) -> Json:
        """Temperature, voltage, load and errors of the motor."""
        return self._object(get("/resort/health", device=device))

    def resort_stop(self, device: str | None = None, reason: str | None = None, timeout_s: float | None = None) -> Json:
        """Stop now: torque off, latched until a reset; never queued."""
        return self._object(routes.stop(device, reason), timeout_s)

    def resort_hold(self, device: str | None = None) -> Json:
        """Stop where it is and keep the torque."""
        return self._object(post("/resort/hold", routes.given(device=device)))

    def resort_reset(self, by: str, reason: str, device: str | None = None) -> Json:
        """Lift the latch of a stop; says who and why."""
        return self._object(post("/resort/reset", routes.given(device=device, by=by, reason=reason)))

    def _object(self, request: Request, timeout_s: float | None = None) -> Json:
        value = self.ask(request, timeout_s)
        return value if isinstance(value, dict) else {"value": value} if value is not None else {}


def _list(value: Any, key: str) -> list[Any]:
    """The list in an answer, bare or under its key."""
    if isinstance(value, dict):
        value = value.get(key, [])
    return list(value or [])

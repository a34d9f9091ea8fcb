"""The same client for programs that run on asyncio.

    async with AsyncClient("http://bench:8780", token=...) as lab:
        job = await lab.submit("resort.activate_hotel", {"hotel": "B"})
        job = await lab.wait(job["id"])

Why the requests come from `routes` and the errors from `refusals`: there is one table of each, and a test compares the
methods of both clients. aiohttp is imported with the first request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from labctl import hosts, routes
from labctl.async_ingest_calls import AsyncIngestCalls
from labctl.async_inventory_calls import AsyncInventoryCalls
from labctl.async_ot2_calls import AsyncOT2Calls
from labctl.async_snapshot_calls import AsyncSnapshotCalls
from labctl.async_transport import AsyncTransport
from labctl.client import ENDED, LONG_POLL_S, RECONNECT_FOR_S, STREAM_SILENCE_S
from labctl.patience import Patience
from labctl.refusals import value_of
from labctl.routes import Request, get, part, post, put
from labctl.transport import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from labd.errors import DaemonUnreachable, Overloaded

Json = dict[str, Any]


class AsyncClient(AsyncInventoryCalls, AsyncOT2Calls, AsyncSnapshotCalls, AsyncIngestCalls):
    """One daemon; arguments as for `Client`. Many requests may be under way at once.

    Close it with `close()` or `async with`; a second close does nothing.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        token: str | None = None,
        ca_file: str | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        candidates = hosts.find(host, token=token, ca_file=ca_file)
        self._transport = AsyncTransport(candidates, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)
        self._timeout_s = timeout_s

    @property
    def url(self) -> str:
        """Where the daemon is, or would be looked for first."""
        return self._transport.url

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; the client can be used again."""
        await self._transport.close()

    async def ask(self, request: Request, timeout_s: float | None = None) -> Any:
        """Send any request of the API; where labd is full, again after the time that it named.

        Raises:
            DaemonUnreachable: No answer.
            Overloaded: labd was full for `patience.PATIENCE_S`.
            LabdError: The class of the code that the daemon answered.
        """
        patience = Patience()
        while True:
            try:
                return value_of(*await self._transport.exchange(request, timeout_s))
            except Overloaded as busy:
                await asyncio.sleep(patience.pause_s(busy, request))

    # daemon
    async def status(self) -> Json:
        """State of the daemon, its queues, wings and what needs attention."""
        return await self._object(get("/status"))

    async def health(self) -> str:
        """`ok` as long as the daemon serves."""
        return str(await self.ask(Request("GET", "/healthz", accept="text/plain"))).strip()

    async def metrics(self) -> str:
        """Prometheus text."""
        return str(await self.ask(Request("GET", "/metrics", accept="text/plain")))

    async def openapi(self) -> Json:
        """The API's description of itself."""
        return await self._object(get("/openapi.json"))

    async def reload(self) -> Json:
        """Read the settings again."""
        return await self._object(post("/reload"))

    async def backup(self, write: Callable[[bytes], Any]) -> int:
        """Give a consistent copy of the databases, a tar, to `write` block by block; returns its size in bytes."""
        size_bytes = 0
        async for block in self._transport.stream(
            Request("GET", routes.V1 + "/backup", accept="application/x-tar"), 600.0
        ):
            write(block)
            size_bytes += len(block)
        return size_bytes

    # tasks
    async def tasks(self) -> list[Json]:
        """All tasks that can be asked for."""
        return await self._list(get("/tasks"), "tasks")

    async def task(self, name: str) -> Json:
        """One task and the JSON schema of its arguments; aliases are understood."""
        return await self._object(get(f"/tasks/{part(name)}"))

    async def reload_tasks(self) -> Json:
        """Look at the task files again: how many files and tasks there are, and what is wrong with which file."""
        return await self._object(post("/tasks/reload"), 600.0)

    async def pin_task(self, name: str) -> Json:
        """Let a task run the code that its file holds now, and no other."""
        return await self._object(post(f"/tasks/{part(name)}/pin"))

    async def unpin_task(self, name: str) -> Json:
        """Let a task run whatever its file holds."""
        return await self._object(post(f"/tasks/{part(name)}/unpin"))

    async def environments(self) -> Json:
        """`{"environments": [...], "faults": [...], "pins": [...]}`: where tasks of task files run."""
        return await self._object(get("/environments"))

    async def sync_environment(self, name: str, fresh: bool = False, timeout_s: float | None = None) -> Json:
        """Make an environment; answers when it is made."""
        return await self._object(post(f"/environments/{part(name)}/sync", {"fresh": fresh}), timeout_s)

    async def execute(self, task: str, args: Mapping[str, Any] | None = None, timeout_s: float | None = 3600.0) -> Json:
        """Run a task and wait for it; raises the error of a task that fails."""
        return await self._object(routes.execute(task, args or {}), timeout_s)

    # jobs
    async def submit(self, task: str, args: Mapping[str, Any] | None = None, **options: Any) -> Json:
        """Ask for one job; it is on disk when this returns. Options are the fields of a submission."""
        return await self._object(post("/jobs", routes.submission(task, args, options)), routes.SUBMIT_ANSWER_S)

    async def submit_many(self, submissions: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Ask for several jobs in one commit: all are accepted, or none."""
        request = post("/jobs", [dict(one) for one in submissions])
        return await self._list(request, "jobs", routes.SUBMIT_ANSWER_S)

    async def jobs(self, **filters: Any) -> Json:
        """One page, newest first: `{"jobs": [...], "next": id or None}`; filters as in `routes.jobs`."""
        return await self._object(routes.jobs(**filters))

    async def job(self, job_id: int, wait_s: float | None = None) -> Json:
        """One job; with `wait_s` the answer comes when it has ended or that time is over (60 s at most)."""
        request = get(f"/jobs/{part(job_id)}", wait=None if wait_s is None else f"{max(0.0, min(60.0, wait_s)):g}")
        return await self._object(request, self._timeout_s + (wait_s or 0.0))

    async def wait(self, job_id: int, timeout_s: float | None = None) -> Json:
        """The job when it has ended (or is interrupted), or as it is when `timeout_s` is over."""
        now = asyncio.get_running_loop().time
        deadline = None if timeout_s is None else now() + timeout_s
        while True:
            asked = now()
            left_s = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - asked)
            job = await self.job(job_id, wait_s=max(0.0, left_s))
            if job["state"] in ENDED or left_s <= 0:
                return job
            if now() - asked < min(left_s, 0.2):
                await asyncio.sleep(0.2)  # as in Client.pace

    async def follow(self, job_id: int, timeout_s: float | None = None) -> Json:
        """As `wait`, but a daemon that is away, such as at a restart, is looked for again for up to two minutes."""
        now = asyncio.get_running_loop().time
        deadline = None if timeout_s is None else now() + timeout_s
        lost_since: float | None = None
        while True:
            asked = now()
            left_s = LONG_POLL_S if deadline is None else min(LONG_POLL_S, deadline - asked)
            try:
                job = await self.job(job_id, wait_s=max(0.0, left_s))
            except DaemonUnreachable:
                lost_since = asked if lost_since is None else lost_since
                if left_s <= 0 or now() - lost_since > RECONNECT_FOR_S:
                    raise
                await asyncio.sleep(1.0)
                continue
            lost_since = None
            if job["state"] in ENDED or left_s <= 0:
                return job
            if now() - asked < min(left_s, 0.2):
                await asyncio.sleep(0.2)

    async def cancel(self, job_id: int, reason: str | None = None) -> Json:
        """Ask a job to end; it is `cancelled` only when its work has ended."""
        return await self._object(post(f"/jobs/{part(job_id)}/cancel", routes.given(reason=reason)))

    async def retry(self, job_id: int) -> Json:
        """Queue an ended or interrupted job again."""
        return await self._object(post(f"/jobs/{part(job_id)}/retry"))

    async def release(self, job_id: int) -> Json:
        """Let a held job go."""
        return await self._object(post(f"/jobs/{part(job_id)}/release"))

    async def answer(self, job_id: int, value: Any) -> Json:
        """Answer the question of a waiting job."""
        return await self._object(post(f"/jobs/{part(job_id)}/answer", {"value": value}))

    async def steps(self, job_id: int) -> list[Json]:
        """What a job called and asked."""
        return await self._list(get(f"/jobs/{part(job_id)}/steps"), "steps")

    async def why(self, job_id: int) -> Json:
        """Everything that holds a job back."""
        return await self._object(get(f"/jobs/{part(job_id)}/why"))

    async def logs(self, job_id: int, after: int | None = None, limit: int | None = None) -> Json:
        """Lines of a job's log: `{"lines": [...], "next": id or None}`."""
        return await self._object(get(f"/jobs/{part(job_id)}/logs", after=after, limit=limit))

    async def job_events(self, job_id: int) -> list[Json]:
        """What happened to a job."""
        return await self._list(get(f"/jobs/{part(job_id)}/events"), "events")

    # queues
    async def queues(self) -> list[Json]:
        """All queues."""
        return await self._list(get("/queues"), "queues")

    async def change_queue(self, name: str, concurrency: int | None = None, priority: int | None = None) -> Json:
        """Another limit or priority."""
        body = routes.given(concurrency=concurrency, priority=priority)
        return await self._object(put(f"/queues/{part(name)}", body))

    async def pause_queue(self, name: str, reason: str = "") -> Json:
        """Start no job of the queue."""
        return await self._object(post(f"/queues/{part(name)}/pause", {"reason": reason}))

    async def resume_queue(self, name: str) -> Json:
        """Start its jobs again."""
        return await self._object(post(f"/queues/{part(name)}/resume"))

    # schedules
    async def schedules(self) -> list[Json]:
        """All schedules."""
        return await self._list(get("/schedules"), "schedules")

    async def schedule(self, name: str) -> Json:
        """One schedule."""
        return await self._object(get(f"/schedules/{part(name)}"))

    async def add_schedule(self, specification: Mapping[str, Any]) -> Json:
        """A new schedule."""
        return await self._object(post("/schedules", dict(specification)))

    async def put_schedule(self, name: str, specification: Mapping[str, Any]) -> Json:
        """A schedule as said here, whatever it was before."""
        return await self._object(put(f"/schedules/{part(name)}", dict(specification)))

    async def delete_schedule(self, name: str) -> Json:
        """Remove a schedule; jobs it made stay."""
        return await self._object(routes.delete(f"/schedules/{part(name)}"))

    async def pause_schedule(self, name: str) -> Json:
        """Make no jobs until it is resumed."""
        return await self._object(post(f"/schedules/{part(name)}/pause"))

    async def resume_schedule(self, name: str) -> Json:
        """Make jobs again."""
        return await self._object(post(f"/schedules/{part(name)}/resume"))

    async def preview_schedule(self, name: str, count: int = 5) -> list[str]:
        """The next instants."""
        return [str(run) for run in await self._list(get(f"/schedules/{part(name)}/preview", count=count), "runs")]

    # events, audit, tokens
    async def events(
        self, after: int | None = None, kinds: Sequence[str] = (), quiet_s: float | None = None
    ) -> AsyncIterator[Json]:
        """Events as they come, resumed after a broken connection without a gap; arguments as for `Client.events`."""
        now = asyncio.get_running_loop().time
        lost_since: float | None = None
        patience = Patience(RECONNECT_FOR_S)
        while True:
            request = routes.events(after, kinds)
            try:
                async for line in self._transport.stream(request, quiet_s or STREAM_SILENCE_S):
                    lost_since = None
                    if line.startswith(b": from "):
                        after = int(line[7:]) if after is None else after
                    elif line.startswith(b"data:"):
                        event: Json = json.loads(line[5:])
                        after = int(event["seq"])
                        yield event
                patience = Patience(RECONNECT_FOR_S)
            except Overloaded as busy:
                await asyncio.sleep(patience.pause_s(busy, request))
                continue
            except DaemonUnreachable:
                lost_since = now() if lost_since is None else lost_since
                if quiet_s is not None or after is None or now() - lost_since > RECONNECT_FOR_S:
                    raise
            if quiet_s is not None:
                return
            await asyncio.sleep(1.0)

    async def last_event(self) -> int:
        """The number of the newest event, from which a reader may count back."""
        lines = self._transport.stream(routes.events(None, ()), self._timeout_s)
        async for line in lines:
            if line.startswith(b": from "):
                await lines.aclose()
                return int(line[7:])
        return 0

    async def audit(self, before: int | None = None, limit: int | None = None) -> Json:
        """One page of the record of who did what, newest first."""
        return await self._object(get("/audit", before=before, limit=limit))

    async def runbook(self, code: str) -> Json:
        """What an alarm means, what labd does meanwhile, and what a person does."""
        return await self._object(get(f"/runbook/{part(code)}"))

    async def doctor(self) -> Json:
        """`{"ok", "at", "findings": [...]}`: databases, audit, devices, disk, clock, environments, schedules."""
        return await self._object(get("/doctor"), 600.0)

    async def settings(self) -> list[Json]:
        """Every key that is set, with its value and where it comes from; secrets are references."""
        return await self._list(get("/settings"), "settings")

    async def verify_audit(self) -> Json:
        """Check the hash chain."""
        return await self._object(get("/audit/verify"), 600.0)

    async def alerts(self, everything: bool = False) -> list[Json]:
        """What needs a person, newest first; with `everything` also what is over."""
        return await self._list(get("/alerts", all="true" if everything else None), "alerts")

    async def alert(self, key: str) -> Json:
        """One alert."""
        return await self._object(get(f"/alerts/{part(key)}"))

    async def acknowledge_alert(self, key: str, by: str | None = None, note: str | None = None) -> Json:
        """Say that somebody has seen it; no outlet is told any more, until it changes."""
        return await self._object(post(f"/alerts/{part(key)}/ack", routes.given(by=by, note=note)))

    async def test_alerts(self, outlet: str | None = None) -> list[Json]:
        """Send a test message to one outlet or to all; what became of each."""
        return await self._list(post("/alerts/test", routes.given(outlet=outlet)), "results")

    async def tokens(self) -> list[Json]:
        """All tokens, without their secrets."""
        return await self._list(get("/tokens"), "tokens")

    async def create_token(self, name: str, scopes: Sequence[str], expires_in_s: float | None = None) -> Json:
        """A new token; its secret is in this answer and nowhere else."""
        body = {"name": name, "scopes": list(scopes), **routes.given(expires_in_s=expires_in_s)}
        return await self._object(post("/tokens", body))

    async def revoke_token(self, token_id: object) -> Json:
        """Make a token worthless."""
        return await self._object(routes.delete(f"/tokens/{part(token_id)}"))

    # resort
    async def resort_status(self, device: str | None = None) -> Json:
        """State of a carousel and what is allowed now."""
        return await self._object(get("/resort/status", device=device))

    async def resort_position(self, device: str | None = None) -> Json:
        """Where a carousel stands."""
        return await self._object(get("/resort/position", device=device))

    async def resort_health(self, device: str | None = None) -> Json:
        """Temperature, voltage, load and errors of the motor."""
        return await self._object(get("/resort/health", device=device))

    async def resort_stop(
        self, device: str | None = None, reason: str | None = None, timeout_s: float | None = None
    ) -> Json:
        """Stop now: torque off, latched until a reset; never queued."""
        return await self._object(routes.stop(device, reason), timeout_s)

    async def resort_hold(self, device: str | None = None) -> Json:
        """Stop where it is and keep the torque."""
        return await self._object(post("/resort/hold", routes.given(device=device)))

    async def resort_reset(self, by: str, reason: str, device: str | None = None) -> Json:
        """Lift the latch of a stop; says who and why."""
        return await self._object(post("/resort/reset", routes.given(device=device, by=by, reason=reason)))

    async def _object(self, request: Request, timeout_s: float | None = None) -> Json:
        value = await self.ask(request, timeout_s)
        return value if isinstance(value, dict) else {"value": value} if value is not None else {}

    async def _list(self, request: Request, key: str, timeout_s: float | None = None) -> list[Any]:
        value = await self.ask(request, timeout_s)
        if isinstance(value, dict):
            value = value.get(key, [])
        return list(value or [])

"""A daemon that answers recorded JSON over a Unix socket or TCP, for what labctl makes of answers.

Not a model of labd: it accepts everything, keeps jobs in a list, and runs none. What a job does is said by the test.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]

STATUS: Json = {
    "host": "bench",
    "version": "0.1.0",
    "pid": 4711,
    "started_at": "2026-01-31T08:00:00.000Z",
    "uptime_s": 3725.0,
    "state": "serving",
    "store": {"full": False, "size_bytes": 1_200_000, "wal_bytes": 0},
    "jobs": {"queued": 1, "running": 0, "waiting": 0, "succeeded": 7, "failed": 0},
    "queues": [
        {
            "name": "standard",
            "priority": 2,
            "concurrency": 4,
            "paused": True,
            "paused_by": "unix:alice",
            "paused_reason": "maintenance",
            "paused_at": "2026-01-31T08:00:00.000Z",
            "queued": 1,
            "running": 0,
            "held": 0,
        }
    ],
    "wings": [
        {"name": "resort", "state": "on", "devices": [{"name": "main", "state": "ready"}]},
        {"name": "ot2", "state": "off", "reason": "not configured", "install": "pip install labd[ot2]"},
    ],
    "attention": [{"code": "queue_paused", "message": "queue standard is paused", "subject": "standard"}],
    "simulated": True,
    "socket": "/run/labd/labd.sock",
    "state_dir": "/var/lib/labd",
}
RESORT: Json = {
    "device": "main",
    "connected": True,
    "position_deg": 90.0,
    "active_hotel": "B",
    "moving": False,
    "torque_enabled": True,
    "stop_latched": False,
    "latch": None,
    "driver": "simulated",
    "port": "/dev/pts/3",
    "model": "XL430-W250",
    "state": "ready",
    "hotels": {"A": 0.0, "B": 90.0},
    "allowed_actions": ["activate_hotel", "move_to_angle"],
    "watchdog": {"supported": True, "armed": False, "trips": 0, "period_s": 0.4},
    "last_error": None,
    "simulated": True,
}
STOPPED: Json = {
    "device": "main",
    "stopped": True,
    "confirmed": True,
    "latched": True,
    "latched_durably": True,
    "note": "",
    "wire_ms": 1.5,
    "cancelled_jobs": [3, 4],
}


def new_job(number: int, task: str, args: Json, **fields: Any) -> Json:
    """A job as the API shows it."""
    job: Json = {
        "id": number,
        "task": task,
        "state": "queued",
        "args": args,
        "attempt": 0,
        "max_attempts": 1,
        "queue": "standard",
        "priority": 2,
        "effect": "physical",
        "result": None,
        "error": None,
        "progress": None,
        "hold": None,
        "submitted_by": "unix:alice",
        "created_at": "2026-01-31T08:00:00.000Z",
        "run_at": "2026-01-31T08:00:00.000Z",
        "started_at": None,
        "finished_at": None,
        "expires_at": None,
        "timeout_s": None,
        "resources": ["resort"],
        "tags": [],
        "idempotency_key": None,
        "parent_id": None,
        "step": None,
        "schedule": None,
        "simulated": True,
        "seq": number,
    }
    return {**job, **fields}


class FakeDaemon:
    """Answers on a Unix socket (`path`) or on a free TCP port of the loopback (with certificate and key: TLS).

    Attributes:
        steps: What a submitted job becomes at each look that waits (`?wait=`): field changes, one set a look.
        errors: `"METHOD /path" -> (status, body)`, answered before anything else.
        retry_after: The header of that name beside a 503.
        holds_streams: Whether an event stream stays open behind the last event.
        slow: Paths that are answered so many seconds later.
        hangs: Paths that are taken and not answered until the daemon is closed.
        requests: `(method, path, query, body, headers)` of everything that was asked.
    """

    def __init__(self, path: Path | None = None, tls: tuple[Path, Path] | None = None) -> None:
        self.steps: list[Json] = [{"state": "running", "attempt": 1}, {"state": "succeeded", "result": {"hotel": "B"}}]
        self.errors: dict[str, tuple[int, Any]] = {}
        self.hangs: set[str] = set()
        self.slow: dict[str, float] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any, dict[str, str]]] = []
        self.jobs: dict[int, Json] = {}
        self.schedules: dict[str, Json] = {}
        self.tokens: list[Json] = []
        self.logs: list[Json] = []
        self.feed: list[Json] = []
        self.causes: list[Json] = []
        self.resort = dict(RESORT)
        self.stopped = dict(STOPPED)
        self.audit_report: Json = {"ok": True, "entries": 2, "head": "ab" * 32, "broken_at": None, "problem": None}
        self.holds_streams = True
        self.retry_after = "2"
        self.released = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"daemon": self})
        if path is None:
            tcp = _TcpServer(("127.0.0.1", 0), handler)
            self.url = f"http://127.0.0.1:{tcp.server_address[1]}"
            if tls is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*tls)
                tcp.socket = context.wrap_socket(tcp.socket, server_side=True)
                self.url = f"https://localhost:{tcp.server_address[1]}"
            self._server: socketserver.BaseServer = tcp
        else:
            self._server = _UnixServer(str(path), handler)
            self.url = f"unix:{path}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        assert not self._thread.is_alive()

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status and body of one request."""
        with self._lock:
            if f"{method} {path}" in self.errors:
                return self.errors[f"{method} {path}"]
            parts = [part for part in path.removeprefix("/api/v1").split("/") if part]
            return self._route(method, parts, query, body)

    def _route(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["healthz"]:
                return 200, "ok"
            case "GET", ["status"]:
                return 200, STATUS
            case "GET", ["tasks"]:
                return 200, {"tasks": [self._task("resort.activate_hotel")]}
            case "GET", ["tasks", name]:
                return 200, self._task(name)
            case "POST", ["jobs"]:
                made = [self._submit(one) for one in (body if isinstance(body, list) else [body])]
                return 201, {"jobs": made} if isinstance(body, list) else made[0]
            case "GET", ["jobs"]:
                wanted = query.get("state", "").split(",") if query.get("state") else None
                found = [job for job in reversed(self.jobs.values()) if wanted is None or job["state"] in wanted]
                if "before" in query:
                    found = [job for job in found if job["id"] < int(query["before"])]
                limit = int(query.get("limit", 50))
                more = found[limit - 1]["id"] if len(found) > limit else None
                return 200, {"jobs": found[:limit], "next": more}
            case _, ["jobs", number, *rest]:
                return self._job(method, int(number), rest, query)
            case "GET", ["queues"]:
                return 200, {"queues": STATUS["queues"]}
            case _, ["queues", name, *_]:
                return 200, {**STATUS["queues"][0], "name": name, **(body or {})}
            case _, ["schedules", *rest]:
                return self._schedule(method, rest, query, body)
            case "GET", ["audit", "verify"]:
                return 200, self.audit_report
            case "GET", ["audit"]:
                entry = {"id": 1, "at": "2026-01-31T08:00:00Z", "actor": "unix:alice", "action": "queue.pause"}
                return 200, {"entries": [{**entry, "subject": "standard", "details": {}, "hash": "cd"}], "next": None}
            case "GET", ["tokens"]:
                return 200, {"tokens": self.tokens}
            case "POST", ["tokens"]:
                self.tokens.append({"id": 1, "name": body["name"], "scopes": body["scopes"]})
                return 201, {**self.tokens[-1], "token": "labd_secret"}
            case "DELETE", ["tokens", _]:
                return 200, {}
            case "POST", ["execute", *_]:
                return 200, {"status": "success", "result": {"echo": body}, "job": 9}
            case "GET", ["resort", "status"]:
                return 200, self.resort
            case "GET", ["resort", "position"]:
                return 200, {"device": "main", "position_deg": 90.0, "position_steps": 1024, "hotel": "B"}
            case "GET", ["resort", "health"]:
                return 200, {"device": "main", "temperature_celsius": 31.0, "hardware_errors": [], "warnings": []}
            case "POST", ["resort", "stop"]:
                return 200, self.stopped
            case "POST", ["resort", "hold" | "reset"]:
                return 200, {"device": "main"}
        return 404, {"code": "not_found", "message": f"nothing at {'/'.join(parts)}", "details": {}}

    def _submit(self, body: Json) -> Json:
        number = len(self.jobs) + 1
        tags = body.get("tags") or []
        self.jobs[number] = new_job(number, body["task"], body.get("args", {}), tags=tags, looks=0)
        return self._shown(number)

    def _shown(self, number: int) -> Json:
        return {key: value for key, value in self.jobs[number].items() if key != "looks"}

    def _job(self, method: str, number: int, rest: list[str], query: dict[str, str]) -> tuple[int, Any]:
        job = self.jobs.get(number)
        if job is None:
            return 404, {"code": "unknown_job", "message": f"no job {number}", "details": {"job": number}}
        match method, rest:
            case "GET", ["why"]:
                return 200, {"job": number, "state": job["state"], "causes": self.causes}
            case "GET", ["logs"]:
                after = int(query.get("after", 0))
                return 200, {"lines": [line for line in self.logs if line["id"] > after], "next": None}
            case "GET", ["events"]:
                return 200, {"events": []}
            case "POST", ["cancel"]:
                job["state"] = "cancelled"
            case "POST", ["retry" | "release"]:
                job["state"], job["hold"] = "queued", None
            case "GET", [] if "wait" in query and job["looks"] < len(self.steps):
                job.update(self.steps[job["looks"]])
                job["seq"] += 1
                job["looks"] += 1
        return 200, self._shown(number)

    def _schedule(self, method: str, rest: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        match method, rest:
            case "GET", []:
                return 200, {"schedules": list(self.schedules.values())}
            case "POST", []:
                self.schedules[body["name"]] = {**body, "next_run_at": "2026-02-01T03:00:00Z"}
                return 201, self.schedules[body["name"]]
            case "GET", [_, "preview"]:
                return 200, {"runs": ["2026-02-01T03:00:00Z"] * int(query.get("count", 5))}
            case "PUT", [name]:
                self.schedules[name] = {**body, "next_run_at": "2026-02-01T03:00:00Z"}
                return 200, self.schedules[name]
            case "DELETE", [name]:
                return 200, self.schedules.pop(name)
            case _, [name, *what]:
                if what:
                    self.schedules[name]["paused"] = what == ["pause"]
                return 200, self.schedules[name]
        return 404, {"code": "unknown_schedule", "message": "no schedule", "details": {}}

    @staticmethod
    def _task(name: str) -> Json:
        properties = {"hotel": {"type": "string"}, "speed": {"type": "integer"}}
        return {
            "name": name,
            "aliases": [],
            "description": "Turn a hotel to the front.",
            "wing": "resort",
            "queue": "standard",
            "priority": None,
            "effect": "physical",
            "max_attempts": 1,
            "timeout_s": 60.0,
            "resources": ["resort"],
            "stop": False,
            "schema": {"type": "object", "properties": properties, "required": ["hotel"]},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    daemon: FakeDaemon

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        self.daemon.requests.append((self.command, parts.path, query, body, dict(self.headers)))
        if parts.path in self.daemon.hangs:
            self.close_connection = True
            self.daemon.released.wait(30)
            return
        if parts.path in self.daemon.slow:
            self.daemon.released.wait(self.daemon.slow[parts.path])
        if parts.path == "/api/v1/events" and "GET /api/v1/events" not in self.daemon.errors:
            self._stream(query)
            return
        status, answer = self.daemon.answer(self.command, parts.path, query, body)
        kind = "text/plain" if isinstance(answer, str) else "application/json"
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503):
            self.send_header("Retry-After", self.daemon.retry_after)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 the names are http.server's

    def _stream(self, query: dict[str, str]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        newest = self.daemon.feed[-1]["seq"] if self.daemon.feed else 0
        self.wfile.write(f": from {query.get('after', newest)}\n\n".encode())
        for event in list(self.daemon.feed):
            if event["seq"] > int(query.get("after", newest)):
                text = f"id: {event['seq']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
                self.wfile.write(text.encode())
        self.wfile.flush()
        if self.daemon.holds_streams:
            self.daemon.released.wait(30)


class _Connections(socketserver.ThreadingMixIn):
    """Cuts what is still open at the end, as a daemon that ends does."""

    daemon_threads = True
    block_on_close = True
    _open: set[Any]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.__dict__.setdefault("_open", set()).add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)  # type: ignore[misc]

    def server_close(self) -> None:
        for request in list(self.__dict__.get("_open", ())):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        super().server_close()


class _TcpServer(_Connections, socketserver.TCPServer):
    allow_reuse_address = True


class _UnixServer(_Connections, socketserver.UnixStreamServer):
    """A server on a socket in the file system."""

    def get_request(self) -> Any:
        """A connection with an address of the form that http.server writes into its log."""
        connection, _ = super().get_request()
        return connection, ("unix", 0)

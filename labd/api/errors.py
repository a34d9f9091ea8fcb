"""From error code to HTTP status: one table for all routes, and the one place where unexpected exceptions end.

Why 412 for refusals: a request that would be right if a precondition held is a 412 in the lab's device contract, and
one table for both faces keeps them from drifting apart.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import structlog
from aiohttp import web

from labd.engine.storable import mended
from labd.errors import LabdError

log = structlog.get_logger()

STATUS: dict[str, int] = {
    "internal": 500,
    "settings_invalid": 422,
    "bad_request": 400,
    "invalid_arguments": 422,
    "bad_volume": 422,
    "length_required": 411,
    "method_not_allowed": 405,
    "body_too_large": 413,
    "header_too_large": 431,
    "request_timeout": 408,
    "not_found": 404,
    "unknown_task": 404,
    "unknown_job": 404,
    "unknown_queue": 404,
    "unknown_schedule": 404,
    "unknown_device": 404,
    "unknown_reservoir": 404,
    "unknown_snapshot": 404,
    "unknown_ingestion": 404,
    "unknown_environment": 404,
    "conflict": 409,
    "idempotency_conflict": 409,
    "job_state_conflict": 409,
    "already_serving": 409,
    "not_authenticated": 401,
    "scope_missing": 403,
    "origin_refused": 403,
    "refused": 412,
    "stop_latched": 412,
    "not_connected": 412,
    "mode_mismatch": 412,
    "goal_refused": 412,
    "device_busy": 412,
    "device_claimed": 423,
    "job_expired": 412,
    "protocol_refused": 412,
    "insufficient_stock": 412,
    "inventory_not_initialized": 412,
    "graph_refused": 412,
    "dataset_refused": 412,
    "source_refused": 412,
    "table_refused": 412,
    "quality_refused": 412,
    "wing_off": 503,
    "environment_off": 503,
    "task_off": 503,
    "task_pinned": 412,
    "unavailable": 503,
    "store_full": 507,
    "store_damaged": 503,
    "store_newer": 503,
    "draining": 503,
    "graph_unreachable": 503,
    "source_unreachable": 503,
    "table_conflict": 503,
    "cluster_unreachable": 503,
    "dataset_changed": 503,
    "overloaded": 503,
    "share_taken": 429,
    "daemon_unreachable": 503,
    "device_error": 502,
    "device_timeout": 504,
    "device_corrupt": 502,
    "device_fault": 502,
    "device_lost": 502,
    "move_stalled": 502,
    "move_timeout": 504,
    "watchdog_tripped": 502,
    "control_lost": 502,
    "run_failed": 502,
    "stop_unconfirmed": 502,
    "task_error": 500,
    "task_failed": 500,
    "task_timeout": 504,
    "worker_died": 500,
    "job_cancelled": 409,
    "job_interrupted": 409,
}

JSON = "application/json"
RETRY_AFTER_S = "1"


class ErrorBody(msgspec.Struct):
    """An error on the wire."""

    code: str
    message: str
    details: dict[str, Any] = {}


def status_of(error: LabdError) -> int:
    """HTTP status of the error; a class of a wing that the table does not name takes its nearest ancestor's."""
    for kind in type(error).__mro__:
        status = STATUS.get(getattr(kind, "code", ""))
        if status is not None:
            return status
    return 500


def answer_error(error: LabdError) -> web.Response:
    """The error as a response."""
    status = status_of(error)
    headers = {"Content-Type": JSON, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="labd"'
    if status == 405 and "allowed" in error.details:
        headers["Allow"] = ", ".join(error.details["allowed"])
    retry_after_s = error.details.get("retry_after_s")
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, -int(-float(retry_after_s) // 1)))
    elif status in (429, 503):
        headers["Retry-After"] = RETRY_AFTER_S
    return web.Response(status=status, body=_encoded(error.to_wire()), headers=headers)


def _encoded(told: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(told, enc_hook=str)
    except UnicodeEncodeError:  # it quotes bytes of a header, or of a vendor's answer, that are no text
        return msgspec.json.encode(mended(told), enc_hook=str)


def answer_unexpected(fault: BaseException, method: str, path: str) -> web.Response:
    """500 with an id under which the log holds the traceback; the text of the exception stays on the host."""
    incident = secrets.token_hex(6)
    log.error("api.request_failed", incident=incident, method=method, path=path, exc_info=fault)
    return answer_error(
        LabdError(f"{method} {path}: labd failed; its log has the reason under incident {incident}", incident=incident)
    )

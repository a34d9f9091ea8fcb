"""Who may what, written down by hand: every route with the scope that a caller must hold.

Why by hand, and not taken from the routes: a route whose scope is lowered by mistake must fail a test, and a new one
must be thought about. So whoever adds a route adds a line here, in the block of the scope it should have.
"""

from __future__ import annotations

ORDER = ("none", "read", "operate", "admin")

# Everybody who reaches a listener: what stands in labd's source anyway, and the door itself.
OPEN = """
GET /
GET /favicon.ico
GET /web/{stamp}/{name}
GET /docs
GET /docs/style.css
GET /docs/runbook
GET /healthz
POST /api/v1/session
DELETE /api/v1/session
"""

# Looks, and questions that are too long for a query string.
READ = """
GET /api/v1/runbook/{code}
GET /api/v1/openapi.json
GET /api/v1/status
GET /metrics
GET /api/v1/session
GET /api/v1/jobs
GET /api/v1/jobs/span
GET /api/v1/jobs/{id}
GET /api/v1/jobs/{id}/steps
GET /api/v1/jobs/{id}/logs
GET /api/v1/jobs/{id}/events
GET /api/v1/jobs/{id}/why
GET /api/v1/why/{id}
GET /api/v1/queues
GET /api/v1/schedules
GET /api/v1/schedules/{name}
GET /api/v1/schedules/{name}/preview
GET /api/v1/events
GET /api/v1/audit
GET /api/v1/audit/verify
GET /api/v1/timeline
GET /api/v1/timeline/marks
GET /api/v1/environments
GET /api/v1/alerts
GET /api/v1/alerts/{key}
GET /api/v1/doctor
GET /api/v1/resort/status
GET /api/v1/resort/position
GET /api/v1/resort/health
GET /api/v1/resort/readings
GET /equipment/resort
GET /equipment/resort/
GET /equipment/resort/health
GET /equipment/resort/status
GET /api/v1/ot2/status
GET /api/v1/ot2/deck
GET /api/v1/inventory
GET /api/v1/inventory/check
POST /api/v1/inventory/availability
GET /api/v1/inventory/history
GET /api/v1/inventory/forecast
GET /api/v1/inventory/verify
GET /api/v1/inventory/export
GET /api/v1/inventory/reservoirs/{name}
GET /api/v1/inventory/reservoirs/{name}/fit
GET /api/v1/snapshots
GET /api/v1/snapshots/health
GET /api/v1/snapshots/cleanup
GET /api/v1/snapshots/customers
GET /api/v1/snapshots/customers/{customer}
GET /api/v1/snapshots/customers/{customer}/versions/{timestamp}
POST /api/v1/snapshots/customers/{customer}/query
GET /api/v1/ingestions
GET /api/v1/ingestions/runs
POST /api/v1/ingestions/query
GET /api/v1/ingestions/export
GET /api/v1/ingestions/{id}
GET /api/v1/ingestions/{id}/runs
GET /api/v1/ingestions/{id}/runs/{run}
GET /api/v1/ingestions/{id}/files
GET /api/v1/ingestions/{id}/schema
POST /api/v1/ingestions/{id}/estimate
POST /api/v1/ingestions/{id}/preview
GET /api/v1/tasks
GET /api/v1/tasks/{name}
"""

# Moves something, changes stock, runs work.
OPERATE = """
POST /api/v1/jobs
POST /api/v1/jobs/{id}/cancel
POST /api/v1/jobs/{id}/retry
POST /api/v1/jobs/{id}/release
POST /api/v1/jobs/{id}/answer
POST /execute/{task}
POST /api/v1/queues/{name}/pause
POST /api/v1/queues/{name}/resume
POST /api/v1/schedules
PUT /api/v1/schedules/{name}
DELETE /api/v1/schedules/{name}
POST /api/v1/schedules/{name}/pause
POST /api/v1/schedules/{name}/resume
POST /api/v1/tasks/reload
POST /api/v1/tasks/{name}/pin
POST /api/v1/tasks/{name}/unpin
POST /api/v1/alerts/test
POST /api/v1/alerts/{key}/ack
POST /api/v1/resort/stop
POST /api/v1/resort/hold
POST /api/v1/resort/reset
POST /equipment/resort/control/claim
POST /equipment/resort/control/heartbeat
POST /equipment/resort/control/release
POST /equipment/resort/control/connect
POST /equipment/resort/control/configure
POST /equipment/resort/control/disconnect
POST /equipment/resort/control/activate_hotel
POST /equipment/resort/control/move_to_angle
POST /equipment/resort/control/go_home
POST /equipment/resort/control/set_speed
POST /equipment/resort/control/hold
POST /equipment/resort/control/stop
POST /equipment/resort/control/reset
POST /equipment/resort/control/get_current_position
POST /equipment/resort/control/get_motor_health
POST /api/v1/ot2/protocols
POST /api/v1/ot2/stop
POST /api/v1/ot2/reset
POST /api/v1/ot2/pause
POST /api/v1/ot2/resume
POST /api/v1/ot2/lights
POST /api/v1/inventory/initialize
POST /api/v1/inventory/restock
POST /api/v1/inventory/measure
POST /api/v1/inventory/adjust
POST /api/v1/inventory/lid
PUT /api/v1/inventory/reservoirs/{name}
POST /api/v1/inventory/reservoirs
POST /api/v1/inventory/reservoirs/{name}/remove
POST /api/v1/snapshots/cleanup
POST /api/v1/snapshots/scan
POST /api/v1/snapshots/load
POST /api/v1/snapshots/simulate
POST /api/v1/snapshots/demo-data
POST /api/v1/snapshots/customers/{customer}/load
POST /api/v1/snapshots/customers/{customer}/rollback
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/load
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/verify
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/switch
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/approve
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/reject
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/pin
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/unpin
POST /api/v1/snapshots/customers/{customer}/versions/{timestamp}/drop
POST /api/v1/ingestions
POST /api/v1/ingestions/preview
POST /api/v1/ingestions/estimate
POST /api/v1/ingestions/import
PUT /api/v1/ingestions/{id}
PATCH /api/v1/ingestions/{id}
DELETE /api/v1/ingestions/{id}
POST /api/v1/ingestions/{id}/pause
POST /api/v1/ingestions/{id}/resume
POST /api/v1/ingestions/{id}/adopt
POST /api/v1/ingestions/{id}/run
POST /api/v1/ingestions/{id}/retry
POST /api/v1/ingestions/{id}/refresh
POST /api/v1/ingestions/{id}/backfill
POST /api/v1/inventory/import-mongo
"""

# Changes what labd is: settings, tokens, environments, the size of queues, whole ledgers.
ADMIN = """
POST /api/v1/reload
PUT /api/v1/queues/{name}
GET /api/v1/tokens
POST /api/v1/tokens
DELETE /api/v1/tokens/{id}
GET /api/v1/backup
POST /api/v1/environments/{name}/sync
GET /api/v1/settings
POST /api/v1/inventory/import
"""


def table() -> dict[str, str]:
    """`METHOD /path` -> scope, as it must be.

    Raises:
        ValueError: A route is written down twice.
    """
    found: dict[str, str] = {}
    for scope, block in (("none", OPEN), ("read", READ), ("operate", OPERATE), ("admin", ADMIN)):
        for route in block.split("\n"):
            if route in found:
                raise ValueError(f"{route} stands in the table twice")
            if route:
                found[route] = scope
    return found


def allows(held: str, needed: str) -> bool:
    """Whether a caller whose highest scope is `held` passes a route that needs `needed`."""
    return ORDER.index(held) >= ORDER.index(needed)

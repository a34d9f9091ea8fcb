"""What Neo4j's faults mean to labd: away (tried again), refused (a person reads what to do), or a dataset's own fault.

Why by code and not by class: the driver's classes follow the status code's second word, and the Community edition
answers `SHOW ALIASES` with `NotSystemDatabaseError`, which no class tells from a statement sent to a wrong database.
Seen on Neo4j Community 5.26.30; the codes are those of the Neo4j status code manual.
"""

from __future__ import annotations

from labd.errors import GraphRefused, GraphUnreachable, LabdError

COMMUNITY_CODES = (
    "Neo.ClientError.Statement.UnsupportedAdministrationCommand",
    "Neo.ClientError.Statement.NotSystemDatabaseError",
)
NO_PROCEDURE = "Neo.ClientError.Procedure.ProcedureNotFound"
NO_DATABASE = "Neo.ClientError.Database.DatabaseNotFound"
NOT_UNIQUE = "Neo.ClientError.Schema.ConstraintValidationFailed"
WRITES = "Neo.ClientError.Statement.AccessMode"
TIMED_OUT = (
    "Neo.ClientError.Transaction.TransactionTimedOut",
    "Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration",
)
AWAY_CODES = (
    "Neo.ClientError.Cluster.NotALeader",
    "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase",
    "Neo.ClientError.Security.AuthenticationRateLimit",
    "Neo.DatabaseError.Database.DatabaseUnavailable",
)
COMMUNITY = (
    "the Community edition has one database and no alias; blue/green versions need the Enterprise edition, or "
    'engine = "embedded"'
)


def is_community(error: LabdError) -> bool:
    """Whether the server refused because its edition has no such statement."""
    return error.details.get("neo4j_code") in COMMUNITY_CODES


def of_answer(where: str, doing: str, code: str, message: str) -> LabdError:
    """What a failure that the server answered with is to labd.

    Args:
        where: The server's address.
        doing: What was asked for, such as `drop acme-v1`.
        code: Neo4j's status code.
        message: Neo4j's own words; the first line is kept.
    """
    said = message.strip().splitlines()[0][:300] if message.strip() else code
    facts = {"neo4j_code": code}
    if code.startswith("Neo.TransientError.") or code in AWAY_CODES:
        return GraphUnreachable(f"neo4j at {where} cannot {doing} now: {said} ({code})", **facts)
    if code in COMMUNITY_CODES:
        return GraphRefused(f"neo4j at {where} cannot {doing}: {COMMUNITY}", **facts)
    if code.startswith("Neo.ClientError.Security.Forbidden"):
        return GraphRefused(f"neo4j at {where}: the user may not {doing}; grant it the role admin ({said})", **facts)
    if code.startswith("Neo.ClientError.Security."):
        return GraphRefused(
            f"neo4j at {where} does not let labd in; check neo4j.user and neo4j.password ({said})", **facts
        )
    if code == WRITES:
        return GraphRefused(f"neo4j at {where}: queries only read, this one would write", **facts)
    return GraphRefused(f"neo4j at {where} refused to {doing}: {said} ({code})", **facts)

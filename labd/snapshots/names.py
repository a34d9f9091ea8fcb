"""Names: which customers and timestamps are taken, what their database and alias are called, and how Cypher is quoted.

Why an allow-list and not an escape for every character: a customer is a folder's name that somebody else made. What is
on the list is told to the store; what is not is reported and skipped.

Why some customers get a digest: Neo4j knows no case, no underscore, no end in a dash, and one namespace for databases
and aliases. A customer whose name is already a good alias (`acme`, `acme-eu`) keeps it; every other gets a readable
part and 130 bits of SHA-256 behind `--`, which no plain name holds. A database is the alias, `-v` and the timestamp;
no alias ends that way, so the two never meet, and a prefix is never mistaken for an owner.

Source: Neo4j operations manual, "Administration: Standard databases: naming rules".
"""

from __future__ import annotations

import base64
import hashlib
import re

from labd.errors import BadRequest, GraphRefused

CUSTOMER_LIMIT = 128
DATABASE_LIMIT = 63
ALIAS_LIMIT = 42  # leaves room for `-v` and 19 digits
DIGEST_LENGTH = 26
SLUG_LENGTH = ALIAS_LIMIT - DIGEST_LENGTH - 2
_CUSTOMER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_TIMESTAMP = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_PLAIN = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", re.ASCII)
_DIGESTED = re.compile(rf"[a-z][a-z0-9-]*[a-z0-9]?--[a-z2-7]{{{DIGEST_LENGTH}}}", re.ASCII)
_VERSION = re.compile(r"(?P<alias>.+)-v(?P<timestamp>0|[1-9][0-9]{0,18})", re.ASCII)
_DATABASE = re.compile(r"[a-z][a-z0-9.-]*[a-z0-9]", re.ASCII)


def customer_fault(name: str) -> str | None:
    """Why a folder's name is no customer, in words; None if it is one."""
    if not name or len(name) > CUSTOMER_LIMIT:
        return f"{name[:40]!r} has {len(name)} characters; a customer has 1 to {CUSTOMER_LIMIT}"
    if _CUSTOMER.fullmatch(name) is None:
        return f"{name!r} is no customer: letters, digits, dot, dash and underscore, a letter or digit at both ends"
    return None


def timestamp_fault(name: str) -> str | None:
    """Why a folder's name is no timestamp, in words; None if it is one."""
    if _TIMESTAMP.fullmatch(name) is None:
        return f"{name[:40]!r} is no timestamp: a whole number of at most 19 digits, without zeros in front"
    return None


def check_customer(name: str) -> str:
    """The name, if it is allowed.

    Raises:
        BadRequest: It is not; the message says what is.
    """
    if fault := customer_fault(name):
        raise BadRequest(fault, customer=name[:CUSTOMER_LIMIT])
    return name


def check_timestamp(name: str) -> str:
    """The name, if it is allowed.

    Raises:
        BadRequest: It is not; the message says what is.
    """
    if fault := timestamp_fault(name):
        raise BadRequest(fault, timestamp=name[:40])
    return name


def alias_of(customer: str) -> str:
    """The alias that readers of a customer use; two customers never share one.

    Raises:
        BadRequest: It is no customer.
    """
    check_customer(customer)
    if _is_plain(customer):
        return customer
    slug = re.sub(r"[^a-z0-9]+", "-", customer.lower()).strip("-")
    if not slug[:1].isalpha() or _is_reserved(slug):
        slug = f"c-{slug}"
    digest = base64.b32encode(hashlib.sha256(customer.encode()).digest()).decode().lower()[:DIGEST_LENGTH]
    return f"{slug[:SLUG_LENGTH].rstrip('-')}--{digest}"


def database_of(customer: str, timestamp: str) -> str:
    """The database of one version; `version_of` is the way back.

    Raises:
        BadRequest: One of them is not allowed.
    """
    return f"{alias_of(customer)}-v{check_timestamp(timestamp)}"


def version_of(database: str) -> tuple[str, str] | None:
    """Alias and timestamp of a database that `database_of` named; None for any other."""
    match = _VERSION.fullmatch(database)
    if match is None or not is_alias(match["alias"]):
        return None
    return match["alias"], match["timestamp"]


def belongs(database: str, customer: str) -> bool:
    """Whether a database is a version of exactly this customer."""
    version = version_of(database)
    return version is not None and version[0] == alias_of(customer)


def is_alias(name: str) -> bool:
    """Whether `alias_of` could have made the name."""
    return _is_plain(name) or (len(name) <= ALIAS_LIMIT and _DIGESTED.fullmatch(name) is not None)


def check_database(name: str) -> str:
    """The name as stores keep it, in lower case, if it can be that of a database or alias.

    Raises:
        GraphRefused: It cannot.
    """
    lowered = name.lower() if name.isascii() else name
    if not 3 <= len(name) <= DATABASE_LIMIT or _DATABASE.fullmatch(lowered) is None or lowered.startswith("system"):
        raise GraphRefused(
            f"{name[:DATABASE_LIMIT]!r} cannot name a database: 3 to {DATABASE_LIMIT} characters, a letter first, then "
            "letters, digits, dots and dashes, no dot or dash at the end, and not system",
            database=name[:DATABASE_LIMIT],
        )
    return lowered


def quote(identifier: str) -> str:
    r"""An identifier as Cypher takes it, whatever is in it.

    Why a backslash before a `u` is refused: Neo4j turns `\u0060` into a backtick before it parses.

    Raises:
        GraphRefused: It is empty, or no spelling of it is safe.
    """
    if not identifier or "\0" in identifier or re.search(r"\\[uU]", identifier):
        raise GraphRefused(f"{identifier[:80]!r} cannot be an identifier in Cypher; rename it where it is made")
    return "`" + identifier.replace("`", "``") + "`"


def _is_reserved(name: str) -> bool:
    return name.startswith("system") or name == "neo4j"


def _is_plain(name: str) -> bool:
    """Whether the name is an alias as it stands: nothing that another customer could be turned into."""
    return (
        3 <= len(name) <= ALIAS_LIMIT
        and _PLAIN.fullmatch(name) is not None
        and not _is_reserved(name)
        and _VERSION.fullmatch(name) is None
    )

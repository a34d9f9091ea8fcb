"""Source and credentials of an older definition, as labd writes them.

Why no value of a credential comes out of here but endpoint, region and account: an older table holds them in the clear.
They become a name of `[ingest.credentials]`, which a person sets; rows with the same credentials share one name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

KINDS = {
    **dict.fromkeys(("s3", "aws_s3", "aws", "minio"), "s3"),
    **dict.fromkeys(("azure_blob", "azure", "azureblob", "adls", "abfs", "wasb"), "az"),
    **dict.fromkeys(("gcs", "gs", "google", "google_cloud_storage"), "gs"),
    **dict.fromkeys(("local", "file", "filesystem"), "file"),
}
SCHEMES = {
    **dict.fromkeys(("s3", "s3a", "s3n"), "s3"),
    **dict.fromkeys(("az", "abfs", "abfss", "wasb", "wasbs"), "az"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    "file": "file",
}
OPTIONS = {
    **dict.fromkeys(("endpoint", "endpoint_url", "aws_endpoint", "endpoint_override"), "endpoint"),
    **dict.fromkeys(("region", "aws_region", "region_name"), "region"),
    **dict.fromkeys(("account", "account_name", "storage_account"), "account"),
    "anonymous": "anonymous",
}
SECRETS = {
    **dict.fromkeys(("aws_access_key_id", "access_key_id", "access_key"), "access_key_id"),
    **dict.fromkeys(("aws_secret_access_key", "secret_access_key", "secret_key"), "secret_access_key"),
    **dict.fromkeys(("aws_session_token", "session_token"), "session_token"),
    **dict.fromkeys(("account_key", "storage_account_key", "azure_account_key"), "account_key"),
    **dict.fromkeys(("sas_token", "azure_sas_token"), "sas_token"),
    **dict.fromkeys(("service_account_json", "service_account_key", "credentials_json"), "service_account_key"),
}
UNKNOWN = "?"
USUAL = {
    "s3": ("access_key_id", "secret_access_key"), "az": ("account_key",), "gs": ("service_account_key",), "file": (),
}  # fmt: skip
"""What a source wants where the row does not tell it apart."""
_ACCOUNT = re.compile(r"^([^/@]+)@([^./@]+)\.(?:blob|dfs)\.[^/]+(/.*)?$")
_AZURE_HTTPS = re.compile(r"^([^.]+)\.(?:blob|dfs)\.", re.IGNORECASE)


class NoSource(ValueError):
    """A source that labd cannot read; the text says why, without its credentials."""


class OlderSource(msgspec.Struct, frozen=True):
    """`secrets` are the names that somebody has to set; `digest` is the same for the same values, empty for none."""

    url: str
    options: dict[str, str]
    secrets: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()


def read_source(kind: str, path: str, credentials: Any) -> OlderSource:
    """What stood in `source_type`, `source_path` and `source_credentials`.

    Raises:
        NoSource: Another kind of source, or a path that names no place.
    """
    url, options, notes = _url(kind, path.strip())
    signature = path.partition("?")[2]
    secrets: dict[str, Any] = {"sas_token": signature} if signature else {}
    for name, value in _credentials(credentials).items():
        known = OPTIONS.get(name.lower())
        if value in (None, ""):
            continue
        if known is None or not _is_plain(known, value):
            secrets[SECRETS.get(name.lower(), name)] = value
        elif known == "anonymous":
            options[known] = "true" if str(value).lower() in ("true", "1", "yes") else "false"
        else:
            options.setdefault(known, str(value))
    text = json.dumps(secrets, sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode()).hexdigest() if secrets else ""
    names = set(secrets) - {UNKNOWN} | set(USUAL[url.partition(":")[0]] if UNKNOWN in secrets else ())
    return OlderSource(url, options, tuple(sorted(names)), digest, tuple(notes))


def _credentials(given: Any) -> Mapping[str, Any]:
    """The object; text that is none (encrypted, or a key alone) is one secret."""
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given)
        except ValueError:
            return {UNKNOWN: given}
    if isinstance(given, str):
        return {UNKNOWN: given} if given else {}
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    return {} if given is None else {UNKNOWN: given}


def _is_plain(option: str, value: Any) -> bool:
    """Whether a value may be shown: an endpoint can carry a user and a password, or a signature."""
    if isinstance(value, bool):
        return True
    if not isinstance(value, str) or len(value) > 500:
        return False
    if option != "endpoint":
        return re.fullmatch(r"[A-Za-z0-9._-]{1,100}", value) is not None
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return not (parts.username or parts.password or parts.query or parts.fragment or "@" in value)


def _url(kind: str, path: str) -> tuple[str, dict[str, str], list[str]]:
    wanted = KINDS.get(kind.strip().lower().replace("-", "_"))
    if wanted is None:
        raise NoSource(f"source_type {kind[:40]!r}: labd reads s3, azure_blob, gcs and local folders")
    if not path:
        raise NoSource("source_path is empty")
    scheme, mark, rest = path.partition("://")
    if not mark:
        scheme, rest = wanted, path
    if scheme.lower() in ("http", "https"):
        return _of_https(wanted, rest)
    there = SCHEMES.get(scheme.lower())
    if there is None or there != wanted:
        raise NoSource(f"source_path begins with {scheme[:20]}://, source_type is {kind[:40]}; they do not agree")
    if there == "file":
        return f"file:///{rest.strip('/')}", {}, []
    found = _ACCOUNT.match(rest)
    if there == "az" and found is not None:
        return f"az://{found[1]}{_tail(found[3])}", {"account": found[2]}, []
    if "@" in rest.split("/", 1)[0] or "?" in rest:
        raise NoSource("source_path carries a user or a signature; write it without, as bucket/path")
    place = rest.strip("/")
    if not place:
        raise NoSource("source_path names no bucket")
    return f"{there}://{place}/", {}, []


def _of_https(wanted: str, rest: str) -> tuple[str, dict[str, str], list[str]]:
    host, _, place = rest.partition("/")
    found = _AZURE_HTTPS.match(host)
    if wanted != "az" or found is None:
        raise NoSource("source_path is a web address; write it as bucket/path")
    place, mark, _ = place.partition("?")
    notes = ["the signature in source_path was left out"] if mark else []
    if not place.strip("/"):
        raise NoSource("source_path names no container")
    return f"az://{place.strip('/')}/", {"account": found[1]}, notes


def _tail(path: str | None) -> str:
    inner = (path or "").strip("/")
    return f"/{inner}/" if inner else "/"

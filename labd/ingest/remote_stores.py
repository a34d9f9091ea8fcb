"""Which store a URL names, how it is opened, and what its errors mean.

Why `obstore` and not `pyarrow.fs`: a listing must give each object's ETag, and a read must be held to it; `pyarrow.fs`
gives neither (its `FileInfo` is name, size and time).

Why credentials come from the settings alone, unless `from_host` says otherwise: the search that the stores' libraries
make by themselves ends at a metadata service off the machine, which takes minutes to fail.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
RETRIES = 4
LIST_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
_SWITCHES = {"endpoint", "ca_file", "anonymous", "from_host", "timeout_s"}
KNOWN: dict[str, set[str]] = {
    "s3": _SWITCHES | {"region", "access_key_id", "secret_access_key", "session_token", "path_style"},
    "az": _SWITCHES
    | {"account", "account_key", "sas_token", "bearer_token", "client_id", "client_secret", "tenant_id"},
    "gs": _SWITCHES | {"service_account_key", "service_account_file", "bearer_token"},
}
"""Words of `options` and `secrets`."""
_SUFFICIENT: dict[str, list[set[str]]] = {
    "s3": [{"access_key_id", "secret_access_key"}],
    "az": [{"account_key"}, {"sas_token"}, {"bearer_token"}, {"client_id", "client_secret", "tenant_id"}],
    "gs": [{"service_account_key"}, {"service_account_file"}, {"bearer_token"}],
}
_AZURE = {"account": "account_name", "sas_token": "sas_key", "bearer_token": "token"}
_GOOGLE = {"service_account_file": "service_account"}
_ENVIRON = ("AWS_", "AZURE_", "GOOGLE_")
_CODE = re.compile(r"<Code>(\w+)</Code>|\"(?:code|reason)\": ?\"?(\w+)")
_STATUS = re.compile(r"status code: (\d{3})")
_FAILED = re.compile(r"Error performing [A-Z]+ (https?://[^/?\s]+)\S* in ([\d.]+)(ms|s)\b(?:, after (\d+) retries)?")
_CAUSE = re.compile(r"(?:message|error): \"([^\"]+)\"")
_WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "AuthenticationFailed", "InvalidToken", "ExpiredToken"}


@dataclass(frozen=True)
class Place:
    """A bucket or container, and what is opened below it."""

    kind: str
    bucket: str
    prefix: str
    account: str = ""

    def __str__(self) -> str:
        return f"{self.kind}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def place_of(url: str) -> Place:
    """What a URL names; `abfss://container@account.dfs.core.windows.net/prefix` is understood as well."""
    scheme, _, rest = url.partition("://")
    kind = {"s3": "s3", "az": "az", "abfs": "az", "abfss": "az", "gs": "gs", "gcs": "gs"}.get(scheme)
    bucket, _, prefix = rest.partition("/")
    bucket, _, host = bucket.partition("@")
    if kind is None or not bucket:
        raise Refusal("source_refused", f"{url}: no source; use file:///folder, s3://, az:// or gs:// with a bucket")
    return Place(kind, bucket, prefix.strip("/"), host.partition(".")[0])


def open_store(place: Place, access: Json, *, for_reading: bool) -> Any:
    """An obstore store for listing or for reading.

    Raises:
        Refusal: source_refused; words that the store does not know, or no credentials.
    """
    words: dict[str, str] = {**(access.get("options") or {}), **(access.get("secrets") or {})}
    if unknown := sorted(set(words) - KNOWN[place.kind]):
        known = ", ".join(sorted(KNOWN[place.kind]))
        raise Refusal("source_refused", f"{place}: unknown option {', '.join(unknown)}; there are: {known}")
    is_anonymous, is_from_host = _is_on(words, "anonymous"), _is_on(words, "from_host")
    if not is_anonymous and not is_from_host and not any(names <= set(words) for names in _SUFFICIENT[place.kind]):
        ways = " or ".join(" and ".join(sorted(names)) for names in _SUFFICIENT[place.kind])
        raise Refusal(
            "source_refused",
            f"{place}: no credentials; give {ways}, or set anonymous = true, or from_host = true to take this host's",
        )
    endpoint = words.get("endpoint", "")
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise Refusal("source_refused", f"{place}: endpoint {endpoint!r} is no http:// or https:// address")
    try:
        timeout_s = float(words.get("timeout_s") or (READ_TIMEOUT_S if for_reading else LIST_TIMEOUT_S))
    except ValueError:
        raise Refusal("source_refused", f"{place}: timeout_s {words['timeout_s']!r} is no number of seconds") from None
    client: Json = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(5.0, timeout_s)),
        "timeout": timedelta(seconds=timeout_s),
    }
    if ca_file := words.get("ca_file"):
        try:
            client["root_certificate"] = Path(ca_file).read_bytes()
        except OSError as fault:
            raise Refusal("source_refused", f"{place}: ca_file {ca_file} cannot be read: {fault.strerror}") from None
    retry = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=timeout_s),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2,
        },
    }  # fmt: skip
    with _environ(is_from_host=is_from_host):
        return _make(place, words, is_anonymous=is_anonymous, client=client, retry=retry)


def _make(place: Place, words: dict[str, str], *, is_anonymous: bool, client: Json, retry: Json) -> Any:
    from obstore import store
    from obstore.exceptions import BaseError

    stores: Any = store  # its types want literal dictionaries
    config: Json = {name: text for name, text in words.items() if name not in _SWITCHES}
    endpoint = words.get("endpoint", "").rstrip("/")
    if is_anonymous:
        config["skip_signature"] = True
    try:
        if place.kind == "s3":
            is_path_style = _is_on(config, "path_style", default=bool(endpoint))
            config.pop("path_style", None)
            region = words.get("region") or os.environ.get("AWS_REGION") or "us-east-1"
            config.update({"region": region, "virtual_hosted_style_request": not is_path_style})
            config.update({"endpoint": endpoint} if endpoint else {})
            return stores.S3Store(place.bucket, config=config, client_options=client, retry_config=retry)
        if place.kind == "az":
            config = {_AZURE.get(name, name): text for name, text in config.items()}
            config.setdefault("account_name", place.account)
            if not config["account_name"]:
                raise Refusal("source_refused", f"{place}: no account; give it as option `account`")
            config.update({"endpoint": endpoint} if endpoint else {})
            return stores.AzureStore(place.bucket, config=config, client_options=client, retry_config=retry)
        config = {_GOOGLE.get(name, name): text for name, text in config.items()}
        config.update({"base_url": endpoint} if endpoint else {})
        return stores.GCSStore(place.bucket, config=config, client_options=client, retry_config=retry)
    except (BaseError, ValueError) as fault:
        raise Refusal(
            "source_refused", f"{place}: cannot be opened with these credentials: {words_of(fault)}"
        ) from None


def _is_on(words: Json, name: str, *, default: bool = False) -> bool:
    return str(words.get(name, default)).lower() in ("1", "true", "yes", "on")


@contextmanager
def _environ(*, is_from_host: bool) -> Iterator[None]:
    """Keep what the process was given for something else out of a store: it would be mixed with the settings."""
    hidden = (
        {} if is_from_host else {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(_ENVIRON)}
    )
    try:
        yield
    finally:
        os.environ.update(hidden)


def words_of(fault: BaseException) -> str:
    """What a store said, or why it said nothing, in one line; without what signs an address."""
    text, _, inside = str(fault).partition("\n\nDebug source")
    code, status, failed = _CODE.search(text), _STATUS.search(text), _FAILED.search(text)
    if status is not None:
        return f"HTTP {status[1]}" + (f" {code[1] or code[2]}" if code else "")
    if failed is None:
        return re.sub(r"\?\S*", "", text)[:400]
    cause = _CAUSE.search(inside)
    why = cause[1] if cause else "no answer in time" if "TimedOut" in inside else "no connection that it understands"
    seconds, tries = float(failed[2]) / (1000 if failed[3] == "ms" else 1), int(failed[4] or 0) + 1
    return f"{failed[1]}: {why}, {tries} {'try' if tries == 1 else 'tries'} in {seconds:.1f} s"


def is_denial(fault: BaseException) -> bool:
    """Whether the store knows who asks and does not allow it, or does not know who asks."""
    status = _STATUS.search(str(fault))
    return type(fault).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or (
        status is not None and status[1] in ("401", "403")
    )


def is_about_request(fault: BaseException) -> bool:
    """Whether asking once more for the same object would give the same answer."""
    status = _STATUS.search(str(fault))
    return is_denial(fault) or (status is not None and status[1][0] == "4" and status[1] not in ("408", "429"))


def refusal_of(place: Place, fault: BaseException) -> Refusal:
    """What the failed listing of a whole source is called."""
    text = str(fault)
    status, code = _STATUS.search(text), _CODE.search(text)
    name = (code[1] or code[2]) if code else ""
    said = words_of(fault)
    if is_denial(fault):
        hint = "the credentials are wrong" if name in _WRONG_KEY else "check credentials and permission to list"
        return Refusal("source_refused", f"{place}: not allowed to list it ({said}); {hint}")
    if isinstance(fault, FileNotFoundError) or (status and status[1] == "404"):
        return Refusal("source_refused", f"{place}: there is no such bucket ({said}); check name and endpoint")
    if status and status[1] in ("301", "307", "308"):
        return Refusal("source_refused", f"{place}: the bucket is elsewhere ({said}); set its region or endpoint")
    if is_about_request(fault):
        return Refusal("source_refused", f"{place}: the store refuses to list it ({said})")
    return Refusal("source_unreachable", f"{place}: the store does not answer ({said}); check endpoint and network")


def is_wrong_key(fault: BaseException) -> bool:
    """Whether the store does not know these credentials, so that no other prefix can be listed either."""
    code = _CODE.search(str(fault))
    return is_denial(fault) and code is not None and (code[1] or code[2]) in _WRONG_KEY

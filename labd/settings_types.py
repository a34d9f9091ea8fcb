"""The tables of `labd.toml` as frozen values: every key, its default, its limits.

Why frozen: a reload makes a new `Settings` and swaps it whole, so no part ever sees half of a change.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError
from msgspec import Meta

from labd.credentials import SecretReference

if TYPE_CHECKING:
    from labd.notify_settings import NotifySettings

Scope = Literal["read", "operate", "admin"]
Level = Literal["debug", "info", "warning", "error", "critical"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Priority = Annotated[int, Meta(ge=0, le=9)]
Seconds = Annotated[float, Meta(ge=0)]
PositiveSeconds = Annotated[float, Meta(gt=0)]
# The limits of `labd.engine.schedule_spec`, so that `labd check` finds what a start would refuse.
IntervalSeconds = Annotated[float, Meta(ge=1, le=366 * 86_400.0)]
JitterSeconds = Annotated[float, Meta(ge=0, le=86_400.0)]
RunsLimit = Annotated[int, Meta(ge=1, le=1000)]
TOPIC_LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Versions with or without a comparison, parted by commas: `>=3.10,<3.13`.
PYTHON_VERSIONS = re.compile(
    r"\s*(?:[<>=!~]=|[<>])?\s*3(?:\.\d+){1,2}(?:\s*,\s*(?:[<>=!~]=|[<>])?\s*3(?:\.\d+){1,2})*\s*"
)

REMOTE_PYTHON = "/usr/bin/python3"
REFERENCES = ("env:", "file:", "credential:")


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[host]`: how this host is named in answers and logs; empty takes the system's name."""

    name: str = ""


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[api]`: the TCP listener and the limits of both listeners. The Unix socket is always open."""

    listen: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool = False
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 4 * 1024 * 1024
    request_timeout_s: PositiveSeconds = 20.0
    connections_at_most: Annotated[int, Meta(ge=16, le=20_000)] = 400
    event_streams_at_most: Annotated[int, Meta(ge=16, le=20_000)] = 1200
    bodies_at_most_bytes: Annotated[int, Meta(ge=1024, le=1 << 32)] = 32 * 1024 * 1024
    share_per_caller: Annotated[float, Meta(gt=0, le=1)] = 0.75
    write_timeout_s: PositiveSeconds = 60.0
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert: tls_cert and tls_key belong together; one of them is missing")
        if self.listen is None:
            return
        host, _ = self.address
        if not is_loopback(host) and self.tls_cert is None and not self.behind_proxy:
            raise ValueError(
                f"listen: {self.listen} reaches beyond this host without TLS; set tls_cert and tls_key, or "
                "behind_proxy = true if a proxy in front ends TLS, or listen on 127.0.0.1"
            )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `listen`.

        Raises:
            ValueError: Not `host:port`, or no `listen` at all.
        """
        host, _, port = (self.listen or "").rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"listen: {self.listen!r} is no host:port, such as 127.0.0.1:8780 or [::1]:8780")
        return host, int(port)


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[access]`: scopes of local users and groups on the Unix socket; `root` and labd's own user are always admin."""

    users: dict[str, tuple[Scope, ...]] = {}
    groups: dict[str, tuple[Scope, ...]] = msgspec.field(default_factory=lambda: {"labd": ("read", "operate")})


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[queue.NAME]`: priority 0 (first) to 9, and how many of its jobs run at once."""

    priority: Priority = 2
    concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 4


DEFAULT_QUEUES: dict[str, QueueSettings] = {
    "high-priority": QueueSettings(priority=1, concurrency=8),
    "standard": QueueSettings(priority=2, concurrency=4),
    "low-priority": QueueSettings(priority=3, concurrency=2),
    "maintenance": QueueSettings(priority=4, concurrency=1),
    "monitoring": QueueSettings(priority=5, concurrency=2),
}


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[engine]`: fairness, retention and the end of the daemon."""

    ageing_s: PositiveSeconds = 60.0
    drain_s: Seconds = 30.0
    retention_days: PositiveSeconds = 90.0
    retention_jobs: Annotated[int, Meta(ge=1)] = 100_000
    log_retention_days: PositiveSeconds = 14.0
    expires_in_s: PositiveSeconds = 600.0
    resources: dict[str, Annotated[int, Meta(ge=1, le=10_000)]] = {}


class ScheduleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[schedule.NAME]`: makes jobs by cron (5 fields) or by interval."""

    task: str
    args: dict[str, Any] = {}
    cron: str | None = None
    interval_s: IntervalSeconds | None = None
    timezone: str = "UTC"
    misfire: Literal["skip", "latest", "all"] = "latest"
    misfire_limit: RunsLimit = 10
    overlap: Literal["skip", "queue_one", "parallel"] = "skip"
    overlap_limit: RunsLimit = 1
    jitter_s: JitterSeconds = 0.0
    queue: str | None = None
    priority: Priority | None = None
    tags: tuple[str, ...] = ()
    paused: bool = False

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.interval_s is None):
            raise ValueError("needs exactly one of cron and interval_s")
        try:
            ZoneInfo(self.timezone)
        except (
            KeyError,
            OSError,
            ValueError,
        ):  # ZoneInfoNotFoundError is a KeyError; a path is a ValueError or OSError
            raise ValueError(f"timezone: {self.timezone!r} is no time zone, such as Europe/Vienna") from None
        if self.cron is None:
            return
        if len(self.cron.split()) != 5:
            raise ValueError(f"cron: {self.cron!r} has {len(self.cron.split())} fields, needs 5, such as '0 6 * * 1-5'")
        try:
            CronSim(self.cron, datetime(2026, 1, 1))  # noqa: DTZ001 the rule is checked, not evaluated
        except CronSimError as fault:
            raise ValueError(f"cron: {self.cron!r} is no cron rule: {fault}") from None


class TasksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[tasks]`: where task files are; every `*.py` in a folder that is there, and modules by name.

    A module may name its environment: `ot2:lab.robot`.
    """

    folders: tuple[str, ...] = ("/etc/labd/tasks.d", "~/.config/labd/tasks.d")
    modules: tuple[str, ...] = ()
    poll_s: Seconds = 3.0


class EnvironmentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[env.NAME]`: an interpreter for tasks and the pool of its workers.

    `python` is a path or what the version must fit, such as `>=3.10,<3.13`; with `requires` labd makes the environment.
    With `ssh` its workers run on another host, as `python` says there or as `REMOTE_PYTHON`. With `simulated` all its
    tasks move simulators only: their jobs say so and touch no real stock.
    """

    python: str | None = None
    requires: tuple[str, ...] = ()
    size: Annotated[int, Meta(ge=1, le=256)] = 4
    warm: Annotated[int, Meta(ge=0, le=256)] = 0
    idle_s: PositiveSeconds = 300.0
    recycle_jobs: Annotated[int, Meta(ge=0)] = 0
    recycle_mib: Annotated[int, Meta(ge=0)] = 0
    memory_mib: Annotated[int, Meta(ge=0)] = 0
    cpu_s: Annotated[int, Meta(ge=0)] = 0
    grace_s: PositiveSeconds = 5.0
    start_timeout_s: PositiveSeconds = 60.0
    variables: dict[str, str] = {}
    simulated: bool = False
    ssh: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9_.@:%\[\]-]*$", max_length=255)] | None = None
    ssh_command: Annotated[str, Meta(min_length=1)] = "ssh"
    ssh_options: tuple[str, ...] = ()
    ssh_known_hosts: Annotated[str, Meta(pattern=r"^/")] | None = None
    ssh_silence_s: PositiveSeconds = 9.0

    def __post_init__(self) -> None:
        if self.ssh is not None and self.requires:
            raise ValueError("requires: labd installs nothing on another host; leave it out where ssh is set")
        if self.ssh is not None and self.python is not None and not self.python.startswith("/"):
            raise ValueError(f"python: {self.python!r} is no path; on the host of ssh it must be one")
        if self.warm > self.size:
            raise ValueError(f"warm: {self.warm} workers cannot be kept ready where size is {self.size}")
        if self.python is not None and not self.python.startswith("/") and not PYTHON_VERSIONS.fullmatch(self.python):
            raise ValueError(f"python: {self.python!r} is neither a path nor versions, such as '>=3.10' or '3.11'")

    @property
    def worker_variables(self) -> dict[str, str]:
        """`variables`, and the word that tells a body that all it moves is simulated."""
        return {**self.variables, "LABD_SIMULATED": "1"} if self.simulated else self.variables


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[mqtt]`: the broker through which requests come in; off without this table. Scopes of its users in `users`."""

    broker: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    device_id: str = ""
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=128)] = "labd"
    username: str | None = None
    password: SecretReference | None = None
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    plaintext: bool = False
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    session_expiry_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFE)] = 86_400
    reconnect_s: PositiveSeconds = 30.0
    max_payload_bytes: Annotated[int, Meta(ge=1024, le=64 * 1024 * 1024)] = 256 * 1024
    users: dict[str, tuple[Scope, ...]] = {}

    def __post_init__(self) -> None:
        if self.device_id and not TOPIC_LEVEL.fullmatch(self.device_id):
            raise ValueError(f"device_id: {self.device_id!r} is no level of a topic: letters, digits, dot, minus, _")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file: cert_file and key_file belong together; one of them is missing")
        if not self.tls and (self.ca_file is not None or self.cert_file is not None):
            raise ValueError("tls: ca_file and cert_file are for TLS; set tls = true")
        if self.password is not None and self.username is None:
            raise ValueError("username: a password needs a username")
        if not self.tls and not self.plaintext and not is_loopback(self.broker):
            raise ValueError(
                f"tls: {self.broker} is another host; set tls = true, or plaintext = true if the line between is safe"
            )
        if not self.users:
            raise ValueError('users: nobody could ask anything; name the users of the broker: alice = ["operate"]')


class MongoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[mongo]`: the MongoDB that shows the inventory to its readers; off without this table.

    Without `url` the variable `blinded_connection_string` is read; `<db_password>` in any address stands for `password`
    or, without that, the variable `MONGODB_PASSWORD`.
    """

    url: Annotated[str, Meta(min_length=1, max_length=2000, extra={"secret": True})] | None = None
    database: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}$")] = "LCM-OT-2-SLD"
    username: str | None = None
    password: SecretReference | None = None
    tls: bool = False
    ca_file: str | None = None
    plaintext: bool = False
    color_keys: dict[str, Annotated[str, Meta(pattern=r"^[^.$\x00][^.\x00]{0,62}$")]] = msgspec.field(
        default_factory=lambda: {"red": "R", "yellow": "Y", "blue": "B"}
    )
    poll_s: PositiveSeconds = 2.0
    answer_timeout_s: PositiveSeconds = 10.0
    reconnect_s: PositiveSeconds = 30.0
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500

    def __post_init__(self) -> None:
        if self.username is not None and self.password is None:
            raise ValueError("password: a username needs a password")
        if self.url is not None and not self.url.startswith(REFERENCES):
            check_mongo_url(self.url, self.tls or self.plaintext)
        if len(set(self.color_keys.values())) < len(self.color_keys):
            raise ValueError("color_keys: two reservoirs have the same color_key; each needs its own")


class TopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of `labd.toml` that stand before the first table."""

    state_dir: str | None = None
    runtime_dir: str | None = None
    socket: str | None = None
    log_level: Level = "info"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything labd was told, checked.

    `wings` has the parsed table of every wing that is configured, `absent_wings` the wings that are configured but
    belong to a labd that is not installed. `origin` says for every dotted key that was set where: a file or a variable;
    `given` has the value as it was written.
    """

    host: HostSettings
    state_dir: Path
    runtime_dir: Path
    socket: Path
    log_level: Level
    api: ApiSettings
    access: AccessSettings
    engine: EngineSettings
    queues: dict[str, QueueSettings]
    schedules: dict[str, ScheduleSettings]
    tasks: TasksSettings
    environments: dict[str, EnvironmentSettings]
    mqtt: MqttSettings | None
    mongo: MongoSettings | None
    notify: NotifySettings | None
    wings: dict[str, Any]
    absent_wings: tuple[str, ...]
    origin: dict[str, str]
    given: dict[str, Any]
    files: tuple[Path, ...]


def check_mongo_url(url: str, protected: bool) -> None:
    """Refuse an address that shows its password, or whose line would.

    Args:
        protected: The settings ask for TLS, or say that the line is safe without.

    Raises:
        ValueError: Which it is, without a word of the address's secrets.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"mongodb", "mongodb+srv"} or not rest:
        raise ValueError("url: needs mongodb://HOST:PORT or mongodb+srv://HOST, or a reference such as env:NAME to it")
    user, at, _ = rest.rpartition("@")
    if at and ":" in user and not user.endswith(":<db_password>"):
        raise ValueError("url: it shows a password; write <db_password> there, and set password to a reference")
    if protected or scheme == "mongodb+srv" or re.search(r"[?&](tls|ssl)=true(&|$)", rest):
        return
    for host in mongo_hosts(url):
        name = host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if not is_loopback(name) and not name.startswith("%2F"):
            raise ValueError(
                f"tls: {host} is another host; set tls = true, or plaintext = true if the line between is safe"
            )


def mongo_hosts(url: str) -> list[str]:
    """Hosts and ports of an address, without its user and password, however badly those are written."""
    _, _, rest = url.partition("://")
    _, _, behind_user = rest.rpartition("@")
    hosts = re.split(r"[/?]", behind_user, maxsplit=1)[0].split(",")
    return hosts if all(re.fullmatch(r"[\w.:%\[\]-]+", host) for host in hosts) else ["(no host)"]


def is_loopback(host: str) -> bool:
    """Whether a listener on `host` is reached from this host only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""TOML and variables to frozen settings; every fault is reported at once as `file: key: problem`.

Why the wings come as an argument: the settings know no wing by import, so a sixth wing needs no change here.
"""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from labd import credentials, notify_settings, settings_layers
from labd.errors import SettingsFault
from labd.notify_settings import NotifySettings
from labd.settings_layers import Layers
from labd.settings_table import Problem, Problems, nearest, read_table
from labd.settings_types import (
    DEFAULT_QUEUES,
    TOPIC_LEVEL,
    AccessSettings,
    ApiSettings,
    EngineSettings,
    EnvironmentSettings,
    HostSettings,
    MongoSettings,
    MqttSettings,
    Name,
    QueueSettings,
    ScheduleSettings,
    Settings,
    TasksSettings,
    TopSettings,
)

__all__ = [
    "AccessSettings",
    "ApiSettings",
    "EngineSettings",
    "EnvironmentSettings",
    "HostSettings",
    "MongoSettings",
    "MqttSettings",
    "Problem",
    "Problems",
    "QueueSettings",
    "ScheduleSettings",
    "Settings",
    "TableParser",
    "TasksSettings",
    "default_folders",
    "load",
    "read_table",
]

KNOWN_WINGS = ("resort", "ot2", "inventory", "snapshots", "ingest")
TOP_KEYS = tuple(field.name for field in msgspec.structs.fields(TopSettings))
OWN_TABLES = ("host", "api", "access", "engine", "queue", "schedule", "tasks", "env", "mqtt", "mongo", "notify")
SOCKET_PATH_LIMIT_BYTES = 107  # sun_path of Linux is 108 with its closing NUL: unix(7)

S = TypeVar("S", bound=msgspec.Struct)


class TableParser(Protocol):
    """What the settings ask of a wing's factory (`labd.wing.WingFactory`)."""

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Any:
        """The wing's frozen settings; faults go into `problems`."""
        ...


def load(
    factories: Mapping[str, TableParser],
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    system_folder: Path = settings_layers.SYSTEM_FOLDER,
    home: Path | None = None,
    uid: int | None = None,
) -> Settings:
    """The settings of all layers.

    Args:
        factories: Name of each wing that is there -> its factory.
        config: One file that stands for all others.
        overrides: Keys of the command line, such as `{"state_dir": "/srv/labd"}`; they win over everything.
        environ, system_folder, home, uid: The process's own unless said.

    Raises:
        SettingsFault: `details["problems"]` lists every fault as `file: key: problem`.
    """
    environ = os.environ if environ is None else environ
    home = home or (Path(environ["HOME"]) if environ.get("HOME") else None)
    uid = os.getuid() if uid is None else uid
    layers = Layers()
    problems = Problems(layers.origins)
    for path in settings_layers.files(config, environ, system_folder=system_folder, home=home):
        layers.put(settings_layers.read_file(path, problems), str(path))
        layers.files.append(path)
    settings_layers.read_environment(layers, environ, TOP_KEYS, {"queue": DEFAULT_QUEUES}, problems)
    layers.put({key: value for key, value in (overrides or {}).items() if value is not None}, "command line")
    settings = _read(layers, factories, problems, environ, home, uid)
    if len(problems) or settings is None:
        lines = problems.lines()
        raise SettingsFault("the settings have faults:\n  " + "\n  ".join(lines), problems=lines)
    return settings


def _read(
    layers: Layers,
    factories: Mapping[str, TableParser],
    problems: Problems,
    environ: Mapping[str, str],
    home: Path | None,
    uid: int,
) -> Settings | None:
    table = layers.table
    where = str(layers.files[0]) if layers.files else "labd.toml"
    top = read_table(TopSettings, {key: table[key] for key in TOP_KEYS if key in table}, where, "", problems)
    host = _table(HostSettings, table, "host", where, problems)
    api = _table(ApiSettings, table, "api", where, problems)
    access = _table(AccessSettings, table, "access", where, problems)
    engine = _table(EngineSettings, table, "engine", where, problems)
    queues = _queues(table.get("queue", {}), where, problems)
    schedules = _schedules(table.get("schedule", {}), queues, where, problems)
    tasks = _table(TasksSettings, table, "tasks", where, problems)
    environments = _environments(table.get("env", {}), where, problems)
    mqtt = _mqtt(table, host, where, problems)
    mongo = _mongo(table, where, problems)
    notify = _notify(table, where, problems)
    wings: dict[str, Any] = {}
    absent: list[str] = []
    for name, value in table.items():
        if name in TOP_KEYS or name in OWN_TABLES:
            continue
        if name not in factories and name not in KNOWN_WINGS:
            kind = "table" if isinstance(value, Mapping) else "key"
            known = (*TOP_KEYS, *OWN_TABLES, *factories, *KNOWN_WINGS)
            problems.add(where, name, f"unknown {kind}{nearest(name, known)}")
        elif not isinstance(value, Mapping):
            problems.add(where, name, f"needs a table, got {value!r}")
        elif name in factories:
            wings[name] = factories[name].parse(value, where, problems)
        else:
            absent.append(name)
    if top is None or host is None or api is None or access is None or engine is None or tasks is None:
        return None
    _check_tls(api, where, environ, problems)
    state_dir, runtime_dir, socket = _paths(top, where, environ, home, uid, problems)
    return Settings(
        host=host if host.name else HostSettings(name=sockets.gethostname()),
        state_dir=state_dir,
        runtime_dir=runtime_dir,
        socket=socket,
        log_level=top.log_level,
        api=api,
        access=access,
        engine=engine,
        queues=queues,
        schedules=schedules,
        tasks=tasks,
        environments=environments,
        mqtt=mqtt,
        mongo=mongo,
        notify=notify,
        wings=wings,
        absent_wings=tuple(absent),
        origin=dict(layers.origins),
        given=layers.given(),
        files=tuple(layers.files),
    )


def _table(kind: type[S], table: Mapping[str, Any], name: str, where: str, problems: Problems) -> S | None:
    value = table.get(name, {})
    if not isinstance(value, Mapping):
        problems.add(where, name, f"needs a table, got {value!r}")
        return None
    return read_table(kind, value, where, name, problems)


def _named_tables(value: Any, prefix: str, where: str, problems: Problems) -> dict[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping):
        problems.add(where, prefix, f"needs tables such as [{prefix}.NAME], got {value!r}")
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, part in value.items():
        if not isinstance(part, Mapping):
            problems.add(where, f"{prefix}.{name}", f"needs a table [{prefix}.{name}], got {part!r}")
            continue
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            problems.add(where, f"{prefix}.{name}", "a name has letters, digits, dot, minus and underscore, at most 63")
            continue
        found[name] = part
    return found


def _queues(value: Any, where: str, problems: Problems) -> dict[str, QueueSettings]:
    queues = dict(DEFAULT_QUEUES)
    for name, part in _named_tables(value, "queue", where, problems).items():
        given = read_table(QueueSettings, part, where, f"queue.{name}", problems)
        if given is not None:
            before = queues.get(name, given)
            changed = {key: getattr(given, key) for key in part}
            queues[name] = msgspec.structs.replace(before, **changed)
    return queues


def _schedules(
    value: Any, queues: Mapping[str, QueueSettings], where: str, problems: Problems
) -> dict[str, ScheduleSettings]:
    schedules: dict[str, ScheduleSettings] = {}
    for name, part in _named_tables(value, "schedule", where, problems).items():
        schedule = read_table(ScheduleSettings, part, where, f"schedule.{name}", problems)
        queue = part.get("queue")
        if isinstance(queue, str) and queue not in queues:
            problems.add(where, f"schedule.{name}.queue", f"no queue {str(queue)!r}{nearest(queue, queues)}")
        if schedule is not None:
            schedules[name] = schedule
    return schedules


def _environments(value: Any, where: str, problems: Problems) -> dict[str, EnvironmentSettings]:
    environments = {"default": EnvironmentSettings()}
    for name, part in _named_tables(value, "env", where, problems).items():
        environment = read_table(EnvironmentSettings, part, where, f"env.{name}", problems)
        if environment is None:
            continue
        environments[name] = environment
        own = environment.python is None and not environment.requires and environment.ssh is None
        if name == "default" and not own:
            text = "is labd's own interpreter; python, requires and ssh belong to another name"
            problems.add(where, "env.default", text)
        elif name != "default" and own:
            problems.add(where, f"env.{name}", "needs python, requires or both, or ssh")
    return environments


def _mqtt(table: Mapping[str, Any], host: HostSettings | None, where: str, problems: Problems) -> MqttSettings | None:
    if "mqtt" not in table:
        return None
    mqtt = _table(MqttSettings, table, "mqtt", where, problems)
    if mqtt is None:
        return None
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(mqtt, key)
        if path is not None and not Path(path).is_file():
            problems.add(where, f"mqtt.{key}", f"no file {path}")
    for user in mqtt.users:
        if not user or any(character in "/+#" or not character.isprintable() for character in user):
            problems.add(where, f"mqtt.users.{user}", "a name of the broker's that is no level of a topic")
    name = mqtt.device_id or (host.name if host is not None and host.name else sockets.gethostname())
    if not TOPIC_LEVEL.fullmatch(name):
        problems.add(where, "mqtt.device_id", f"the host's name {name!r} is no level of a topic; set device_id")
        return None
    return msgspec.structs.replace(mqtt, device_id=name)


def _mongo(table: Mapping[str, Any], where: str, problems: Problems) -> MongoSettings | None:
    mongo = _table(MongoSettings, table, "mongo", where, problems) if "mongo" in table else None
    if mongo is not None and mongo.ca_file is not None and not Path(mongo.ca_file).is_file():
        problems.add(where, "mongo.ca_file", f"no file {mongo.ca_file}")
    if "mongo" in table and "inventory" not in table:
        problems.add(where, "mongo", "shows the inventory; the table [inventory] is missing")
    return mongo


def _notify(table: Mapping[str, Any], where: str, problems: Problems) -> NotifySettings | None:
    value = table.get("notify")
    if value is None:
        return None
    if not isinstance(value, Mapping):
        problems.add(where, "notify", f"needs a table, got {value!r}")
        return None
    return notify_settings.parse(value, where, "mqtt" in table, problems)


def _check_tls(api: ApiSettings, where: str, environ: Mapping[str, str], problems: Problems) -> None:
    for key in ("tls_cert", "tls_key"):
        reference = getattr(api, key)
        if reference is None:
            continue
        try:
            path = credentials.path_of(reference, environ)
        except SettingsFault as fault:
            problems.add(where, f"api.{key}", fault.message)
            continue
        if not path.is_file():
            problems.add(where, f"api.{key}", f"no file {path}")


def _paths(
    top: TopSettings, where: str, environ: Mapping[str, str], home: Path | None, uid: int, problems: Problems
) -> tuple[Path, Path, Path]:
    default_state, default_runtime = default_folders(environ, home, uid)
    state_dir = Path(top.state_dir).expanduser().absolute() if top.state_dir else default_state
    if top.runtime_dir:
        runtime_dir = Path(top.runtime_dir).expanduser().absolute()
    elif top.state_dir and "RUNTIME_DIRECTORY" not in environ:
        runtime_dir = state_dir / "run"  # a second daemon with its own state folder must not share the stop latch
    else:
        runtime_dir = default_runtime
    socket = Path(top.socket).expanduser().absolute() if top.socket else runtime_dir / "labd.sock"
    length = len(os.fsencode(socket))
    if length > SOCKET_PATH_LIMIT_BYTES:
        problem = (
            f"{socket} is {length} bytes long, a Unix socket takes {SOCKET_PATH_LIMIT_BYTES}; set a shorter socket"
        )
        problems.add(where, "socket", problem)
    return state_dir, runtime_dir, socket


def default_folders(environ: Mapping[str, str], home: Path | None, uid: int) -> tuple[Path, Path]:
    """State and runtime folder: systemd's, else those of the system for root, else the user's (XDG)."""
    if uid == 0:
        state, runtime = Path("/var/lib/labd"), Path("/run/labd")
    else:
        home = home or Path(f"/tmp/labd-{uid}")  # noqa: S108 no home at all: a place that at least exists
        data = environ.get("XDG_STATE_HOME", "")
        state = (Path(data) if data else home / ".local" / "state") / "labd"
        run = environ.get("XDG_RUNTIME_DIR", "")
        runtime = Path(run) / "labd" if run else state / "run"
    if environ.get("STATE_DIRECTORY"):
        state = Path(environ["STATE_DIRECTORY"].split(":")[0])
    if environ.get("RUNTIME_DIRECTORY"):
        runtime = Path(environ["RUNTIME_DIRECTORY"].split(":")[0])
    return state, runtime

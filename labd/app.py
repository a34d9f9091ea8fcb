"""Connects all parts: the only place that knows them all. Start order goes down the page of `start`, stop order up."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
from collections.abc import Callable, Mapping
from random import Random
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

import labd
from labd import credentials, telemetry
from labd.check import wing_state
from labd.clock import Clock
from labd.engine.alert_watch import AlertWatch
from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import INTERNAL
from labd.engine.registry import Registry
from labd.engine.schedules import ScheduleSpec
from labd.engine.schema import Schema
from labd.engine.worker_tasks import WorkerTasks
from labd.errors import LabdError, SettingsFault, StoreFull
from labd.notify_settings import NotifySettings
from labd.offers import entry_points_beside_labd
from labd.settings import Settings
from labd.state_folder import StateFolder
from labd.systemd import Notifier, Watchdog
from labd.wing import Host, Wing, WingFactory

if TYPE_CHECKING:
    from labd.api.server import ApiServer
    from labd.mongo import MongoOutlet
    from labd.mqtt import MqttDoor
    from labd.notify import AlertDelivery

log = structlog.get_logger()
BUILT_IN_WINGS = {
    "resort": "labd.resort.wing:wing",
    "ot2": "labd.ot2.wing:wing",
    "inventory": "labd.inventory.wing:wing",
    "snapshots": "labd.snapshots.wing:wing",
    "ingest": "labd.ingest.wing:wing",
}
Load = Callable[[], Settings]


def factories() -> dict[str, WingFactory]:
    """Every wing that is installed, by name; the built-in ones also where labd runs from its source tree."""
    found: dict[str, WingFactory] = {}
    for name, where in BUILT_IN_WINGS.items():
        module, _, attribute = where.partition(":")
        found[name] = getattr(importlib.import_module(module), attribute)
    for entry in entry_points_beside_labd("labd.wings"):
        if entry.name not in found:
            found[entry.name] = entry.load()
    return found


class App:
    """One daemon.

    Args:
        load: Reads the settings again, for SIGHUP.
        inherited: The Unix socket that systemd opened, if any.
    """

    def __init__(
        self, settings: Settings, wings: Mapping[str, WingFactory], load: Load, clock: Clock, random: Random,
        notifier: Notifier, inherited: socket.socket | None = None,
    ) -> None:  # fmt: skip
        self.version = labd.__version__
        self.started_at = clock.wall()
        self.settings = settings
        self._factories = wings
        self._load = load
        self._clock = clock
        self._random = random
        self._notifier = notifier
        self._inherited = inherited
        self._wings: dict[str, Wing] = {}
        self._faults: dict[str, str] = {}
        self._folder = StateFolder(settings.state_dir)
        self._api: ApiServer | None = None
        self._mqtt: MqttDoor | None = None
        self._mongo: MongoOutlet | None = None
        self._watch: AlertWatch | None = None
        self._outlets: AlertDelivery | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self.engine = Engine(
            settings.state_dir, Registry(), clock, random, _engine_options(settings), _schemas(settings, wings)
        )
        self.workers = WorkerTasks(
            self.engine, settings.state_dir, settings.environments, settings.tasks, clock,
            credentials.without_secrets(os.environ, settings.given),
        )  # fmt: skip

    async def start(self) -> None:
        """Everything up to the open doors; raises a `LabdError` whose message is fit for a terminal."""
        self._folder.hold(self._clock)
        if self._folder.has_restore:
            from labd import restore

            restore.finish(self.settings.state_dir)
        self.settings.runtime_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        await self._open()
        for name, parsed in self.settings.wings.items():
            await self._start_wing(name, parsed)
        doors = await self._start_workers()
        recovered = await self.engine.start()
        await self._put_schedules(self.settings)
        await self._start_mqtt()
        await self._start_mongo()
        watch, outlets = self._make_alerts()
        beside = self._mongo.endpoints() if self._mongo is not None else []
        self._api = doors.server_of(
            self.engine, self.workers, outlets, self, lambda: self.settings,
            [*beside, *(e for wing in self._wings.values() for e in wing.endpoints())],
            self.reload, self._clock, self._inherited,
        )  # fmt: skip
        await self._api.start()
        watch.start()
        outlets.start()
        self._record_start(recovered)
        self._notifier.ready(f"serving on {self.settings.socket}")
        self._watchdog = asyncio.create_task(Watchdog(self._notifier, self._probe, self._clock).run(), name="watchdog")

    async def _open(self) -> None:
        """Open the journal, and lay out what workers need meanwhile: the one waits for the disk, the other reads."""
        preparing = asyncio.create_task(self.workers.prepare(), name="workers")
        try:
            await self.engine.open()
        finally:
            await asyncio.wait({preparing})
        await preparing

    async def _start_workers(self) -> ModuleType:
        """Start what runs task files, and import the doors meanwhile: both take long, and neither needs the other.

        Returns:
            `labd.doors`.
        """
        importing = asyncio.create_task(asyncio.to_thread(importlib.import_module, "labd.doors"), name="doors")
        try:
            await self.workers.start()
        finally:
            await asyncio.wait({importing})
        return await importing

    def _record_start(self, recovered: Any) -> None:
        facts = {
            "version": self.version, "pid": os.getpid(), "interrupted": recovered.interrupted,
            "requeued": recovered.requeued, "held": recovered.held, "failed": recovered.failed,
        }  # fmt: skip
        self.engine.audit(INTERNAL, "daemon.start", self.settings.host.name, facts)
        self.engine.publish("daemon.started", facts)
        log.info("daemon.started", socket=str(self.settings.socket), state_dir=str(self.settings.state_dir),
                 audit_head=self.engine.audit_head, **facts)  # fmt: skip
        for wing in self.wings():
            if wing["state"] != "on":
                log.warning("wing.off", wing=wing["name"], reason=wing["reason"], install=wing["install"])

    async def _start_wing(self, name: str, parsed: Any) -> None:
        """Build and start one wing; one that cannot work is shown as such and takes no other down."""
        factory = self._factories[name]
        state = wing_state(factory, configured=True)
        if state != "on":
            self._faults[name] = state.removeprefix("off: ")
            return
        host = Host(
            self.engine, self.settings.state_dir, self.settings.runtime_dir, self._clock, self._random,
            lambda env: self.workers.environments.interpreter(env).path, self.workers.worker_of,
        )  # fmt: skip
        try:
            wing = factory.build(parsed, host)
        except LabdError as fault:
            self._faults[name] = fault.message
            log.error("wing.faulty", wing=name, problem=fault.message)
            return
        for spec in wing.tasks():
            self.engine.registry.add(spec)
        try:
            await wing.start()
        except (LabdError, OSError) as fault:
            self._faults[name] = str(fault)
            log.error("wing.faulty", wing=name, problem=str(fault))
        self._wings[name] = wing

    async def _start_mqtt(self) -> None:
        """Open the MQTT door where it is configured; a fault of it takes nothing else down."""
        if self.settings.mqtt is None:
            return
        from labd.mqtt import MqttDoor

        door = MqttDoor(
            self.settings.mqtt, self.engine, self.settings.host.name, self.version, self._clock, self._random
        )
        try:
            await door.start()
        except LabdError as fault:
            self._faults["mqtt"] = fault.message
            log.error("mqtt.off", problem=fault.message)
            return
        self._mqtt = door

    async def _start_mongo(self) -> None:
        """Show the inventory in MongoDB where that is configured; a fault of it takes nothing else down."""
        if self.settings.mongo is None:
            return
        from labd.mongo import MongoOutlet

        ledger = getattr(self._wings.get("inventory"), "ledger", None)
        outlet = MongoOutlet(self.settings.mongo, self.engine, ledger, self._clock, self._random)
        try:
            await outlet.start()
        except LabdError as fault:
            self._faults["mongo"] = fault.message
            log.error("mongo.off", problem=fault.message)
            return
        self._mongo = outlet

    def _make_alerts(self) -> tuple[AlertWatch, AlertDelivery]:
        """What watches and what tells; it begins when the doors are open."""
        from labd.notify import AlertDelivery, outlets_of

        settings = self.settings.notify or NotifySettings()
        engine = self.engine
        watch = AlertWatch(engine.alerts, engine.events, engine.journal, self.attention, self._clock)
        outlets = AlertDelivery(
            settings, outlets_of(settings, self._mqtt, self._clock, self.version), engine.alerts, watch.is_missing,
            self.settings.host.name, self._clock, self._random,
        )  # fmt: skip
        self._watch, self._outlets = watch, outlets
        return watch, outlets

    async def drain(self) -> None:
        """Take nothing new, let running work end within the drain time, bring every device to rest."""
        limit_s = self.settings.engine.drain_s
        self._notifier.stopping("draining")
        self._notifier.extend_timeout(limit_s + 15.0)
        log.info("daemon.draining", limit_s=limit_s, running=self.engine.counts()["running"])
        self.engine.publish("daemon.draining", {"limit_s": limit_s})
        if self._api is not None:
            self._api.drain()
        await self.engine.drain(limit_s)
        for wing in self._wings.values():
            await wing.drain()

    async def stop(self) -> None:
        """Close everything in the reverse order; a part that fails to close does not keep the others open."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._outlets is not None:
            await self._outlets.stop()
        if self._watch is not None:
            await self._watch.stop()
        if self._mongo is not None:
            await self._mongo.stop()
        if self._mqtt is not None:
            await self._mqtt.stop()
        if self._api is not None:
            await self._api.stop()
        for name, wing in reversed(list(self._wings.items())):
            try:
                await wing.stop()
            except (LabdError, OSError) as fault:
                log.error("wing.faulty", wing=name, problem=str(fault))
        await self.workers.close()
        if self.engine.journal.is_open:
            self.engine.audit(INTERNAL, "daemon.stop", self.settings.host.name, {})
            head = self.engine.audit_head
            await self.engine.close()
            log.info("daemon.stopped", audit_head=head)
        self._folder.close()

    async def _probe(self) -> None:
        """The journal answers: a read through its own thread, and no commit that hangs."""
        if self.engine.store_full:
            raise StoreFull("the disk is full")
        await self.engine.journal.commit()
        await self.engine.stored_value("watchdog")

    async def reload(self) -> list[str]:
        """Apply changed settings as a whole.

        Returns:
            The dotted keys that changed; those in force only after a restart say so.

        Raises:
            SettingsFault: The file is faulty; the old settings stay in force.
        """
        self._notifier.reloading()
        try:
            fresh = await asyncio.to_thread(self._load)
            telemetry.configure(level=fresh.log_level)
            if self._api is not None:
                from labd.doors import options_of

                self._api.change_access(options_of(fresh))
            self.engine.change_options(_engine_options(fresh))
            await self._put_schedules(fresh)
            working = {name: wing for name, wing in self._wings.items() if name in fresh.wings}
            restart = {key for name, wing in working.items() for key in wing.change(fresh.wings[name])}
            if (fresh.environments, fresh.tasks) != (self.settings.environments, self.settings.tasks):
                await self.workers.change(fresh.environments, fresh.tasks)
            changed = _changed(self.settings, fresh, tuple(f"{name}." for name in working), restart)
            self.settings = msgspec.structs.replace(
                self.settings, access=fresh.access, engine=fresh.engine, queues=fresh.queues, schedules=fresh.schedules,
                log_level=fresh.log_level, environments=fresh.environments, tasks=fresh.tasks, given=fresh.given,
                origin=fresh.origin,
            )  # fmt: skip
        except SettingsFault as fault:
            log.error("settings.refused", problems=fault.details.get("problems"))
            self.engine.publish("settings.refused", {"problems": fault.details.get("problems", [fault.message])})
            raise
        finally:
            self._notifier.ready(f"serving on {self.settings.socket}")
        log.info("settings.reloaded", changed=changed)
        self.engine.publish("settings.reloaded", {"changed": changed})
        return changed

    async def _put_schedules(self, settings: Settings) -> None:
        """The schedules of the settings file as they stand there; those made by hand are left alone.

        A schedule that a person paused stays paused.
        """
        there = {view.spec.name: view for view in self.engine.schedules() if view.origin == "settings"}
        for name in there.keys() - settings.schedules.keys():
            await self.engine.delete_schedule(name, INTERNAL)
        for name, table in settings.schedules.items():
            spec = msgspec.convert({"name": name, **msgspec.to_builtins(table)}, ScheduleSpec)
            old = there.get(name)
            if old is not None:
                spec = msgspec.structs.replace(spec, paused=spec.paused or old.spec.paused)
                if old.spec == spec:
                    continue
            try:
                await self.engine.put_schedule(spec, INTERNAL, origin="settings")
            except LabdError as fault:
                self._faults[f"schedule {name}"] = fault.message
                log.error("schedule.refused", schedule=name, problem=fault.message)

    def wings(self) -> list[dict[str, Any]]:
        """State of every wing this labd has, and of those the settings name."""
        return [self._wing_view(name) for name in sorted({*self._factories, *self.settings.absent_wings})]

    def _wing_view(self, name: str) -> dict[str, Any]:
        factory = self._factories.get(name)
        view = {"name": name, "state": "off", "reason": "", "install": "", "devices": []}
        if factory is None:
            return {**view, "reason": "this labd has no such wing"}
        missing = wing_state(factory, name in self.settings.wings).removeprefix("off: ")
        if name in self._wings:
            faulty = name in self._faults
            devices = self._wings[name].status().get("devices", [])
            return {
                **view,
                "state": "faulty" if faulty else "on",
                "reason": self._faults.get(name, ""),
                "devices": devices,
            }
        install = f"pip install 'labd[{factory.extra}]'" if "not installed" in missing else ""
        return {**view, "reason": missing, "install": install}

    def attention(self) -> list[dict[str, Any]]:
        """What needs a person."""
        found: list[dict[str, Any]] = []
        for name, wing in self._wings.items():
            found += [{"subject": name, **item} for item in wing.status().get("attention", [])]
        found += self.workers.attention()
        for name, problem in self._faults.items():
            found.append({"code": "faulty", "message": problem, "subject": name})
        for outlet in (self._mqtt, self._mongo):
            if outlet is not None:
                found += outlet.attention()
        if self._outlets is not None:
            found += self._outlets.attention()
        interrupted = self.engine.counts()["interrupted"]
        if interrupted:
            noun = "job was" if interrupted == 1 else "jobs were"
            text = f"{interrupted} physical {noun} cut off; see `labctl job list --state interrupted`"
            found.append({"code": "interrupted", "message": text, "subject": "jobs"})
        for job in self.engine.asking():
            question = job.asks["question"] if job.asks else ""
            text = f"job {job.id} ({job.task}) asks: {question} - `labctl job answer {job.id} VALUE`"
            found.append({"code": "question", "message": text, "subject": f"job {job.id}"})
        held = sum(queue.held for queue in self.engine.queues())
        if held:
            noun = "job waits" if held == 1 else "jobs wait"
            text = f"{held} queued {noun} for a release; see `labctl job why N`, `labctl job release N`"
            found.append({"code": "held", "message": text, "subject": "jobs"})
        return found

    def mqtt(self) -> dict[str, Any] | None:
        """State of the MQTT door; None where it is not configured or cannot work."""
        return None if self._mqtt is None else self._mqtt.status()

    def mongo(self) -> dict[str, Any] | None:
        """State of the MongoDB outlet; None where it is not configured or cannot work."""
        return None if self._mongo is None else self._mongo.status()

    def simulated(self) -> bool:
        """Whether any device is a simulator."""
        return any(
            device.get("simulated") for wing in self._wings.values() for device in wing.status().get("devices", [])
        )


def _schemas(settings: Settings, wings: Mapping[str, WingFactory]) -> list[Schema]:
    """The tables of the wings that the settings name; a wing from elsewhere may have been made without the word."""
    found = (getattr(wings[name], "schema", None) for name in settings.wings)
    return [schema for schema in found if schema is not None]


def _engine_options(settings: Settings) -> EngineOptions:
    return EngineOptions(
        queues={name: (queue.priority, queue.concurrency) for name, queue in settings.queues.items()},
        ageing_s=settings.engine.ageing_s,
        keep_s=settings.engine.retention_days * 86_400.0,
        keep_jobs=settings.engine.retention_jobs,
        keep_lines_s=settings.engine.log_retention_days * 86_400.0,
        expires_in_s=settings.engine.expires_in_s,
        resources=dict(settings.engine.resources),
        seed=settings.host.name,
    )


LIVE_KEYS = ("access.", "engine.", "queue.", "schedule.", "tasks.", "env.", "log_level")


def _changed(old: Settings, new: Settings, wings: tuple[str, ...], restart: set[str]) -> list[str]:
    """Every key that changed, and those that wait for a restart, which are marked.

    Args:
        wings: Prefixes of the wings at work; their keys are live but for those in `restart`.
    """
    keys = {key for key in {*old.given, *new.given} if (old.given.get(key) or {}) != (new.given.get(key) or {})}
    keys |= set(old.wings) ^ set(new.wings)
    told = {wait for wait in restart for key in keys if _concerns(key, wait)}
    waits = {key for key in keys if not key.startswith((*LIVE_KEYS, *wings))} | (restart - told)
    waits |= {key for key in keys for wait in told if _concerns(key, wait)}
    return [f"{key} (in force after a restart)" if key in waits else key for key in sorted(keys | waits)]


def _concerns(key: str, wait: str) -> bool:
    """Whether a key of the file is the one that waits: itself, in its table, or the default of an instance's key."""
    wing, _, name = key.partition(".")
    return f"{key}.".startswith(f"{wait}.") or (wait.startswith(f"{wing}.") and wait.endswith(f".{name}"))

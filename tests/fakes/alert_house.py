"""Engine, book, watch and outlets over one state folder, and a web server that takes alerts, or refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from labd import notify
from labd.clock import SystemClock
from labd.engine import alert_watch
from labd.engine.alert_watch import AlertWatch
from labd.engine.alerts import AlertBook
from labd.engine.engine import Engine
from labd.engine.job import Caller, Job, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.errors import DeviceTimeout, TaskFailed
from labd.mqtt import MqttDoor
from labd.notify import AlertDelivery, outlets_of
from labd.notify_settings import NotifySettings, OutletSettings

ALICE = Caller("alice", frozenset({"read", "operate"}), "unix")


class AheadClock(SystemClock):
    """The host's clocks, and so much later as a test says."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Hook:
    """A web server that notes what it gets; `answers` are the next statuses, 204 when there are none left."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.refused = 0
        self.answers: list[int] = []
        self.never = ""
        self.status = 204
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._server: TestServer | None = None
        self._port: int | None = None

    async def start(self, tls: Any = None) -> Hook:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._take)
        self._server = TestServer(app, host="127.0.0.1", port=self._port, scheme="https" if tls else "http")
        await self._server.start_server(ssl=tls)
        self._port = self._server.port
        return self

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/hook/s3cret-path"

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        await self.go_on.wait()
        status = self.answers.pop(0) if self.answers else self.status
        if self.never and self.never in body.decode():
            status = 422
        if status >= 300:
            self.refused += 1
            return web.Response(status=status, text="not now", headers={"Location": "http://127.0.0.1:1/elsewhere"})
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.got.append(await request.json())
        return web.Response(status=status)

    def keys(self) -> list[str]:
        return [message["key"] for message in self.got]


class AlertHouse:
    """Everything between a cause and an outlet; may be closed and opened again, or cut off as by a kill."""

    def __init__(self, folder: Path, **outlets: dict[str, Any]) -> None:
        self.folder = folder / "state"
        self.folder.mkdir(exist_ok=True)
        self.clock = AheadClock()
        self.settings = NotifySettings(
            quiet_s=0.0, outlets={name: OutletSettings(**table) for name, table in outlets.items()}
        )
        self.standing: list[dict[str, Any]] = []
        self.door: MqttDoor | None = None
        self.engine: Engine
        self.book: AlertBook
        self.watch: AlertWatch
        self.notifier: AlertDelivery

    async def open(self) -> AlertHouse:
        registry = Registry()
        registry.add(TaskSpec("test.fail", _fail, max_attempts=1))
        registry.add(TaskSpec("test.move", _move, effect="physical"))
        self.engine = Engine(self.folder, registry, self.clock, Random(1))
        await self.engine.open()
        self.book = AlertBook(self.engine.journal, self.clock, self.engine.audit, self.engine.publish)
        await self.book.open(self.engine.events.last_seq)
        await self.engine.start()
        self.watch = AlertWatch(self.book, self.engine.events, self.engine.journal, self.attention, self.clock)
        self.watch.start()
        outlets = outlets_of(self.settings, self.door, self.clock, "0")
        self.notifier = AlertDelivery(
            self.settings, outlets, self.book, self.watch.is_missing, "pi", self.clock, Random(1)
        )
        self.notifier.start()
        return self

    def attention(self) -> list[dict[str, Any]]:
        found = [*self.standing, *self.notifier.attention()]
        if count := self.engine.counts()["interrupted"]:
            found.append({"code": "interrupted", "message": f"{count} physical jobs were cut off", "subject": "jobs"})
        return found

    async def close(self) -> None:
        await self.notifier.stop()
        await self.watch.stop()
        await self.engine.drain(0.0)
        await self.engine.close()

    async def cut_off(self) -> None:
        """As a kill would: nothing more is staged by the watch, what is on disk stays."""
        for task in [*self.watch._tasks, *self.notifier._tasks]:
            task.cancel()
        self.watch._tasks.clear()
        await self.notifier.stop()
        await self.engine.close()

    async def fail(self, times: int = 1, code: str = "task_failed") -> list[Job]:
        jobs = await self.engine.submit([Submission("test.fail", {"code": code})] * times, ALICE)
        return [await self.engine.wait(job.id, 15.0) for job in jobs]


async def _fail(ctx: JobContext, code: str = "task_failed") -> None:
    if code == "device_timeout":
        raise DeviceTimeout("no answer")
    raise TaskFailed("it went wrong")


async def _move(ctx: JobContext) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def hurried() -> AsyncIterator[None]:
    """Looks and tries follow each other within milliseconds."""
    names = [(alert_watch, "LOOK_S", 0.02), (alert_watch, "BREATH_S", 0.002), (notify, "FIRST_WAIT_S", 0.01)]
    names += [(notify, "LONGEST_WAIT_S", 0.05), (notify, "LOOK_AGAIN_S", 0.02)]
    before = [(module, name, getattr(module, name)) for module, name, _ in names]
    for module, name, value in names:
        setattr(module, name, value)
    yield
    for module, name, value in before:
        setattr(module, name, value)


async def turns(house: AlertHouse, looks: int = 3) -> None:
    """Return when the watch has looked so many times more."""
    done = asyncio.Event()
    left = looks
    original = house.watch._attention

    def counted() -> list[dict[str, Any]]:
        nonlocal left
        left -= 1
        if left <= 0:
            done.set()
        return original()

    house.watch._attention = counted
    async with asyncio.timeout(15.0):
        await done.wait()
    house.watch._attention = original

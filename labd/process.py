"""The process around the daemon: signals, the end in good order, and the end at once."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
import sys
from collections.abc import Mapping
from random import Random

import structlog

from labd import telemetry
from labd.app import App, Load
from labd.clock import SystemClock
from labd.errors import LabdError, SettingsFault
from labd.settings import Settings
from labd.systemd import Notifier, listen_sockets
from labd.wing import WingFactory

log = structlog.get_logger()
SWITCH_INTERVAL_S = 0.0002
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(load: Load, wings: Mapping[str, WingFactory]) -> int:
    """Serve until a signal.

    Returns:
        0 after a good end, 1 if the daemon could not serve, 78 (EX_CONFIG) for faulty settings.
    """
    faulthandler.enable()
    tune()
    try:
        settings = load()
    except SettingsFault as fault:
        sys.stderr.write(f"labd: {fault.message}\n")
        return os.EX_CONFIG
    telemetry.configure(level=settings.log_level)
    return asyncio.run(_serve(settings, wings, load))


def tune() -> None:
    """Set the interpreter for a daemon with one busy loop and a few threads that must not wait for it.

    Threads get their turn within 0.2 ms instead of five; the collector looks at the young objects every 20,000
    instead of every 700, which in a loop that makes and forgets thousands of jobs a second is a fifth of its time.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


async def _serve(settings: Settings, wings: Mapping[str, WingFactory], load: Load) -> int:
    notifier = Notifier(os.environ)
    inherited = [found.socket for found in listen_sockets(os.environ)]
    app = App(settings, wings, load, SystemClock(), Random(), notifier, inherited[0] if inherited else None)
    loop, signals = asyncio.get_running_loop(), asyncio.Queue[int]()
    for number in SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        return await _run(app, signals)
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _run(app: App, signals: asyncio.Queue[int]) -> int:
    try:
        await app.start()
    except LabdError as fault:
        sys.stderr.write(f"labd: {fault.message}\n")
        await app.stop()
        return os.EX_CONFIG if isinstance(fault, SettingsFault) else 1
    except BaseException:
        await app.stop()  # the databases' threads would keep the process alive, with nobody at the doors
        raise
    gc.collect()
    gc.freeze()  # what the start made stays; the collector need not walk it again
    while await signals.get() == signal.SIGHUP:
        try:
            await app.reload()
        except LabdError as fault:
            log.error("settings.refused", problem=fault.message)
    ending = asyncio.create_task(_end(app), name="end")
    hurry = asyncio.create_task(_second_signal(signals), name="second signal")
    await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        log.error("daemon.stop_forced", running=app.engine.counts()["running"])
        sys.stderr.flush()
        os._exit(1)  # at once: motors stop by their own watchdog, the next start says what was interrupted
    hurry.cancel()
    await ending
    return 0


async def _end(app: App) -> None:
    await app.drain()
    await app.stop()


async def _second_signal(signals: asyncio.Queue[int]) -> None:
    while await signals.get() == signal.SIGHUP:
        continue

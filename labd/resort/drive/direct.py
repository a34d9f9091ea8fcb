"""Torque off without a daemon: opens the port if nobody holds it, and re-sends until the motor reads back as off.

For `labctl resort stop --direct`, which runs it as a process of its own:
`python -m labd.resort.drive.direct --port PATH --baud-rate 57600 --servo-id 1` prints one JSON object and ends with 0
when the stop is confirmed, 4 when another process holds the port, else 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict

from labd.errors import DeviceBusy, LabdError
from labd.resort.drive.bus import DynamixelLine
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus, Lane
from labd.resort.drive.stopping import StopReport

REPLY_TIMEOUT_S = 0.04


def direct_stop(port: str, baud_rate: int, servo_id: int, timeout_s: float = 5.0) -> StopReport:
    """Torque off, confirmed, by this process alone.

    Args:
        timeout_s: How long to try; after it the answer says what is not known.

    Raises:
        DeviceBusy: Another process, such as a hung daemon, holds the port: cut power.
        DeviceError: The port does not open.
    """
    bus = Bus(DynamixelLine(port, baud_rate, REPLY_TIMEOUT_S, time.monotonic), monotonic=time.monotonic, tries=1)
    bus.start()
    try:
        ticket = bus.stop(servo_id)
        opened: Future[None] = bus.submit(Lane.MOTION, lambda x: bus.open_line(x, servo_id))
        try:
            opened.result(timeout_s)
        except TimeoutError:
            return ticket.report()
        _wait(ticket.confirmed, bus, servo_id, timeout_s)
        return ticket.report()
    finally:
        bus.shutdown()


def _wait(confirmed: Future[StopReport], bus: Bus, servo_id: int, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not confirmed.done() and time.monotonic() < until:
        try:
            confirmed.result(min(0.5, max(0.0, until - time.monotonic())))
        except TimeoutError:
            _reopen(bus, servo_id)


def _reopen(bus: Bus, servo_id: int) -> None:
    def reopen(exchange: Exchange) -> None:
        if not bus.line.is_open:
            bus.open_line(exchange, servo_id)

    try:
        bus.submit(Lane.MOTION, reopen).result(2.0)
    except LabdError:
        pass  # tried again until the time is over


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code as the module says."""
    parser = argparse.ArgumentParser(
        prog="python -m labd.resort.drive.direct", description="torque off without a daemon"
    )
    parser.add_argument("--port", required=True)
    parser.add_argument("--baud-rate", type=int, default=57600)
    parser.add_argument("--servo-id", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS")
    options = parser.parse_args(arguments)
    subject = {"port": options.port, "servo_id": options.servo_id}
    try:
        report = direct_stop(options.port, options.baud_rate, options.servo_id, options.timeout)
    except LabdError as fault:
        held = isinstance(fault, DeviceBusy)
        advice = "; cut power" if held else ""
        answer = StopReport(False, 0, None, fault.message + advice)
        sys.stdout.write(json.dumps({**subject, "code": fault.code, **asdict(answer)}) + "\n")
        return 4 if held else 1
    code = None if report.confirmed else "stop_unconfirmed"
    sys.stdout.write(json.dumps({**subject, "code": code, **asdict(report)}) + "\n")
    return 0 if report.confirmed else 1


if __name__ == "__main__":
    sys.exit(main())

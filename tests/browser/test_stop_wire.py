"""From the click and the chord to the bytes on the bus, as the virtual bus itself has recorded them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Bus, Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen, free_port

WIRE_AT_MOST_S = 0.5  # the browser's own share and a busy machine included; the bench `stop` has labd's


@pytest.fixture
def wired(state_dir: Path) -> Iterator[tuple[Lab, Bus]]:
    """A daemon on a bus that is a process of its own."""
    bus, port = Bus(state_dir), free_port()
    settings = bus.settings(speed=10) + toml("api", listen=f"127.0.0.1:{port}")
    daemon = Daemon(state_dir, settings)
    try:
        bus.start()
        daemon.start().ready()
        yield Lab(daemon, f"http://127.0.0.1:{port}"), bus
    finally:
        daemon.end()
        bus.end()


def test_a_stop_is_on_the_wire_at_once(chromium: Any, wired: tuple[Lab, Bus]) -> None:
    lab, bus = wired
    context = chromium.new_context(base_url=lab.origin)
    try:
        page = Seen(context, lab).log_in("operate").open("/jobs")
        page.locator("#link.live").wait_for()
        for number, press in enumerate((lambda: page.click("#stop"), lambda: page.keyboard.press("Control+."))):
            job = lab.submit("resort.move_to_angle", degrees=170 if number == 0 else 340)
            bus.moving()
            began = time.monotonic()
            press()
            off = eventually(
                lambda began=began: [
                    at for name, value, at in bus.writes(began) if name == "torque_enable" and not value
                ],
                5,
                "torque off on the wire",
            )[0]
            print(f"press {number}: torque off on the wire after {(off - began) * 1000:.1f} ms")
            assert off - began < WIRE_AT_MOST_S
            page.locator("#stop-banner [data-wing=resort][data-state=confirmed]").wait_for()
            assert not bus.servo()["torque"]
            assert lab.daemon.ended(job)["state"] == "cancelled"
            lab.daemon.client.resort_reset("test", "over")
            lab.daemon.ready()
    finally:
        context.close()

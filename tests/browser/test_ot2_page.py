"""The page OT-2: a protocol from the browser to the robot, its deck as it is used, and what the run waits for."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, toml
from tests.browser.conftest import Lab, Seen, free_port
from tests.browser.looks import assert_usable
from tests.fakes import opentrons_env

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
BAD = "<img src=x onerror=alert(1)>"
PROTOCOL = """requirements = {"robotType": "OT-2", "apiLevel": "2.20"}


def add_parameters(p):
    p.add_int(variable_name="cycles", display_name="Cycles", default=1, minimum=1, maximum=9)


def run(ctx):
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "2", label="<img src=x onerror=alert(1)>")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    single = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    for n in range(ctx.params.cycles):
        single.pick_up_tip()
        single.aspirate(100, trough["A1"])
        single.dispense(100, plate.wells()[n])
        single.drop_tip()
    ctx.pause("look")
    single.pick_up_tip()
    single.drop_tip()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A virtual robot with the real opentrons, and a stock on its deck."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    python = str(opentrons_env.once(folder))
    text = toml("api", listen=f"127.0.0.1:{port}") + toml("inventory", simulated=True)
    text += toml("inventory.reservoir.red", slot="3", well="A1", capacity_ul=15000)
    text += toml("ot2", driver="simulated", python=python, preflight="robot", poll_s=0.05, look_s=0.2)
    text += toml("ot2.deck", **{"4": BAD}) + toml("ot2.simulated", time_scale=20)
    lab = Lab(Daemon(folder, text), f"http://127.0.0.1:{port}")
    try:
        lab.daemon.start()
        lab.daemon.labctl.ok("inventory", "init", "red=10ml")
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def _slot(page: Any, name: str) -> Any:
    return page.locator(".slot").filter(has=page.get_by_text(name, exact=True))


def test_a_protocol_goes_from_the_browser_to_its_end(lab: Lab, seen: Seen) -> None:
    page = seen.open("/ot2")
    page.get_by_text("as the settings say; what is used is not known").wait_for()
    assert _slot(page, "4").inner_text().split("\n")[1] == BAD
    assert page.get_by_role("button", name="Run …").is_disabled()
    page.get_by_text("pause, resume: ot2 main: no run of labd is going on").wait_for()

    page.get_by_label("Protocol file").set_input_files([{"name": "p.py", "mimeType": "", "buffer": PROTOCOL.encode()}])
    page.get_by_text("p.py: for OT-2").wait_for()
    page.get_by_role("button", name="Simulate").click()
    page.get_by_text("no fault found").wait_for(timeout=90_000)
    page.get_by_text("as p.py would use it, simulated; nothing of this has happened").wait_for()
    assert "94 of 96 tips left" in _slot(page, "1").inner_text()
    page.get_by_label("Cycles").fill("3")
    page.keyboard.press("Tab")

    page.get_by_role("button", name="Run …").click()
    assert "labctl ot2 run p.py -p cycles=3" in page.inner_text("dialog")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator(".badge.wait", has_text="paused").wait_for(timeout=90_000)
    _slot(page, "1").get_by_text("93 of 96 tips left").wait_for()
    _slot(page, "2").get_by_text("3 of 96 wells used").wait_for()
    _slot(page, "3").get_by_text("A1 red: 9,700 µl").wait_for()
    page.get_by_role("img", name=f"{BAD}: 3 of 96 wells used").wait_for()
    assert page.locator("main img").count() == 0
    page.get_by_label("Last commands").get_by_text("dispense 100 uL C1").wait_for()
    page.get_by_label("Log of the run on main").get_by_text("is paused").wait_for()
    page.get_by_text(re.compile("run a protocol, home: ot2 main: run .* is paused on the robot")).wait_for()
    assert page.get_by_role("button", name="Pause").is_disabled()

    page.get_by_role("button", name="Resume").click()
    page.get_by_text("No run is going on. Below is what the last one did.").wait_for(timeout=30_000)
    (job,) = lab.daemon.client.jobs(task="ot2.run_protocol")["jobs"]
    assert (lab.daemon.ended(job["id"])["state"], job["args"]["parameters"]) == ("succeeded", {"cycles": 3})


def test_a_faulty_protocol_tells_its_line_and_a_stop_is_latched_until_it_is_reset(lab: Lab, seen: Seen) -> None:
    page = seen.open("/ot2")
    broken = 'metadata = {"apiLevel": "2.15"}\n\n\ndef run(ctx):\n    ctx.load_labware("nothing", "1")\n'
    page.get_by_label("Protocol file").set_input_files([{"name": "bad.py", "mimeType": "", "buffer": broken.encode()}])
    page.get_by_role("button", name="Simulate").click()
    page.get_by_text("line 5", exact=True).wait_for(timeout=90_000)
    page.get_by_text("faulty", exact=True).wait_for()

    page.get_by_role("button", name="Stop the run").click()
    page.locator("main .badge.bad", has_text="stopped").wait_for()
    assert page.get_by_role("button", name="Run …").is_disabled()
    page.locator(".refusals", has_text="stopped by token:browser-admin (dashboard)").wait_for()
    page.get_by_role("button", name="Reset the stop …").click()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Why it may move again").fill("looked")
    page.get_by_role("button", name="Reset", exact=True).click()
    page.locator("main .badge.bad", has_text="stopped").wait_for(state="detached")
    page.get_by_role("button", name="Lights on").click()
    page.locator(".badge", has_text="lights on").wait_for()
    home = page.get_by_role("button", name=re.compile("^Home"))
    home.click()
    home.click()
    page.get_by_text(re.compile(r"job \d+: home")).wait_for()


def test_it_fits_and_everybody_can_use_it(lab: Lab, browsers: Callable[..., Seen]) -> None:
    page = browsers("desk", "dark").log_in().open("/ot2")
    page.locator(".deck .slot").first.wait_for()
    page.get_by_text("virtual-main").wait_for()
    assert_usable(page, "ot2")

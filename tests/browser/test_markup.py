"""Markup in every text that a person, a file or a device can set: it is shown as it stands, or refused at the door.

Why the page's own text is searched and not only its elements: a text that is shown nowhere would prove nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labd.errors import LabdError
from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.browser.conftest import Lab, Seen, free_port, settings

FOREIGN = """() => [...document.querySelectorAll("img, script, iframe, object, embed, b > b, [onerror], [onclick]")]
    .filter((node) => !node.closest("head")).map((node) => node.outerHTML.slice(0, 90))"""


def bad(number: int) -> str:
    """Markup that tells which row of the table it is of."""
    return f"<img src=x onerror=alert({number})>\"'`</script>"


def job(task: str, tag: str = "", **args: Any) -> Callable[[Lab], None]:
    """Makes a job and waits until it has ended or asks."""

    def put(lab: Lab) -> None:
        made = lab.client.submit(task, args, **({"tags": [tag]} if tag else {}))["id"]
        ends = ("succeeded", "failed", "waiting")
        eventually(lambda: lab.client.job(made)["state"] in ends, 20, f"the end of {task}")

    return put


def files(number: int, column: int) -> Callable[[Lab], None]:
    """An ingestion of files whose names, columns and description are markup; one of them is broken."""

    def put(lab: Lab) -> None:
        inbox = lab.daemon.folder / "inbox"
        inbox.mkdir()
        name = bad(number).replace("/", "")
        (inbox / "good.jsonl").write_text(json.dumps({"id": 1, bad(column): bad(column)}) + "\n")
        (inbox / f"{name}.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00cut short")
        client = lab.client
        client.create_ingestion({
            "name": "odd", "description": bad(number), "source": {"url": inbox.as_uri(), "settle_s": 0},
            "format": {"type": "jsonl"}, "destination": {"table": "odd"},
        })  # fmt: skip
        client.wait(client.run_ingestion("odd")["id"], 50)

    return put


def stopped(number: int) -> Callable[[Lab], None]:
    """A stop and its reset with names and reasons."""

    def put(lab: Lab) -> None:
        lab.client.resort_stop(reason=bad(number))
        lab.client.resort_reset(bad(number), bad(number))

    return put


def protocol(number: int) -> Callable[[Lab], None]:
    """A protocol file with such a name."""

    def put(lab: Lab) -> None:
        path = lab.daemon.folder / (bad(number).replace("/", "") + ".py")
        path.write_text('requirements = {"robotType": "OT-2", "apiLevel": "2.20"}\n\n\ndef run(ctx):\n    pass\n')
        lab.client.ot2_run(path)

    return put


def folders(customer: int, timestamp: int) -> Callable[[Lab], None]:
    """Snapshots of a customer and of an instant that are none."""

    def put(lab: Lab) -> None:
        base = lab.daemon.folder / "snapshots"
        for name in (f"{bad(customer).replace('/', '')}/7", f"acme/{bad(timestamp).replace('/', '')}"):
            (base / name / "nodes").mkdir(parents=True)
        lab.client.scan_snapshots()

    return put


def seen_alert(number: int) -> Callable[[Lab], None]:
    """What somebody notes of an alert."""

    def put(lab: Lab) -> None:
        client = lab.client
        found = eventually(lambda: client.alerts(), 10, "an alert")
        client.acknowledge_alert(found[0]["key"], bad(number), bad(number))

    return put


@dataclass(frozen=True)
class Row:
    """What is set, how, and where it is seen; nowhere means that labd refuses it."""

    what: str
    number: int
    put: Callable[[Lab], Any]
    places: tuple[str, ...] = ()


YEARLY = "0 0 1 1 *"
PAINT = {"capacity_ul": 15000, "evaporation_rate_ul_per_hour": 0}
ROWS = [
    Row("argument, result and log", 1, job("say", text=bad(1)), ("/jobs", "/jobs/{1}", "/tasks/say?from={1}")),
    Row("tag", 2, job("say", bad(2))),
    Row("progress", 3, job("say", progressed=bad(3)), ("/jobs/{3}",)),
    Row("error", 4, job("broken", text=bad(4)), ("/", "/jobs", "/jobs/{4}")),
    Row("question", 5, job("wonder", question=bad(5), choice="yes"), ("/", "/jobs/{5}")),
    Row("choice", 6, job("wonder", question="Well?", choice=bad(6)), ("/", "/jobs/{6}")),
    Row("task's description", 101, lambda lab: None, ("/tasks", "/tasks/say")),
    Row("task's name", 7, lambda lab: lab.client.submit(bad(7))),
    Row("argument's name", 8, lambda lab: lab.client.submit("say", {bad(8): 1})),
    Row("submission's queue", 9, lambda lab: lab.client.submit("say", {}, queue=bad(9))),
    Row("key of a submission", 10, lambda lab: lab.client.submit("say", {}, idempotency_key=bad(10)), ("/jobs/{10}",)),
    Row("reason of a pause", 11, lambda lab: lab.client.pause_queue("monitoring", bad(11)), ("/", "/queues", "/audit")),
    Row("schedule's name", 12, lambda lab: lab.client.add_schedule({"name": bad(12), "task": "say", "cron": YEARLY})),
    Row(
        "schedule's argument",
        13,
        lambda lab: lab.client.add_schedule({"name": "odd", "task": "say", "args": {"text": bad(13)}, "cron": YEARLY}),
        ("/schedules",),
    ),
    Row(
        "schedule's time zone",
        14,
        lambda lab: lab.client.add_schedule({"name": "zone", "task": "say", "cron": YEARLY, "timezone": bad(14)}),
    ),
    Row("token's name", 15, lambda lab: lab.client.create_token(bad(15), ["read"])),
    Row("reservoir's name", 16, lambda lab: lab.client.add_reservoir({"key": bad(16), "color": "x", **PAINT})),
    Row(
        "reservoir's colour",
        17,
        lambda lab: lab.client.add_reservoir({"key": "odd", "color": bad(17), **PAINT}),
        ("/inventory?reservoir=odd",),
    ),
    Row(
        "reservoir's place",
        18,
        lambda lab: lab.client.add_reservoir({"key": "odd2", "color": "x", "location": bad(18), **PAINT}),
        ("/inventory?reservoir=odd2",),
    ),
    Row(
        "lot, cause and operator",
        19,
        lambda lab: lab.client.restock_inventory({"red": 500}, bad(19), bad(19), bad(19)),
        ("/inventory?reservoir=red", "/audit"),
    ),
    Row("customer", 20, lambda lab: lab.client.simulate_snapshot(bad(20))),
    Row("folder of a customer", 21, folders(21, 22), ("/snapshots",)),
    Row("folder of a timestamp", 22, lambda lab: None, ("/snapshots",)),
    Row("file and description of an ingestion", 23, files(23, 24), ("/ingest/odd",)),
    Row("column of a table", 24, lambda lab: None, ("/ingest/odd",)),
    Row("ingestion's name", 25, lambda lab: lab.client.create_ingestion({"name": bad(25)})),
    Row("protocol's name", 26, protocol(26)),
    Row("name and reason at a stop", 27, stopped(27), ("/audit",)),
    Row("labware's label", 28, lambda lab: None, ("/ot2",)),
    Row("note of an alert", 29, seen_alert(29), ("/health",)),
]
ADDRESSES = (
    "/jobs?text=%3Cimg%20src%3Dx%3E",
    "/nowhere/%3Cimg%20src%3Dx%3E",
    "/tasks/%3Cimg%20src%3Dx%3E",
    "/ingest/%E0%A4%A",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A daemon whose deck and folders are named by somebody odd."""
    folder, port = Path(tempfile.mkdtemp(prefix="labd-")), free_port()
    text = (
        settings(port) + toml("ot2.deck", **{"4": bad(28)}) + toml("ingest", simulated=True, task_retry_delay_seconds=0)
    )
    text += toml("snapshots.dataset", base_path=f"{folder}/snapshots")
    lab = Lab(Daemon(folder, text, test_wing=True), f"http://127.0.0.1:{port}")
    try:
        lab.daemon.start().ready()
        lab.client.initialize_inventory({"red": 9000}, "Ada", True, "a test begins")
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(240)
def test_whatever_is_set_is_text(lab: Lab, seen: Seen) -> None:
    seen.expected = ("404", "400")
    wrong, made = [], {}
    for row in ROWS:
        try:
            row.put(lab)
            refused = ""
        except LabdError as fault:
            refused = fault.code
        if bool(refused) != (not row.places):
            wrong.append(f"{row.what}: {'refused: ' + refused if refused else 'taken'}")
        newest = lab.client.jobs(limit=1)["jobs"]
        made[str(row.number)] = newest[0]["id"] if newest else 0
    page = seen.open()
    dialogs: list[str] = []
    page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
    wanted: dict[str, list[Row]] = {address: [] for address in ADDRESSES}
    for row in ROWS:
        for place in row.places:
            for number, job_id in made.items():
                place = place.replace(f"{{{number}}}", str(job_id))
            wanted.setdefault(place, []).append(row)
    for place, rows in wanted.items():
        page.evaluate("(path) => { location.hash = path; }", place)
        for row in rows:
            try:
                page.wait_for_function(
                    "(mark) => document.querySelector('main').textContent.includes(mark)",
                    arg=f"onerror=alert({row.number})",
                    timeout=5000,
                )
            except Exception:
                wrong.append(f"{row.what}: not shown on {place}")
        if not rows:
            page.wait_for_timeout(300)
        wrong += [f"{place}: {node}" for node in page.evaluate(FOREIGN)]
    assert not wrong, "\n".join(wrong)
    assert not dialogs

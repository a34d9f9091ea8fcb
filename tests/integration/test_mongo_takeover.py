"""`labctl inventory import-mongo`: what a lab kept in MongoDB is where the ledger begins, and stays readable there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from labctl.commands.inventory_mongo import command, told
from labctl.invocation import Invocation
from labd.clock import SystemClock
from labd.engine.engine import Engine
from labd.engine.job import Caller
from labd.engine.registry import Registry
from labd.errors import BadRequest, Conflict, Refused, Unavailable
from labd.inventory.ledger import StockLedger
from labd.inventory.opening import open_book
from labd.inventory.reservoir import MovementFilter
from labd.inventory.settings import InventorySettings
from labd.mongo import MongoOutlet
from labd.settings_types import MongoSettings
from tests.conftest import MONGO_URL
from tests.fakes.api_door import open_door
from tests.fakes.broker import until
from tests.fakes.mongo_lab import SCHEMA
from tests.fakes.mongo_server import GivenServer, MongoTestServer

ANN = Caller("ann", frozenset({"operate"}), "test")
HOURS = 10.0


class House:
    """A daemon with a real ledger and the outlet."""

    def __init__(self, folder: Path, server: MongoTestServer, *, simulated: bool = False) -> None:
        self.folder = folder
        self.server = server
        self.settings = InventorySettings(simulated=simulated)

    async def open(self) -> None:
        clock = SystemClock()
        self.engine = Engine(self.folder, Registry(), clock, Random(1), schemas=[SCHEMA])
        await self.engine.open()
        self.ledger = StockLedger(self.settings, self.engine.journal, clock)
        await open_book(self.ledger.book, self.settings.reservoirs())
        await self.engine.journal.commit()
        settings = MongoSettings(database=self.server.database, poll_s=0.05, reconnect_s=0.05)
        self.outlet = MongoOutlet(settings, self.engine, self.ledger, clock, Random(1), self.server.environ)
        await self.outlet.start()

    async def connected(self) -> None:
        await until(self.outlet.connection.connected.is_set)

    async def close(self) -> None:
        await self.outlet.stop()
        await self.engine.close()

    def levels(self) -> dict[str, tuple[float, float]]:
        return {one.key: (round(one.level_ul), one.evaporation_rate_ul_per_hour) for one in self.ledger.views()}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MongoTestServer]:
    server = await (GivenServer() if MONGO_URL else MongoTestServer(tmp_path / "mongo")).start()
    yield server
    server.kill()


@pytest.fixture
async def house(tmp_path: Path, server: MongoTestServer) -> AsyncIterator[House]:
    house = House(tmp_path / "state", server)
    house.folder.mkdir()
    await house.open()
    await house.connected()
    yield house
    await house.close()


def old_lab(server: MongoTestServer, **changes: Any) -> None:
    """What the OT-2 demo left: levels of some hours ago, and a restock; numbers, dates and words as it wrote them."""
    at = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=HOURS)
    colors = {"R": ("red", "B1", 9000), "Y": ("yellow", "B2", 30.5), "B": ("blue", "B3", 15000)}
    with server.client() as client:
        lab = client[server.database]
        for key, (color, position, volume) in colors.items():
            document = {
                "color_key": key, "color": color, "position": position, "volume_ul": volume, "last_updated": at,
                "evaporation_rate_ul_per_hour": 3.0 if key == "B" else 5.0, **(changes if key == "R" else {}),
            }  # fmt: skip
            lab["inventory"].insert_one(document)
        data = {"R": {"color": "red", "previous_volume_ul": 4000.0, "added_ul": 5000, "new_volume_ul": 9000.0,
                      "evaporation_ul": 1.5}}  # fmt: skip
        entry = {"timestamp": at, "operator": "old hand", "restock_data": data, "operation_type": "manual_restock"}
        lab["restock_log"].insert_one(entry)


async def test_a_labs_collections_become_the_ledger_and_stay_readable(house: House, server: MongoTestServer) -> None:
    old_lab(server)
    looked = await house.outlet.take_over(ANN, dry_run=True)
    assert (looked.refusal, looked.movements, looked.found.problems) == (None, [], [])
    assert house.levels() == {"red": (0, 5.0), "yellow": (0, 5.0), "blue": (0, 5.0)}
    text = told(msgspec.to_builtins(looked))
    assert text.startswith(f"{server_of(house)}: 3 reservoirs, 1 restocks\n")
    assert "red (R): 8.95 ml now; 9.00 ml on" in text
    assert text.endswith("nothing was changed; the same without --dry-run takes it over")
    done = await house.outlet.take_over(ANN, operator="ben")
    assert house.levels() == {"red": (8950, 5.0), "yellow": (0, 5.0), "blue": (14970, 3.0)}
    movements = await house.ledger.history(MovementFilter(kind="restock", oldest_first=True))
    assert [one.id for one in movements] == [one.id for one in done.movements if one.kind == "restock"]
    assert {(one.actor, one.cause) for one in movements} == {("ben", f"taken over from MongoDB {server_of(house)}")}
    assert (await house.ledger.verify())["ok"] is True
    (entry,) = [one for one in (await house.engine.audit_page(None, 100)) if one.action == "inventory.import-mongo"]
    (restock,) = entry.details["restock_log"]
    assert (restock["operator"], restock["restock_data"]["R"]["added_ul"]) == ("old hand", 5000)

    await until(lambda: house.outlet.status()["pending"] == 0 and house.outlet.status()["sent"] > 0)
    with server.client() as client:
        documents = {one["color_key"]: one for one in client[server.database]["inventory"].find({})}
        log = [*client[server.database]["restock_log"].find({}).sort("timestamp")]
    assert {key: round(one["volume_ul"]) for key, one in documents.items()} == {"R": 8950, "Y": 0, "B": 14970}
    assert documents["B"]["evaporation_rate_ul_per_hour"] == 3.0
    assert [(one["operator"], one["operation_type"]) for one in log] == [
        ("old hand", "manual_restock"), ("ben", "initialize"),
    ]  # fmt: skip


async def test_stock_that_is_there_is_replaced_with_reset_and_reason_only(
    house: House, server: MongoTestServer
) -> None:
    old_lab(server)
    house.ledger.initialize({"red": 100.0}, "ann")
    await house.engine.journal.commit()
    await until(lambda: house.outlet.status()["sent"] > 0)
    with server.client() as client:  # another program wrote what is to be taken over
        client[server.database]["inventory"].update_one(
            {"color_key": "R"}, {"$set": {"ledger": "other", "volume_ul": 70}}
        )
    with pytest.raises(Conflict, match="stock already in red"):
        await house.outlet.take_over(ANN)
    looked = await house.outlet.take_over(ANN, dry_run=True)
    assert looked.refusal is not None
    assert "it would be refused: initialize: there is stock already in red" in told(msgspec.to_builtins(looked))
    with pytest.raises(BadRequest, match="reset needs a reason"):
        await house.outlet.take_over(ANN, reset=True)
    await house.outlet.take_over(ANN, reset=True, reason="the lab's numbers are right")
    assert house.levels()["red"] == (70, 5.0)
    assert (await house.ledger.verify())["ok"] is True


async def test_what_labd_wrote_itself_is_nothing_to_take_over(house: House, server: MongoTestServer) -> None:
    house.ledger.initialize({"red": 100.0}, "ann")
    await house.engine.journal.commit()
    await until(lambda: house.outlet.status()["sent"] > 0)
    with pytest.raises(BadRequest, match="inventory R: this labd wrote it itself"):
        await house.outlet.take_over(ANN, reset=True, reason="round and round")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"volume_ul": "full"}, "inventory R: volume_ul is 'full', needs a number"),
        ({"volume_ul": True}, "inventory R: volume_ul is 'True', needs a number"),
        ({"volume_ul": 16000}, "inventory R: 15950 ul; reservoir red holds 15000 ul"),
        ({"last_updated": "today"}, "inventory R: last_updated is str, needs a date"),
        ({"color_key": "G", "color": "green"}, "inventory G: no one reservoir of the ledger is 'green'"),
        ({"color_key": "Y"}, "inventory: two documents are about the reservoir yellow"),
    ],
)
async def test_a_document_that_cannot_be_read_changes_nothing(
    house: House, server: MongoTestServer, changes: dict[str, Any], problem: str
) -> None:
    old_lab(server, **changes)
    with pytest.raises(BadRequest) as caught:
        await house.outlet.take_over(ANN)
    assert problem in caught.value.message
    assert house.levels() == {"red": (0, 5.0), "yellow": (0, 5.0), "blue": (0, 5.0)}


async def test_an_empty_database_and_a_server_that_is_away_are_told(house: House, server: MongoTestServer) -> None:
    with pytest.raises(BadRequest, match="the collection inventory is empty or not there"):
        await house.outlet.take_over(ANN)
    await house.outlet.stop()
    with pytest.raises(Unavailable, match="import-mongo: MongoDB is not connected"):
        await house.outlet.take_over(ANN)


async def test_a_simulated_inventory_takes_no_real_levels(tmp_path: Path, server: MongoTestServer) -> None:
    old_lab(server)
    house = House(tmp_path, server, simulated=True)
    await house.open()
    try:
        await house.connected()
        with pytest.raises(Refused, match="the inventory is simulated"):
            await house.outlet.take_over(ANN)
    finally:
        await house.close()


async def test_the_command_lists_first_then_takes_over(
    house: House, server: MongoTestServer, capsys: pytest.CaptureFixture[str]
) -> None:
    old_lab(server)

    async def labctl(*words: str) -> tuple[int, str]:
        call = Invocation(f"unix:{house.folder / 'labd.sock'}")
        try:
            code = await asyncio.to_thread(command.main, list(words), obj=call, standalone_mode=False)
        finally:
            call.close()
        return code, capsys.readouterr().out

    async with open_door(house.engine, house.folder, of_wings=house.outlet.endpoints()):
        code, text = await labctl("--dry-run")
        assert (code, "blue (B): 14.97 ml now" in text) == (0, True)
        assert house.levels()["blue"] == (0, 5.0)
        code, text = await labctl("--operator", "ben", "--json")
        done = json.loads(text[text.index("{") :])
        assert (code, done["dry_run"], len(done["found"]["levels"])) == (0, False, 3)
        code, text = await labctl("--dry-run")
        assert (code, "it would be refused: " in text) == (4, True)
    assert house.levels()["blue"] == (14970, 3.0)


def server_of(house: House) -> str:
    return f"{house.outlet.connection.address}/{house.server.database}"

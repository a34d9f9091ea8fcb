"""The MongoDB outlet at a real server: everything arrives once and in order, whoever dies or goes away meanwhile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient

from labd.clock import SystemClock
from labd.errors import StoreFull
from labd.mongo_server import MongoFault, MongoServer
from tests.conftest import MONGO_URL
from tests.fakes.broker import until
from tests.fakes.mongo_lab import Lab
from tests.fakes.mongo_server import GivenServer, MongoTestServer

owned = pytest.mark.skipif(bool(MONGO_URL), reason="the server of LABD_TEST_MONGO_URL is not ours to kill")


class SteppedClock(SystemClock):
    """The host's clock with its wall moved by the test."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead_s


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[MongoTestServer]:
    server = await (GivenServer() if MONGO_URL else MongoTestServer(tmp_path / "mongo")).start()
    yield server
    server.kill()


@pytest.fixture
async def lab(tmp_path: Path, server: MongoTestServer) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path, server, SteppedClock(), None)
    await lab.open()
    yield lab
    await lab.close()


@pytest.mark.parametrize("driver", [AsyncIOMotorClient, AsyncMongoClient])
async def test_the_documents_are_those_of_the_labs_readers(
    tmp_path: Path, server: MongoTestServer, driver: Any
) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), driver)
    await lab.open()
    try:
        for key in ("red", "yellow"):
            await lab.reservoir(key)
        at = datetime.now(UTC)
        await lab.act("restock", {"red": 15000, "yellow": 8000}, "ann", initialize=True)
        operation = await lab.act("restock", {"red": 500.5}, "ben")
        await lab.act("consumption", {"red": -120})
        await lab.delivered()
    finally:
        await lab.close()
    red, yellow = lab.seen("inventory", "color_key")
    assert isinstance(red.pop("_id"), ObjectId)
    updated = red.pop("last_updated")
    assert abs((updated.replace(tzinfo=UTC) - at).total_seconds()) < 5  # a lab's program reads dates without a zone
    ledger = red.pop("ledger")
    assert red == {
        "color_key": "R", "color": "red", "position": "B1", "volume_ul": 15380.5, "evaporation_rate_ul_per_hour": 5.0,
        "movement_id": 4,
    }  # fmt: skip
    assert (yellow["color_key"], yellow["volume_ul"], yellow["movement_id"]) == ("Y", 8000.0, 2)
    first, second = lab.seen("restock_log", "timestamp")
    assert (first["operation_type"], sorted(first["restock_data"])) == ("initialize", ["R", "Y"])
    assert isinstance(second.pop("_id"), ObjectId)
    assert isinstance(second.pop("timestamp"), datetime)
    assert second == {
        "operator": "ben", "operation_type": "manual_restock", "ledger": ledger, "movement_id": operation,
        "restock_data": {
            "R": {
                "color": "red", "previous_volume_ul": 15000.0, "added_ul": 500.5, "new_volume_ul": 15500.5,
                "evaporation_ul": 0.0,
            }
        },
    }  # fmt: skip


@owned
async def test_after_two_days_away_everything_arrives_once_and_in_order(lab: Lab, server: MongoTestServer) -> None:
    await lab.reservoir("red")
    await lab.act("restock", {"red": 15000}, initialize=True)
    await lab.delivered()
    server.kill()
    for hour in range(48):
        lab.clock.ahead_s = 3600.0 * hour  # type: ignore[attr-defined]
        await lab.act("consumption", {"red": -10})
        await lab.act("restock", {"red": 5}, f"shift-{hour}")
    await until(lambda: lab.outlet.status()["pending"] == 96)
    (told,) = lab.outlet.attention()
    assert (told["code"], told["subject"]) == ("not_connected", "mongo")
    assert told["message"].endswith("96 movements wait; nothing is lost, it gets everything when it is back")
    await server.start()
    await lab.delivered()
    assert lab.outlet.attention() == []
    (red,) = lab.seen("inventory", "color_key")
    assert (red["volume_ul"], red["movement_id"]) == (15000.0 - 48 * 5, lab.last)
    log = lab.seen("restock_log", "timestamp")
    assert [one["operator"] for one in log] == ["ann", *(f"shift-{hour}" for hour in range(48))]
    assert [one["_id"] for one in log] == sorted(one["_id"] for one in log)


@owned
async def test_what_waits_is_told_at_once_not_at_the_next_try(lab: Lab, server: MongoTestServer) -> None:
    await lab.reservoir("red")
    await lab.act("restock", {"red": 100}, initialize=True)
    await lab.delivered()
    server.kill()
    await lab.act("consumption", {"red": -1})
    await until(lambda: lab.outlet.attention() != [])
    lab.ledger.last_movement = lab.last + 3  # since the outlet looked
    assert lab.outlet.status()["pending"] == 4
    assert "; 4 movements wait; " in lab.outlet.attention()[0]["message"]


@owned
async def test_a_server_that_dies_within_a_batch_has_everything_once_when_it_is_back(
    lab: Lab, server: MongoTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.reservoir("red")
    write, dying = MongoServer.write, [True]

    async def die_halfway(self: MongoServer, writes: Any) -> None:
        if dying and len(writes) > 3:
            await write(self, writes[: len(writes) // 2])
            dying.clear()
            server.kill()
        await write(self, writes)

    monkeypatch.setattr(MongoServer, "write", die_halfway)
    for _ in range(10):
        await lab.act("restock", {"red": 100})
    await until(lambda: not dying and lab.outlet.attention())
    assert lab.outlet.status()["sent"] < lab.last
    await server.start()
    await lab.delivered()
    log = lab.seen("restock_log", "timestamp")
    assert [one["restock_data"]["R"]["new_volume_ul"] for one in log] == [100.0 * n for n in range(1, 11)]


@owned
async def test_a_server_too_slow_for_a_long_batch_gets_shorter_ones(
    lab: Lab, server: MongoTestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same batch again and again would never arrive, and everything behind it neither."""
    await lab.reservoir("red")
    write = MongoServer.write
    lengths: list[int] = []

    async def give_up_on_many(self: MongoServer, writes: Any) -> None:
        lengths.append(len(writes))
        if len(writes) > 12:
            raise MongoFault("away", "timed out")
        await write(self, writes)

    server.kill()
    monkeypatch.setattr(MongoServer, "write", give_up_on_many)
    for _ in range(40):
        await lab.act("restock", {"red": 10})
    await server.start()
    await lab.delivered()
    log = lab.seen("restock_log", "timestamp")
    assert [one["restock_data"]["R"]["new_volume_ul"] for one in log] == [10.0 * n for n in range(1, 41)]
    assert max(lengths) > 12


async def test_a_cursor_that_is_lost_after_a_send_sends_nothing_twice(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lab.reservoir("red")
    store_value = lab.engine.store_value

    async def full(key: str, value: Any) -> None:
        raise StoreFull("no space left on the device")

    monkeypatch.setattr(lab.engine, "store_value", full)  # the daemon dies between the send and the cursor
    for _ in range(5):
        await lab.act("restock", {"red": 100})
    await lab.delivered()
    before = (lab.seen("inventory", "color_key"), lab.seen("restock_log", "timestamp"))
    monkeypatch.setattr(lab.engine, "store_value", store_value)
    await lab.close()
    await lab.open()
    assert lab.outlet.status()["sent"] == 0
    await lab.delivered()
    assert (lab.seen("inventory", "color_key"), lab.seen("restock_log", "timestamp")) == before
    assert len(before[1]) == 5


async def test_an_older_movement_never_replaces_a_newer(lab: Lab, server: MongoTestServer) -> None:
    await lab.reservoir("red")
    await lab.act("restock", {"red": 100})
    await lab.delivered()
    with server.client() as client:
        client[server.database]["inventory"].update_one(
            {"color_key": "R"}, {"$set": {"movement_id": 7, "volume_ul": 7.0}}
        )
    await lab.act("consumption", {"red": -10})
    await lab.delivered()
    (red,) = lab.seen("inventory", "color_key")
    assert (red["movement_id"], red["volume_ul"]) == (7, 7.0)


async def test_a_restored_ledger_tells_its_levels_again(tmp_path: Path, lab: Lab, server: MongoTestServer) -> None:
    await lab.reservoir("red")
    await lab.act("restock", {"red": 1000})
    await lab.delivered()
    with server.client() as client:  # what the ledger sent after the backup from which it was restored
        lost = {"movement_id": 90, "volume_ul": 1.0, "last_updated": datetime.now(UTC)}
        client[server.database]["inventory"].update_one({"color_key": "R"}, {"$set": lost})
    await lab.close()
    await lab.open()
    await until(lambda: lab.seen("inventory", "color_key")[0]["movement_id"] == 1)
    (red,) = lab.seen("inventory", "color_key")
    assert red["volume_ul"] == 1000.0
    await lab.act("consumption", {"red": -10})
    await lab.delivered()
    assert lab.seen("inventory", "color_key")[0]["volume_ul"] == 990.0
    assert len(lab.seen("restock_log", "timestamp")) == 1


async def test_a_level_that_mongodb_lost_is_told_again(lab: Lab, server: MongoTestServer) -> None:
    for key in ("red", "yellow"):
        await lab.reservoir(key)
    await lab.act("restock", {"red": 1000, "yellow": 500})
    await lab.delivered()
    with server.client() as client:
        client[server.database]["inventory"].delete_one({"color_key": "R"})
        older = {"$set": {"movement_id": 0, "volume_ul": 3.0, "ledger": "0000000000"}}
        client[server.database]["inventory"].update_one({"color_key": "Y"}, older)
    await lab.close()
    await lab.open()
    await until(lambda: [one["volume_ul"] for one in lab.seen("inventory", "color_key")] == [1000.0, 500.0])
    assert len(lab.seen("restock_log", "timestamp")) == 1


async def test_a_ledger_restored_before_it_had_sent_all_logs_no_restock_twice(
    lab: Lab, server: MongoTestServer
) -> None:
    await lab.reservoir("red")
    for _ in range(3):
        await lab.act("restock", {"red": 100})
    await lab.delivered()
    with server.client() as client:
        lost = {"movement_id": 9, "volume_ul": 1.0, "last_updated": datetime.now(UTC)}
        client[server.database]["inventory"].update_one({"color_key": "R"}, {"$set": lost})
    await lab.outlet.stop()
    kept = await lab.engine.stored_value("mongo.sent")
    await lab.engine.store_value("mongo.sent", {**kept, "movement": 1})  # as the backup has it
    await lab.engine.close()
    await lab.open()
    await lab.delivered()
    assert len(lab.seen("restock_log", "timestamp")) == 3
    assert [one["volume_ul"] for one in lab.seen("inventory", "color_key")] == [300.0]


async def test_a_lab_that_was_there_before_keeps_its_documents_identity(
    lab: Lab, server: MongoTestServer, capsys: pytest.CaptureFixture[str]
) -> None:
    await lab.outlet.stop()
    with server.client() as client:
        old = {"color_key": "R", "color": "red", "position": "B1", "volume_ul": 5, "last_updated": datetime.now(UTC)}
        number = client[server.database]["inventory"].insert_one(old).inserted_id
    await lab.reservoir("red")
    await lab.act("restock", {"red": 1000})
    await lab.engine.close()
    await lab.open()
    await lab.delivered()
    (red,) = lab.seen("inventory", "color_key")
    assert (red["_id"], red["volume_ul"]) == (number, 1000.0)
    assert "volumes_ul={'R': 5}" in capsys.readouterr().out, "what was replaced is in the log"


async def test_reservations_change_no_level_and_an_operation_is_not_cut(
    tmp_path: Path, server: MongoTestServer
) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), None)
    lab.settings["batch"] = 2
    await lab.open()
    try:
        for key in ("red", "yellow", "blue"):
            await lab.reservoir(key)
        await lab.act("restock", {"red": 1, "yellow": 2, "blue": 3})
        await lab.act("restock", {"red": 4})
        await lab.act("restock", {"yellow": 1, "blue": 1})
        await lab.delivered()
        await lab.act("reservation", {"red": 1})
        await lab.delivered()
    finally:
        await lab.close()
    assert [sorted(one["restock_data"]) for one in lab.seen("restock_log", "timestamp")] == [
        ["B", "R", "Y"], ["R"], ["B", "Y"],
    ]  # fmt: skip
    levels = {one["color_key"]: (one["movement_id"], one["volume_ul"]) for one in lab.seen("inventory", "color_key")}
    assert levels == {"R": (4, 5.0), "Y": (5, 3.0), "B": (6, 4.0)}


async def test_another_rate_is_shown_and_a_removed_reservoir_is_not(lab: Lab) -> None:
    await lab.reservoir("red")
    await lab.act("restock", {"red": 10})
    await lab.delivered()
    await lab.reservoir("red", 3.5)
    await until(lambda: lab.seen("inventory", "color_key")[0]["evaporation_rate_ul_per_hour"] == 3.5)
    await lab.reservoir("red", removed_at=1.0)
    await until(lambda: not lab.seen("inventory", "color_key"))


async def test_simulated_stock_never_stands_among_real(tmp_path: Path, server: MongoTestServer) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), None)
    lab.simulated = True
    await lab.open()
    try:
        await lab.reservoir("red")
        await lab.act("restock", {"red": 10})
        await lab.delivered()
    finally:
        await lab.close()
    assert lab.seen("inventory", "color_key") == lab.seen("restock_log", "timestamp") == []
    assert [one["simulated"] for one in lab.seen("simulated_inventory", "color_key")] == [True]
    assert [one["simulated"] for one in lab.seen("simulated_restock_log", "timestamp")] == [True]


@owned
@pytest.mark.parametrize("driver", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_wrong_password_is_told_and_never_shown(
    tmp_path: Path, server: MongoTestServer, driver: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), driver)
    lab.environ["MONGODB_PASSWORD"] = "wr0ng-w0rd"
    await lab.open()
    try:
        await until(lambda: lab.outlet.attention())
        (told,) = lab.outlet.attention()
        status = lab.outlet.status()
    finally:
        await lab.close()
    assert told["code"] == status["state"] == "not_authenticated"
    assert told["message"] == (
        f"MongoDB 127.0.0.1:{server.port} turned labd away: wrong user name or password, or the wrong authSource in "
        "the address; check mongo.username and mongo.password; 0 movements wait; nothing is lost, it gets everything "
        "when labd is let in"
    )
    assert "wr0ng-w0rd" not in str(status) + capsys.readouterr().out


async def test_the_loop_goes_on_while_a_server_does_not_answer(tmp_path: Path, server: MongoTestServer) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), None)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        lab.environ = {"blinded_connection_string": f"mongodb://127.0.0.1:{silent.getsockname()[1]}/"}
        lab.settings["answer_timeout_s"] = 0.3
        await lab.open()
        loop = asyncio.get_running_loop()
        pauses, before = [], loop.time()

        def looks() -> bool:
            nonlocal before
            pauses.append(loop.time() - before)
            before = loop.time()
            return bool(lab.outlet.attention())

        try:
            await until(looks)
            told = lab.outlet.attention()
        finally:
            await lab.close()
    assert told[0]["code"] == "not_connected"
    assert max(pauses) < 0.25, "shorter than the deadline for an answer"


async def test_what_the_driver_finds_wrong_with_an_address_is_not_repeated(
    tmp_path: Path, server: MongoTestServer
) -> None:
    lab = Lab(tmp_path, server, SteppedClock(), None)
    lab.environ = {"blinded_connection_string": "mongodb://ann:pa/ss-w0rd@127.0.0.1:27017/"}
    await lab.open()
    try:
        await until(lambda: lab.outlet.attention())
        (told,) = lab.outlet.attention()
    finally:
        await lab.close()
    assert (told["code"], "pa/ss-w0rd" in str(told), "ss-w0rd" in str(told)) == ("refused", False, False)

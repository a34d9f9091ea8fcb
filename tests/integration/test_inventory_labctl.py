"""`labctl inventory`, the Python clients and the old scripts against a daemon's inventory over its socket."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from labctl import AsyncClient, Client, inventory_utils, orchestrator, orchestrator_restock
from labctl.__main__ import answer
from labctl.commands import inventory_maintenance
from labd.errors import BadRequest, BadVolume, InsufficientStock
from tests.fakes.inventory_house import InventoryHouse, open_inventory

Labctl = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def house(state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InventoryHouse]:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("LABD_TOKEN", raising=False)
    async with open_inventory(state_dir, {"evaporation_rate_ul_per_hour": 0.0}) as opened:
        monkeypatch.setenv("LABD_HOST", opened.url)
        yield opened


@pytest.fixture
def labctl(house: InventoryHouse, capsys: pytest.CaptureFixture[str]) -> Labctl:
    async def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = await asyncio.to_thread(answer, list(words))
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines(keepends=True) if not line.startswith("20") or "[" not in line]
        return code, "".join(lines), err

    return run


@pytest.fixture
async def stocked(house: InventoryHouse, labctl: Labctl) -> Labctl:
    assert (await labctl("inventory", "init", "15", "15ml", "15000ul"))[0] == 0
    return labctl


async def levels(house: InventoryHouse) -> dict[str, float]:
    return {one["key"]: one["level_ul"] for one in (await house.get(""))["reservoirs"]}


async def movements(house: InventoryHouse) -> list[Any]:
    found: list[Any] = (await house.get("/history?limit=1000"))["movements"]
    return found


async def test_the_seeds_sequence_init_check_restock_check(house: InventoryHouse, labctl: Labctl) -> None:
    code, out, _ = await labctl("inventory", "init", "4", "8", "6")
    assert (code, out.splitlines()[0]) == (0, "red: restock +4.00 ml, 0.0 ul -> 4.00 ml")
    code, out, _ = await labctl("inventory", "check", "5.0")
    assert code == 6 and "Red is LOW (4.00 ml) - restock recommended" in out and "Action required" in out
    code, out, _ = await labctl("inventory", "restock", "10", "5", "8", "lab_tech_1")
    assert code == 0, out
    assert await levels(house) == {"red": 14000.0, "yellow": 13000.0, "blue": 14000.0}
    assert (await labctl("inventory", "check", "2.0"))[0] == 0
    assert {one["actor"] for one in await movements(house)} >= {"lab_tech_1"}


async def test_show_tells_what_is_promised_and_what_is_left(house: InventoryHouse, stocked: Labctl) -> None:
    house.mixer.go_on.clear()
    await stocked("job", "submit", "test.mix", "R=2000")
    code, out, _ = await stocked("inventory", "show")
    assert code == 0
    assert " ".join(out.splitlines()[1].split()) == "red red B1 15.00 ml 2.00 ml 13.00 ml 0 ul/h ok"
    as_json = json.loads((await stocked("--json", "inventory", "show"))[1])
    assert as_json == await house.get("")
    rows = list(csv.DictReader(io.StringIO((await stocked("inventory", "show", "--format", "csv"))[1])))
    assert (rows[0]["key"], rows[0]["level_ul"], rows[0]["reserved_ul"]) == ("red", "15000", "2000")


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["init", "15", "15", "15"], 4, "there is stock already in red, yellow, blue"),
        (["init", "red=15", "--reset"], 2, "reset needs a reason"),
        (["restock", "1", "1", "1"], 2, "operator missing"),
        (["restock", "1", "1", "1", "--operator", "  "], 2, "operator missing"),
        (["restock", "1", "1", "1", "anna", "--operator", "ben"], 2, "name one"),
        (["restock", "red=1", "--operator", "anna"], 2, "red: 1000.0 ul on top of 15000.0 ul is more than its"),
        (["restock", "red=-1", "--operator", "anna"], 2, "red: -1000 ul is negative; give 0 or more"),
        (["restock", "-1", "0", "0", "anna"], 2, "red: -1000 ul is negative"),
        (["restock", "nan", "0", "0", "anna"], 2, "red nan: must be a finite number"),
        (["restock", "pink=1", "--operator", "anna"], 4, "no reservoir is named pink"),
        (["restock", "1l", "0", "0", "--operator", "anna"], 2, "unit 'l' is not known; units are ul and ml"),
        (["restock", "1", "1", "--operator", "anna"], 2, "2 volumes for 3 reservoirs (red yellow blue)"),
        (["measure", "red", "16"], 2, "red: 16000.0 ul is more than its capacity of 15000.0 ul"),
        (["measure", "red", "-1"], 2, "red: -1000 ul is negative"),
        (["adjust", "yellow", "-16", "--reason", "x"], 2, "adjust yellow: -16000 ul is more than the 15000.0 ul"),
        (["adjust", "yellow", "-1"], 2, "--reason"),
        (["lid", "red", "ajar"], 2, "ajar"),
        (["check", "five"], 2, "threshold 'five': not a volume"),
        (["history", "--kind", "theft"], 2, "theft"),
        (["reservoir", "add", "red"], 4, "reservoir red is there already"),
        (["reservoir", "edit", "red"], 2, "say what to change"),
        (["reservoir", "edit", "red", "--capacity", "1"], 2, "holds 15000.0 ul now, more than a capacity of 1000.0 ul"),
        (["reservoir", "edit", "red", "--expires", "soon"], 2, "no date such as"),
        (["reservoir", "remove", "red"], 2, "--reason"),
        (["maintenance"], 2, "nobody can be asked here"),
        (["maintenance", "--yes", "red=1"], 2, "operator missing"),
    ],
)  # fmt: skip
async def test_bad_input_is_refused_with_number_and_limit_and_nothing_changes(
    house: InventoryHouse, stocked: Labctl, words: list[str], code: int, part: str
) -> None:
    before = await movements(house)
    told, out, err = await stocked("inventory", *words)
    assert (told, out) == (code, ""), err
    assert part in err
    assert await movements(house) == before


async def test_named_volumes_a_correction_and_a_measurement(house: InventoryHouse, stocked: Labctl) -> None:
    code, out, _ = await stocked("inventory", "adjust", "yellow", "-0.2", "--reason", "spilled", "--operator", "anna")
    assert (code, out) == (0, "yellow: adjustment -200.0 ul, 15.00 ml -> 14.80 ml\n")
    code, out, _ = await stocked("inventory", "measure", "yellow", "8.4")
    assert code == 0
    assert out.splitlines()[0] == "yellow: adjustment -6.40 ml, 14.80 ml -> 8.40 ml"
    assert "1 measured level(s); a rate needs two of one filling" in out
    assert (await stocked("inventory", "restock", "yellow=500ul", "--operator", "ben"))[0] == 0
    assert await levels(house) == {"red": 15000.0, "yellow": 8900.0, "blue": 15000.0}


async def test_history_as_table_csv_and_json(house: InventoryHouse, stocked: Labctl) -> None:
    await stocked("inventory", "adjust", "red", "-1.5ul", "--reason", "drop")
    code, out, _ = await stocked("inventory", "history", "red", "--kind", "adjustment")
    assert code == 0 and "drop" in out and len(out.splitlines()) == 2
    rows = list(csv.DictReader(io.StringIO((await stocked("inventory", "history", "--csv"))[1])))
    assert (rows[0]["reservoir"], rows[0]["kind"], rows[0]["volume_ul"]) == ("red", "adjustment", "-1.5")
    assert len(rows) == 4
    found = json.loads((await stocked("--json", "inventory", "history", "--limit", "2"))[1])
    assert len(found["movements"]) == 2 and found["next"] == found["movements"][-1]["id"]
    assert "nothing to show" in (await stocked("inventory", "history", "--until", "2h"))[1]


async def test_reservoirs_are_added_changed_and_removed(house: InventoryHouse, stocked: Labctl) -> None:
    words = ["--color", "dark green", "--capacity", "2", "--dead-volume", "50ul", "--slot", "3", "--well", "A1"]
    assert (await stocked("inventory", "reservoir", "add", "green", *words))[0] == 0
    assert (await stocked("inventory", "init", "green=1"))[0] == 0
    code, out, _ = await stocked("inventory", "reservoir", "edit", "green", "--evaporation-rate", "3", "--lot", "L7")
    assert (code, out) == (0, "green: evaporation_rate_ul_per_hour: 3, lot: L7\n")
    code, out, _ = await stocked("inventory", "lid", "green", "closed")
    assert out == "green: lid closed, evaporates 0.5 ul/h from now on\n"
    rows = list(csv.DictReader(io.StringIO((await stocked("inventory", "reservoir", "list", "--format", "csv"))[1])))
    assert (rows[3]["capacity_ul"], rows[3]["dead_volume_ul"], rows[3]["well"]) == ("2000", "50", "A1")
    assert (await stocked("inventory", "reservoir", "remove", "green", "--reason", "empty"))[0] == 0
    assert len((await house.get(""))["reservoirs"]) == 3
    assert "removed: empty" in (await stocked("inventory", "history", "--csv"))[1]


async def test_export_and_import_bring_the_levels_back(house: InventoryHouse, stocked: Labctl, tmp_path: Path) -> None:
    path = tmp_path / "stock.json"
    assert (await stocked("inventory", "export", str(path)))[0] == 0
    assert len(json.loads(path.read_text())["movements"]) == 3
    await stocked("inventory", "adjust", "red", "-5", "--reason", "test")
    code, out, err = await stocked("inventory", "import", str(path), "--operator", "anna", "--reason", "restored")
    assert code == 0, err
    assert "red: restock +15.00 ml" in out
    assert await levels(house) == {"red": 15000.0, "yellow": 15000.0, "blue": 15000.0}
    path.write_text("{}")
    code, _, err = await stocked("inventory", "import", str(path), "--operator", "anna", "--reason", "x")
    assert code == 2 and "is no labd-inventory version 1" in err


async def test_an_export_whose_movements_do_not_add_up_is_not_taken(
    house: InventoryHouse, stocked: Labctl, tmp_path: Path
) -> None:
    path = tmp_path / "stock.json"
    await stocked("inventory", "adjust", "red", "-5", "--reason", "test")
    await stocked("inventory", "export", str(path))
    document = json.loads(path.read_text())
    document["movements"][0]["after_ul"] += 1000.0
    path.write_text(json.dumps(document))
    before = await movements(house)
    code, _, err = await stocked("inventory", "import", str(path), "--operator", "anna", "--reason", "x")
    assert code == 2 and "do not make the level" in err
    assert await movements(house) == before


async def test_forecast_and_verify_are_told_in_sentences(house: InventoryHouse, stocked: Labctl) -> None:
    await stocked("inventory", "reservoir", "edit", "red", "--evaporation-rate", "150")
    code, out, _ = await stocked("inventory", "forecast")
    red = next(line for line in out.splitlines() if line.startswith("red"))
    assert code == 0 and "no queued job" in red and "150 ul/h (assumed)" in red
    assert "not within 10 years" in next(line for line in out.splitlines() if line.startswith("blue"))
    code, out, _ = await stocked("inventory", "verify")
    assert code == 0 and "every balance and every reservation agrees" in out


async def test_maintenance_asks_at_each_step(
    house: InventoryHouse, labctl: Labctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    await labctl("inventory", "init", "2", "15", "6")
    asked: list[str] = []
    answers = iter(["", "", "1", "anna", "y"])

    def ask(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr(inventory_maintenance, "person", lambda: ask)
    code, out, _ = await labctl("inventory", "maintenance")
    assert code == 0, out
    assert asked == [
        "red: add how much? [13.00 ml] ", "yellow: add how much? [0.0 ul] ", "blue: add how much? [0.0 ul] ",
        "operator: ", "restock red 13.00 ml, blue 1.00 ml? [y/N] ",
    ]  # fmt: skip
    assert await levels(house) == {"red": 15000.0, "yellow": 15000.0, "blue": 7000.0}
    assert "every balance and every reservation agrees" in out


async def test_maintenance_of_a_script_fills_what_is_low(house: InventoryHouse, labctl: Labctl) -> None:
    await labctl("inventory", "init", "2", "15", "6")
    code, _, err = await labctl("inventory", "maintenance", "--yes", "--operator", "cron", "--threshold", "5")
    assert code == 0, err
    assert await levels(house) == {"red": 15000.0, "yellow": 15000.0, "blue": 6000.0}


async def test_a_job_that_is_refused_is_taken_with_a_reason(house: InventoryHouse, stocked: Labctl) -> None:
    code, _, err = await stocked("task", "run", "test.mix", "Y=14950")
    assert code == 4 and "Insufficient stock for: yellow (available: 15000.0 ul, required: 14950.0 ul)" in err
    code, out, err = await stocked("task", "run", "test.mix", "Y=14950", "--override", "last one today")
    assert code == 0, err
    code, out, err = await stocked("--json", "job", "submit", "test.mix", "R=14999", "--override", "again")
    assert code == 0, err
    assert json.loads(out)["override"] == "again"
    page = await house.engine.audit_page(None, 10)
    assert any("last one today" in str(one.details) for one in page)


# -- clients


async def test_both_clients_speak_of_the_same_stock(house: InventoryHouse, stocked: Labctl) -> None:
    def blocking() -> tuple[Any, Any, Any]:
        with Client(house.url) as lab:
            lab.measure_reservoir("yellow", 45.0)
            lab.restock_inventory({"yellow": 5.0}, "anna")
            return lab.inventory(), lab.get_current_inventory(), lab.check_stock_availability(red_volume=100)

    one = await asyncio.to_thread(blocking)
    async with AsyncClient(house.url) as lab:
        two = (
            await lab.inventory(),
            await lab.get_current_inventory(),
            await lab.check_stock_availability(red_volume=100),
        )
        assert (await lab.verify_inventory())["ok"]
        assert len((await lab.export_inventory())["movements"]) == 5
        with pytest.raises(InsufficientStock, match=r"yellow \(available: 50.0 ul, required: 150.0 ul\)"):
            await lab.check_stock_availability(yellow_volume=150.0)
        with pytest.raises(BadRequest, match="COLOUR_volume"):
            await lab.check_stock_availability(yellow=150.0)
    assert one == two
    assert one[1]["Y"]["volume_ul"] == 50.0


async def test_the_old_functions_have_their_shapes(house: InventoryHouse) -> None:
    def script() -> dict[str, Any]:
        try:
            with pytest.raises(ValueError, match="Inventory not initialized for color red"):
                inventory_utils.restock_inventory(red_volume=1, operator="anna")
            found: dict[str, Any] = {"first": inventory_utils.initialize_inventory(9000, 9000, 9000, 0.0)}
            found["restock"] = inventory_utils.restock_inventory(red_volume=500, operator="anna")
            found["now"] = inventory_utils.get_current_inventory()
            found["check"] = inventory_utils.check_stock_availability(red_volume=100, yellow_volume=50, blue_volume=80)
            with pytest.raises(ValueError, match="Please restock before proceeding"):
                inventory_utils.check_stock_availability(blue_volume=8900, threshold=200)
            return found
        finally:
            orchestrator.close()

    found = await asyncio.to_thread(script)
    assert {key: one["volume_ul"] for key, one in found["first"].items()} == {"R": 9000.0, "Y": 9000.0, "B": 9000.0}
    assert found["restock"] == {
        "R": {"color": "red", "previous_volume_ul": 9000.0, "added_ul": 500.0, "new_volume_ul": 9500.0,
              "evaporation_ul": 0.0},
    }  # fmt: skip
    assert found["now"]["R"].keys() >= {"color", "position", "volume_ul", "evaporation_loss_ul", "last_updated"}
    assert found["check"]["Y"] == {
        "color": "yellow", "required_ul": 50.0, "available_ul": 9000.0, "is_sufficient": True,
        "remaining_after_use_ul": 8950.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ([], 2, "usage:"),
        (["restock", "10", "5", "8"], 2, "operator missing"),
        (["restock", "1", "5"], 2, "usage:"),
        (["dance"], 2, "usage:"),
        (["restock", "10", "5", "8", "anna"], 4, "Inventory not initialized for color red"),
        (["check", "5.0"], 6, "not initialized"),
    ],
)
async def test_the_old_script_tells_what_is_wrong(
    house: InventoryHouse, capsys: pytest.CaptureFixture[str], words: list[str], code: int, part: str
) -> None:
    assert await asyncio.to_thread(orchestrator_restock.main, words) == code
    out, err = capsys.readouterr()
    assert part in out + err


async def test_the_old_scripts_lines_do_what_they_did(house: InventoryHouse) -> None:
    for words in (["initialize", "1", "2", "3"], ["restock", "4", "4", "4", "anna"], ["check", "4.5"], ["maintenance"]):
        assert await asyncio.to_thread(orchestrator_restock.main, words) == 0, words
    assert await levels(house) == {"red": 15000.0, "yellow": 15000.0, "blue": 15000.0}  # 7 ml take 8, not 10
    moved = await movements(house)
    assert await asyncio.to_thread(orchestrator_restock.main, ["maintenance", "anna"]) == 0  # all full
    assert await movements(house) == moved


@pytest.mark.parametrize("number", [math.nan, math.inf])
async def test_what_is_no_number_is_refused_by_the_client_with_its_name(stocked: Labctl, number: float) -> None:
    def script() -> None:
        with Client() as lab:
            for act in (
                lambda: lab.restock_inventory({"red": number}, "anna"),
                lambda: lab.initialize_inventory({"red": number}),
                lambda: lab.measure_reservoir("red", number),
                lambda: lab.adjust_reservoir("red", number, "spilt"),
                lambda: lab.check_stock_availability(red_volume=number),
            ):
                with pytest.raises(BadVolume, match=f"red {number} ul: must be a finite number, at most 1e.09 ul"):
                    act()
            with pytest.raises(BadVolume, match="threshold"):
                lab.check_stock_availability(number, red_volume=1)

    await asyncio.to_thread(script)


async def test_an_empty_reservoir_is_called_empty(stocked: Labctl) -> None:
    await stocked("inventory", "measure", "red", "0")
    await stocked("inventory", "measure", "yellow", "1")
    lines = (await stocked("inventory", "show"))[1].splitlines()
    assert [line.split()[-1] for line in lines[-3:]] == ["EMPTY", "low", "ok"]


async def test_a_threshold_below_nothing_is_refused(stocked: Labctl) -> None:
    code, _, err = await stocked("inventory", "check", "-1")
    assert (code, err) == (2, "labctl: threshold -1: -1000 ul is negative; give 0 or more\n")

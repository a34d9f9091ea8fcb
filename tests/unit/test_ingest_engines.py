"""What the children of the ingest wing are started with and told, and the schedules that definitions ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.errors import EnvironmentOff, Refused
from labd.ingest.definition import Definition
from labd.ingest.engines import EnginePool
from labd.ingest.record import Facts, Record, State
from labd.ingest.schedules import schedule_name, wanted
from labd.ingest.service import engine_settings
from labd.ingest.settings import IngestSettings
from tests.fakes.clock import FakeClock


def record(name: str = "sales", state: State = State.ACTIVE, **schedule: Any) -> Record:
    definition = msgspec.convert(
        {"name": name, "source": {"url": "file:///in"}, "format": {"type": "csv"}, "destination": {"table": "t"},
         "schedule": schedule or None},
        Definition,
    )  # fmt: skip
    return Record(1, "01234567-" + "0" * 27, definition, state, "api", 0.0, "anna", 0.0, Facts())


def test_spark_is_there_only_where_it_is_set_up() -> None:
    pool = EnginePool(None, engine_settings(IngestSettings(), Path("/state")), FakeClock())
    with pytest.raises(EnvironmentOff, match=r"engine spark is not set up; add `\[ingest.spark\]` to the settings"):
        pool.engine("spark")
    assert pool.engine("arrow", "high").name == "arrow"


def test_the_token_of_spark_is_resolved_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"url": "sc://localhost:15002", "token": "env:SPARK_TOKEN", "connect_timeout_s": 5.0}
    settings = engine_settings(msgspec.convert({"spark": told}, IngestSettings), Path("/state"))["spark"]
    monkeypatch.delenv("SPARK_TOKEN", raising=False)
    with pytest.raises(Refused, match="env:SPARK_TOKEN: the environment variable SPARK_TOKEN is not set"):
        settings.given(1024)
    monkeypatch.setenv("SPARK_TOKEN", "canary")
    assert settings.given(4096)["spark"] == {
        "url": "sc://localhost:15002", "conf": {}, "catalog": "", "memory_mib": 4096, "connect_timeout_s": 5.0,
        "secrets": {"token": "canary"}, "scratch": "/state/ingest/spark",
    }  # fmt: skip
    assert (settings.environment, settings.is_limited) == ("spark", False)


def test_a_schedule_is_as_the_definition_says() -> None:
    spec = wanted(record(cron="0 5 * * *", timezone="Europe/Berlin"), "autoloader-default")
    assert spec is not None
    assert (spec.name, spec.task, spec.cron, spec.timezone, spec.paused, spec.queue) == (
        "ingest.sales", "ingest.run", "0 5 * * *", "Europe/Berlin", False, "autoloader-default",
    )  # fmt: skip
    assert spec.args == {"ingestion": record().id, "trigger": "schedule"}


@pytest.mark.parametrize(
    ("one", "there", "paused"),
    [
        (record(), False, None),
        (record(state=State.PAUSED, interval_s=60), True, True),
        (record(state=State.DELETED, interval_s=60), False, None),
    ],
)
def test_when_there_is_a_schedule(one: Record, there: bool, paused: bool | None) -> None:
    spec = wanted(one, "q")
    assert (spec is not None, None if spec is None else spec.paused) == (there, paused)


def test_a_long_name_ends_in_a_part_of_the_id() -> None:
    names = {schedule_name(record("n" * 63)), schedule_name(record("n" * 62 + "m"))}
    assert names == {"ingest." + "n" * 34 + ".01234567"}
    assert len(schedule_name(record("n" * 43))) == 50

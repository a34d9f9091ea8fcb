"""Long pages go one after the other, and nobody else stands behind them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from labd.engine.engine import SHORT_PAGE
from labd.engine.job import Caller, Submission
from labd.engine.journal import Journal
from labd.engine.views import JobFilter
from tests.fakes.api_door import open_engine

CALLER = Caller("test", frozenset({"operate"}))


async def test_a_look_that_takes_long_holds_up_neither_submissions_nor_single_jobs(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    look_sql = Journal.look_sql

    async def slow(self: Journal, statement: str, parameters: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await look_sql(self, statement, parameters)

    async with open_engine(state_dir) as engine:
        await engine.submit([Submission(task="test.add", args={"a": 1}, delay_s=60)], CALLER)
        monkeypatch.setattr(Journal, "look_sql", slow)
        looking = asyncio.create_task(engine.job_page(JobFilter(limit=1000)))
        await begun.wait()
        async with asyncio.timeout(10):
            item = Submission(task="test.add", args={"a": 1}, idempotency_key="k", delay_s=60)
            job, _ = await engine.submit_one(item, CALLER)
            assert (await engine.job(job.id)).id == job.id
            assert not (await engine.submit_one(item, CALLER))[1]
        go_on.set()
        assert (await looking).jobs == 2


async def test_one_long_page_at_a_time_and_short_ones_beside_it(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0
    short = asyncio.Event()
    look_sql = Journal.look_sql

    async def counted(self: Journal, statement: str, parameters: Any) -> Any:
        nonlocal under_way, most
        if parameters[-1] <= SHORT_PAGE:
            short.set()
            return await look_sql(self, statement, parameters)
        under_way += 1
        most = max(most, under_way)
        await short.wait()  # the short page comes through while the long one is under way
        found = await look_sql(self, statement, parameters)
        under_way -= 1
        return found

    async with open_engine(state_dir) as engine:
        await engine.submit([Submission(task="test.add", args={"a": 1}, delay_s=60)] * 150, CALLER)
        monkeypatch.setattr(Journal, "look_sql", counted)
        async with asyncio.timeout(20):
            asked = [asyncio.create_task(engine.job_page(JobFilter(limit=SHORT_PAGE + 1))) for _ in range(5)]
            given_up = asyncio.create_task(engine.job_page(JobFilter(limit=SHORT_PAGE + 1)))
            await asyncio.sleep(0)
            given_up.cancel()
            assert (await engine.job_page(JobFilter(limit=SHORT_PAGE))).jobs == SHORT_PAGE
            pages = await asyncio.gather(*asked)
            again = await engine.job_page(JobFilter(limit=1000))
    assert [page.jobs for page in pages] == [SHORT_PAGE + 1] * 5
    assert (most, again.jobs) == (1, 150)

"""Long lists that come all at once: each commit takes few of them, and each is answered whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.engine import journal as journal_module
from labd.engine.group import Batch
from labd.engine.job import Caller, Submission
from tests.fakes.api_door import RawClient, open_door, open_engine

CALLER = Caller("test", frozenset({"operate"}))


def a_list(name: str, count: int) -> list[Submission]:
    return [Submission(task="test.add", args={"a": n}, idempotency_key=f"{name}-{n}", delay_s=60) for n in range(count)]


async def test_lists_that_come_together_do_not_make_one_long_commit(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    make = Batch.__init__

    def noted(self: Batch, group: journal_module.Group, *more: object) -> None:
        sizes.append(len(group.admitted))
        make(self, group, *more)  # type: ignore[arg-type]

    async with open_engine(state_dir) as engine:
        monkeypatch.setattr(Batch, "__init__", noted)
        lists = [engine.submit(a_list(f"list{n}", 600), CALLER) for n in range(8)]
        async with asyncio.timeout(60):
            found, single = await asyncio.gather(
                asyncio.gather(*lists), engine.submit_one(Submission(task="test.add", args={"a": 1}), CALLER)
            )
        assert [len(jobs) for jobs in found] == [600] * 8
        assert len({job.id for jobs in found for job in jobs} | {single[0].id}) == 8 * 600 + 1
        assert sum(sizes) == 8 * 600 + 1
        assert max(sizes) < journal_module.LONG_GROUP + 600


async def test_the_answer_to_a_list_has_all_jobs_in_its_order(state_dir: Path) -> None:
    async with (
        open_engine(state_dir) as engine,
        open_door(engine, state_dir),
        await RawClient.unix(state_dir / "labd.sock") as client,
    ):
        items = [{"task": "test.add", "args": {"a": n}, "idempotency_key": f"k{n}", "delay_s": 60} for n in range(95)]
        answer = await client.ask("POST", "/api/v1/jobs", items)
        jobs = answer.json["jobs"]
        assert [job["idempotency_key"] for job in jobs] == [item["idempotency_key"] for item in items]
        read = await client.ask("GET", f"/api/v1/jobs/{jobs[-1]['id']}")
        assert read.json == jobs[-1]
        assert (await client.ask("POST", "/api/v1/jobs", [])).json == {"jobs": []}

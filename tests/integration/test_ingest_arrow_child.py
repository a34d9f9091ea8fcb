"""The arrow engine as the daemon runs it: lent to a worker with a memory limit, asked through the port."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from labd.clock import SystemClock
from labd.engine.worker_start import Worker
from labd.ingest.engine_child import MODULE, EngineChild
from labd.ingest.engines import ChildEngine, EngineSettings, Lane
from labd.ingest.port import Batch, FileRef
from labd.settings_types import EnvironmentSettings
from tests.fakes.ingest_rig import IngestRig
from tests.fakes.task_house import task_house

MEMORY_MIB = 512


async def test_a_batch_is_loaded_by_a_worker_of_limited_memory(state_dir: Path) -> None:
    rig = IngestRig(state_dir)
    rig.write("a.jsonl", [{"id": 1}, {"id": 2}])
    rig.write("large.jsonl", "".join(f'{{"id": {number}, "text": "{number:0200}"}}\n' for number in range(200_000)))
    settings = EnvironmentSettings(grace_s=0.3, start_timeout_s=15.0)
    async with task_house(state_dir, environments={"default": settings}) as house:

        async def start() -> Worker:
            return await house.workers.worker_of("default", MODULE, MEMORY_MIB)

        lane = Lane(lambda: EngineChild("arrow", start, SystemClock(), 60.0), 1)
        memory = {"default": MEMORY_MIB, "high": MEMORY_MIB}
        engine = ChildEngine(EngineSettings(name="arrow", environment="default", memory_mib=memory), lane)
        try:
            batch = msgspec.convert(rig.batch([], memory_mib=MEMORY_MIB), Batch)
            page = await engine.list_files(batch.source, None, None, 100)
            files = tuple(FileRef(*entry) for entry in json.loads(page.entries))
            batch = msgspec.structs.replace(batch, files=files)
            report = await engine.load(batch)
            assert (report.state, report.rows) == ("committed", 200_002)
            assert (await engine.load(batch)).state == "already"
            assert await engine.find_tokens(batch.table, [batch.token, "another"]) == [batch.token]
            facts = await engine.describe(batch.table)
            assert facts is not None and facts.rows == 200_002
            rows = await engine.query(batch.table, ["id"], "id == 199999", 10)
            assert rows.rows == [[199_999]]
            sample = await engine.sample(batch, 2)
            assert sample.rows[0][0] == 1
            assert await engine.drop(batch.table) is True
        finally:
            await lane.close()

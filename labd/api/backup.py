"""`GET /api/v1/backup`: consistent copies of the databases and the files of tasks as a tar stream, while labd serves.

Why copies first and a stream after: the copy is one moment of the databases, however slowly the client reads; and only
the copies, never a tar file beside them, take space on the state folder's disk.
"""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from labd.api.endpoint import Call, Endpoint
from labd.api.options import ApiOptions
from labd.clock import Clock
from labd.engine import catalog_copy, work_folder

if TYPE_CHECKING:
    from labd.engine.engine import Engine

PREFIX = ".backup-"
CHUNK_BYTES = 256 * 1024
BLOCK = tarfile.BLOCKSIZE


def endpoints(engine: Engine, options: ApiOptions, clock: Clock) -> list[Endpoint]:
    """The route of the backup."""
    one_at_a_time = asyncio.Lock()

    async def backup(call: Call) -> web.StreamResponse:
        async with one_at_a_time:
            folder = await asyncio.to_thread(_fresh_folder, options.state_dir)
            try:
                engine.audit(call.caller, "backup.send", "store", {})
                files = await engine.backup(folder)
                if (options.state_dir / work_folder.FOLDER).is_dir():
                    target = folder / work_folder.NAME
                    files.append(await asyncio.to_thread(work_folder.pack, options.state_dir, target))
                catalog = await asyncio.to_thread(catalog_copy.copy, options.state_dir, folder)
                if catalog is not None:  # after the journal: what is newer in it is found out by its tokens
                    files.append(catalog)
                answer = web.StreamResponse(
                    headers={
                        "Content-Type": "application/x-tar",
                        "Cache-Control": "no-store",
                        "Content-Disposition": 'attachment; filename="labd-backup.tar"',
                    }
                )
                answer.content_length = _tar_size([path.stat().st_size for path in files])
                await answer.prepare(call.request)
                await _send(answer, files, clock.wall())
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, True)
            await answer.write(bytes(2 * BLOCK))
            await answer.write_eof()
            return answer

    return [
        Endpoint(
            "GET",
            "/api/v1/backup",
            backup,
            "admin",
            "Both databases and the files of tasks as a tar stream",
            tags=("daemon",),
            errors=("store_full",),
            streams=True,
        )
    ]


def _fresh_folder(state_dir: Path) -> Path:
    """A new folder; what a killed daemon left of an earlier one goes away."""
    for leftover in state_dir.glob(PREFIX + "*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _tar_size(sizes: list[int]) -> int:
    return sum(BLOCK + _padded(size) for size in sizes) + 2 * BLOCK


async def _send(answer: web.StreamResponse, files: list[Path], now: float) -> None:
    for path in files:
        entry = tarfile.TarInfo(path.name)
        entry.size = path.stat().st_size
        entry.mode = 0o600
        entry.mtime = int(now)
        # GNU format: a size beyond 8 GiB still takes one header block, which the announced length relies on.
        await answer.write(entry.tobuf(tarfile.GNU_FORMAT))
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await answer.write(chunk)
        await answer.write(bytes(_padded(entry.size) - entry.size))

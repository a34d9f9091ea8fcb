"""What the system tells of changes under a folder, so that a scan need not wait for its interval.

Why the interval scan stays: network file systems tell nothing, and a kernel has only so many watches
(`fs.inotify.max_user_watches`). An event only hurries the next scan; one that is lost costs an interval, no snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

QUIET_MS = 100
LONGEST_MS = 2000  # a copy that goes on for hours makes a scan this often, not one for each file
MISSING = "file_events needs watchfiles, `pip install 'labd[graph]'`"


async def hurry(base: Path, told: Callable[[], object]) -> None:
    """Call `told` after every burst of changes under a folder; until it is cancelled, or the folder is gone.

    Raises:
        OSError: The folder is away, or the system has no more watches.
        ModuleNotFoundError: The library is not there.
    """
    from watchfiles import awatch

    over = asyncio.Event()
    try:
        async for _ in awatch(base, stop_event=over, debounce=LONGEST_MS, step=QUIET_MS, watch_filter=None):
            told()
            if not await asyncio.to_thread(base.is_dir):
                raise FileNotFoundError(2, "No such file or directory", str(base))
    finally:
        over.set()

"""The preloaded library between a program and its disk and clock: built here, steered by a page that both map.

What is below `root` is logged as it is written and synced (see `power_model`); the same page makes it slow, read-only
or faulty, and moves the wall clock. All processes that inherit LD_PRELOAD obey at once.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

from tests.chaos.port import Unable

SOURCES = Path(__file__).parent / "shim"
MAGIC = 0x6C616264
SYNC, WRITE, NAME = 1, 2, 4
ANYTHING = SYNC | WRITE | NAME
_HEAD = struct.Struct("<8I3q2I")  # struct page of shim.h up to `match`
_PLACES = {
    name: (kind, offset)
    for name, kind, offset in (
        ("logging", "<I", 4), ("read_only", "<I", 8), ("delay_ops", "<I", 12), ("delay_min_ms", "<I", 16),
        ("delay_max_ms", "<I", 20), ("error_ops", "<I", 24), ("error_number", "<I", 28), ("error_in", "<q", 32),
        ("error_count", "<q", 40), ("clock_step_ns", "<q", 48), ("errors_made", "<I", 56), ("delays_made", "<I", 60),
    )
}  # fmt: skip
_MATCH = _HEAD.size
_ROOT, _LOG, _BOOT = (_MATCH + 256 + 1024 * number for number in range(3))
SIZE_BYTES = _BOOT + 1024
COMPILE_S = 60.0


def build() -> Path:
    """The library, compiled once for these sources.

    Raises:
        Unable: No compiler, or this is no Linux.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not Path("/proc/self/fd").is_dir():
        raise Unable("no C compiler here (gcc and libc6-dev), which the shim below the daemon is built with")
    sources = sorted(SOURCES.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labd-tests"
    library = cache / f"shim-{digest}.so"
    if not library.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = cache / f"shim-{digest}.{os.getpid()}"
        flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"]
        code = [str(source) for source in sources if source.suffix == ".c"]
        done = subprocess.run(
            [compiler, *flags, "-o", str(fresh), *code, "-ldl", "-lpthread"],
            capture_output=True, text=True, timeout=COMPILE_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Unable(f"{compiler} did not build the shim: {done.stderr[-800:]}")
        fresh.rename(library)
    return library


class Shim:
    """One library over one folder.

    Args:
        place: Where the library, its page and its log go; outside `root`, which need not be there yet.
        root: What is watched and harmed.
    """

    def __init__(self, place: Path, root: Path) -> None:
        self.place, self.root = place.resolve(), root.resolve()
        self.log = self.place / "writes.log"
        self.library = self.place / "shim.so"
        page = self.place / "shim.so.page"
        self.place.mkdir(parents=True, exist_ok=True)
        if not self.library.exists():
            shutil.copy(build(), self.library)
        if not page.exists():
            blank = bytearray(SIZE_BYTES)
            struct.pack_into("<I", blank, 0, MAGIC)
            page.write_bytes(blank)
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), SIZE_BYTES)
        self._text(_ROOT, self.root)
        self._text(_LOG, self.log)

    @property
    def environment(self) -> dict[str, str]:
        """What a program is started with."""
        return {"LD_PRELOAD": str(self.library)}

    def _set(self, **values: int) -> None:
        for name, value in values.items():
            kind, offset = _PLACES[name]
            struct.pack_into(kind, self._page, offset, value)

    def _get(self, name: str) -> int:
        kind, offset = _PLACES[name]
        found: int = struct.unpack_from(kind, self._page, offset)[0]
        return found

    def record(self, on: bool) -> None:
        """Log what is written and synced, for `power_model`."""
        self._set(logging=int(on))

    def slow(self, least_ms: int, most_ms: int, ops: int = SYNC | WRITE, match: str = "") -> None:
        """Each of these operations waits; where `match` is given, only on paths with it."""
        self._match(match)
        self._set(delay_min_ms=least_ms, delay_max_ms=most_ms, delay_ops=ops)

    def fail(self, ops: int, after: int, count: int, number: int = errno.EIO, match: str = "") -> None:
        """Let `after` of these operations pass; then so many in a row fail."""
        self._match(match)
        self._set(error_number=number, error_in=after + 1, error_count=count, errors_made=0)
        self._set(error_ops=ops)

    def read_only(self, on: bool) -> None:
        """As after `errors=remount-ro`: what is open stays open, and takes nothing."""
        self._set(read_only=int(on))

    def step_clock(self, by_s: float) -> None:
        """So far from the true wall clock."""
        self._set(clock_step_ns=round(by_s * 1e9))

    def boot_anew(self, boot_id: str) -> None:
        """Whoever reads the kernel's boot id reads this from now on: a host that lost power has another."""
        file = self.place / "boot_id"
        file.write_text(boot_id + "\n")
        self._text(_BOOT, file)

    def well(self) -> None:
        """No harm any more; the log goes on if it was on, the clock stays where it is."""
        self._set(delay_ops=0, error_ops=0, read_only=0)

    @property
    def errors_made(self) -> int:
        """Operations that were failed since `fail`."""
        return self._get("errors_made")

    @property
    def delays_made(self) -> int:
        """Operations that were slowed, ever."""
        return self._get("delays_made")

    def _match(self, text: str) -> None:
        self._page[_MATCH : _MATCH + 256] = text.encode().ljust(256, b"\0")

    def _text(self, offset: int, path: Path) -> None:
        self._page[offset : offset + 1024] = os.fsencode(path).ljust(1024, b"\0")

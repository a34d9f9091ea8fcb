"""Sources of files, as the child's other modules use them.

    source = open_source(access)                 # access: dict of port.SourceAccess; kept open for the next call
    page = source.pages(cursor, after, count)    # dict of port.Page, see below
    fetched = source.fetch(file, folder)         # file: dict with path, version, size_bytes (of port.FileRef)
    for fetched in fetch_all(source, files, folder): ...   # the same in order, some fetched ahead
    url = url_of(access, path)                   # of one file, for `_labd_file`

`pages` answers `{"entries": '[["a/b.csv", "version", 12, 1700000000.5], ...]', "count": 1, "cursor": "..." or None,
"unsettled": 0, "denied": [["prefix", "reason"], ...]}`. Entries are in the order of their paths (bytes of UTF-8, also
across folders; Azure: in its own), so that `after` leaves out all paths up to it. A page may have fewer entries than
`count`, even none, and a cursor all the same: a search is answered every 5 s. It ends where the cursor is None.

`fetch` answers a `Fetched` with `state`:
    ready       exactly the listed version: `sha256` (hex), `size_bytes`, and either `data` (bytes, up to 8 MiB) or
                `file` (a local path; `is_copy` where it lies in `folder`). `open()` gives a binary stream either way.
                After the last byte was read ask `check()` (a state): a local file is read where it lies, and may have
                changed meanwhile.
    changed     another version is there now; the next listing shows it
    vanished    nothing is there any more
    denied      it may not be read; `message` says why
`close()` removes the copy. Refusals (`source_refused`, `source_unreachable`) concern the source as a whole.

Options and secrets of each kind of store: `remote_stores.KNOWN`; of local folders: `links`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from labd.ingest.remote_files import Fetched, Json
from labd.ingest.remote_local import LocalSource

OPEN_SOURCES = 4
FETCHED_AHEAD = 8
_open: dict[str, Source] = {}


class Source(Protocol):
    """A place where files arrive; one call of `pages` at a time, `fetch` from any thread."""

    def pages(self, cursor: str | None, after: str | None, count: int) -> Json:
        """The next page of the listing."""
        ...

    def fetch(self, file: Json, folder: str) -> Fetched:
        """The listed version of one file; large ones from afar are put into `folder`."""
        ...


def open_source(
    access: Json, now: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
) -> Source:
    """The source of this access, with its connections and the listing under way from the last call.

    Raises:
        Refusal: source_refused; the URL, the pattern or the options cannot be used.
    """
    key = json.dumps(access, sort_keys=True, default=list)
    source = _open.pop(key, None)
    if source is None:
        source = _make(access, now, clock)
        while len(_open) >= OPEN_SOURCES:
            del _open[next(iter(_open))]
    _open[key] = source
    return source


def _make(access: Json, now: Callable[[], float], clock: Callable[[], float]) -> Source:
    if access["url"].startswith("file://"):
        return LocalSource(access, now, clock)
    from labd.ingest.remote_objects import ObjectSource

    return ObjectSource(access, clock)


def fetch_all(source: Source, files: Sequence[Json], folder: str, ahead: int = FETCHED_AHEAD) -> Iterator[Fetched]:
    """All files in their order, while up to `ahead` of the next ones are fetched; what is not taken is removed."""
    if isinstance(source, LocalSource):
        for file in files:
            yield source.fetch(file, folder)
        return
    with ThreadPoolExecutor(ahead, thread_name_prefix="fetch") as threads:
        waiting = [threads.submit(source.fetch, file, folder) for file in files[:ahead]]
        rest = iter(files[ahead:])
        try:
            while waiting:
                fetched = waiting.pop(0).result()
                following = next(rest, None)
                if following is not None:
                    waiting.append(threads.submit(source.fetch, following, folder))
                yield fetched
        finally:
            for one in waiting:
                if not one.cancel() and one.exception() is None:
                    one.result().close()


def url_of(access: Json, path: str) -> str:
    """The address of one file."""
    return f"{access['url'].rstrip('/')}/{path}"

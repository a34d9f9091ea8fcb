"""A bucket or container as a source: its listing, and reads that are held to the listed version."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore as typed_obstore
from obstore.exceptions import PreconditionError

from labd.ingest import remote_stores
from labd.ingest.remote_files import SMALL_BYTES, Fetched, Pages
from labd.ingest.remote_object_walk import FAULTS, ObjectLister, version_of

obstore: Any = typed_obstore  # its types want literal dictionaries


class ObjectSource:
    """The objects below one prefix.

    Args:
        access: As `port.SourceAccess`.
        clock: Seconds that never go back.
    """

    def __init__(self, access: dict[str, Any], clock: Callable[[], float]) -> None:
        self.place = remote_stores.place_of(access["url"])
        self._lister = ObjectLister(self.place, access)
        self._reader = remote_stores.open_store(self.place, access, for_reading=True)
        self._pages = Pages(self._lister.begin, clock)

    def pages(self, cursor: str | None, after: str | None, count: int) -> dict[str, Any]:
        """The next page; see `labd.ingest.remote_sources`."""
        return self._pages.page(cursor, after, count)

    def _full(self, path: str) -> str:
        return f"{self.place.prefix}/{path}" if self.place.prefix else path

    def fetch(self, file: dict[str, Any], folder: str) -> Fetched:
        """The listed version of an object; see `labd.ingest.remote_sources`."""
        path, version, size = file["path"], file["version"], int(file["size_bytes"])
        digest = hashlib.sha256()
        is_small = size <= SMALL_BYTES
        try:
            if is_small:
                data = b"".join(bytes(piece) for piece in self._pieces(path, version, size))
                digest.update(data)
                return Fetched(path, version, "ready", size, digest.hexdigest(), data=data)
            with tempfile.NamedTemporaryFile(dir=folder, suffix=Path(path).suffix, delete=False) as copy:
                fetched = Fetched(path, version, "ready", size, file=copy.name, is_copy=True)
                try:
                    for piece in self._pieces(path, version, size):
                        digest.update(piece)
                        copy.write(piece)
                except BaseException:
                    fetched.close()
                    raise
            fetched.sha256 = digest.hexdigest()
            return fetched
        except FileNotFoundError:
            return Fetched(path, version, "vanished", message="it is no longer there")
        except FAULTS as fault:
            if isinstance(fault, (_Changed, PreconditionError)):
                if self._lister.is_gone(self._full(path)):  # Azure answers 412, not 404, where there is nothing
                    return Fetched(path, version, "vanished", message="it is no longer there")
                return Fetched(path, version, "changed", message="another version was there than the listed one")
            if remote_stores.is_about_request(fault):
                text = f"it cannot be read ({remote_stores.words_of(fault)}); mend that, then `labctl ingest retry`"
                return Fetched(path, version, "denied", message=text)
            raise remote_stores.refusal_of(self.place, fault) from None

    def _pieces(self, path: str, version: str, size: int) -> Iterator[Any]:
        """The content in ranges, each a request of its own that is held to the version.

        Why ranges: a request has a time limit that counts until its last byte, and a broken one is asked for again.
        """
        done = 0
        while done < size or done == 0:
            options: dict[str, Any] = {}
            if size > SMALL_BYTES:
                options["range"] = (done, min(done + SMALL_BYTES, size))
            if _is_tag(version):
                options["if_match"] = f'"{version}"'
            answer = obstore.get(self._reader, self._full(path), options=options)
            if version_of(answer.meta) != version or answer.meta["size"] != size:
                raise _Changed
            piece = answer.bytes()
            yield piece
            done += len(piece)
            if size == 0 or len(piece) == 0:
                break
        if done != size:
            raise _Changed


class _Changed(ValueError):
    """Another version answered."""


def _is_tag(version: str) -> bool:
    return "@" not in version and not version.startswith("W/")

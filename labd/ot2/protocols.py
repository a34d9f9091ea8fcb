"""Protocol files that were given to labd, kept by their SHA-256.

Why not in the job: a job names what it ran by hash, and a list of jobs stays small. What was run can be looked up
byte by byte as long as it is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd.errors import InvalidArguments, NotFound, StoreFull
from labd.ot2.robot import Document

KEPT = 1000
FILE_NAME = re.compile(r"[\w][\w .()+-]{0,99}")
PROTOCOL_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredProtocol:
    """A protocol and its labware; the protocol is the first document."""

    protocol_id: str
    documents: tuple[Document, ...]

    @property
    def name(self) -> str:
        """File name of the protocol."""
        return self.documents[0].name


class ProtocolShelf:
    """The files, one folder for a host; the oldest go when there are more than `KEPT`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, documents: Sequence[Document]) -> StoredProtocol:
        """Keep a protocol with its labware; the same again is the same.

        Raises:
            InvalidArguments: A name that is none of a plain file, or neither Python nor JSON.
            StoreFull: It is not on disk.
        """
        for number, document in enumerate(documents):
            ends = (".py", ".json") if number == 0 else (".json",)
            if not FILE_NAME.fullmatch(document.name) or not document.name.lower().endswith(ends):
                what = "a protocol" if number == 0 else "labware"
                text = f"{document.name!r} is no file name of {what}: a plain name that ends in {' or '.join(ends)}"
                raise InvalidArguments(text, name=document.name)
        if len({document.name for document in documents}) < len(documents):
            raise InvalidArguments("two of the files have the same name; rename one", names=[d.name for d in documents])
        content = json.dumps([[one.name, one.text] for one in documents], ensure_ascii=False).encode()
        protocol_id = hashlib.sha256(content).hexdigest()
        path = self._path(protocol_id)
        if not path.exists():
            try:
                self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
                _write(path, content)
                self._prune()
            except OSError as fault:
                text = f"ot2: {documents[0].name} cannot be kept in {self._folder}: {fault.strerror or fault}"
                raise StoreFull(f"{text}; make room or look at the disk, then give it again") from fault
        return StoredProtocol(protocol_id, tuple(documents))

    def get(self, protocol_id: str) -> StoredProtocol:
        """A protocol by its hash.

        Raises:
            NotFound: It was never given, or is gone.
        """
        path = self._path(protocol_id)
        try:
            raw: list[Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            text = (
                f"ot2: no protocol is kept under {protocol_id[:12]}...; give its file again with `labctl ot2 run FILE`"
            )
            raise NotFound(text, protocol=protocol_id) from None
        with contextlib.suppress(OSError):  # a disk that takes no more still gives
            os.utime(path)
        return StoredProtocol(protocol_id, tuple(Document(name, text) for name, text in raw))

    def _path(self, protocol_id: str) -> Path:
        if not PROTOCOL_ID.fullmatch(protocol_id):
            raise NotFound(
                f"ot2: {protocol_id!r} is no hash of a protocol (64 hexadecimal digits)", protocol=protocol_id
            )
        return self._folder / f"{protocol_id}.json"

    def _prune(self) -> None:
        """Let the longest unused go."""
        kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - KEPT)]:
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, also after a power cut."""
    draft = path.with_suffix(f".{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)  # it would hold what little space there is
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

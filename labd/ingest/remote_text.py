"""The text of a file: unpacked, decoded to UTF-8, and read in parts.

Why it is read with `pread` and never mapped: somebody who cuts a mapped file short ends the process that reads it.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa

from labd.ingest.remote_faults import FileFault

MIB = 2**20
SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd", ".bz2": "bz2", ".lz4": "lz4"}
MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bz2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PAR1", "parquet"),
    (b"Obj\x01", "avro"),
    (b"PK\x03\x04", "zip"),
    (b"%PDF-", "pdf"),
)
_PART = 4 * MIB
# What unpacks to more than both is taken for a trap that is to fill the disk: 1 MiB of gzip may hold 1 GiB, of zstd
# far more, and what people pack comes to 10 or 30 times its size.
UNPACKED_BYTES = 256 * MIB
UNPACKED_TIMES = 250


class Bytes(Protocol):
    """What a file's content gives."""

    name: str
    path: str | None
    data: bytes | None


class Text:
    """Bytes that can be read from any place: in memory, of a file, or spooled."""

    def __init__(self, name: str, *, data: bytes | None = None, file: IO[bytes] | None = None) -> None:
        self.name = name
        self._data = data
        self._file = file
        self.size = len(data) if data is not None else os.fstat(file.fileno()).st_size if file else 0
        self.start = 3 if self.read(0, 3) == codecs.BOM_UTF8 else 0

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`."""
        if self._data is not None:
            return self._data if offset == 0 and count >= self.size else self._data[offset : offset + count]
        if self._file is None:
            return b""
        parts, handle = [], self._file.fileno()
        while count > 0 and (part := os.pread(handle, count, offset)):
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the file back, if there is one."""
        if self._file is not None:
            self._file.close()


def compression_of(name: str, told: str) -> str:
    """The compression of a file by its name, unless `told` is another than `auto`."""
    return SUFFIXES.get(Path(name).suffix.lower(), "none") if told == "auto" else told


def open_raw(content: Bytes) -> IO[bytes]:
    """The bytes as they are."""
    if content.data is not None or content.path is None:
        return pa.BufferReader(content.data or b"")  # type: ignore[no-any-return]
    return Path(content.path).open("rb")


def open_text(content: Bytes, compression: str, encoding: str, scratch: Path, memory_bytes: int) -> Text:
    """Unpack and decode a file.

    Raises:
        FileFault: `truncated`, `wrong_format` or `wrong_encoding`.
    """
    compression = compression_of(content.name, compression)
    try:
        encoding = codecs.lookup(encoding).name
    except LookupError as fault:
        raise FileFault("unsupported", f"the encoding {encoding!r} is unknown; use a name such as latin-1") from fault
    if compression == "none" and encoding == "utf-8":
        if content.data is not None:
            text = Text(content.name, data=content.data)
        else:
            text = Text(content.name, file=Path(content.path or "").open("rb"))  # noqa: SIM115 closed by Text
    else:
        text = _spooled(content, compression, encoding, scratch, memory_bytes)
    try:
        _refuse_magic(text.read(0, 8))
    except FileFault:
        text.close()
        raise
    return text


def _refuse_magic(head: bytes) -> None:
    for magic, name in MAGIC:
        if head.startswith(magic):
            raise FileFault("wrong_format", f"the content is {name}, not text; check the format and its compression")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise FileFault("wrong_encoding", "the file starts like UTF-16; set the format's encoding to utf-16", "byte 0")
    if b"\0" in head:
        raise FileFault("wrong_format", "the file starts with zero bytes, it is no text", f"byte {head.index(0)}")


def _spooled(content: Bytes, compression: str, encoding: str, scratch: Path, memory_bytes: int) -> Text:
    """Unpacked into memory, or into a file where it grows beyond `memory_bytes`."""
    spool = tempfile.SpooledTemporaryFile(max_size=memory_bytes, dir=str(scratch))  # noqa: SIM115 closed by Text
    try:
        unpack(content, compression, spool, codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None)
        spool.seek(0)
        if getattr(spool, "_rolled", False):
            spool.fileno()
            return Text(content.name, file=spool)
        data = spool.read()
        spool.close()
        return Text(content.name, data=data)
    except BaseException:
        spool.close()
        raise


def unpack(content: Bytes, compression: str, into: Any, decoder: codecs.IncrementalDecoder | None = None) -> None:
    """Write what a file holds into another.

    Raises:
        FileFault: `truncated`, `wrong_format`, `wrong_encoding` or `too_large`.
    """
    written = 0
    packed = len(content.data) if content.data is not None else os.stat(content.path or "").st_size  # noqa: PTH116
    limit = max(UNPACKED_BYTES, UNPACKED_TIMES * packed)
    with open_raw(content) as raw:
        stream = raw if compression == "none" else pa.CompressedInputStream(raw, compression)
        while True:
            try:
                part = stream.read(_PART)
            except OSError as fault:
                raise _unpacking_fault(fault, compression, written) from fault
            written += len(part)
            if compression != "none" and written > limit:
                text = f"{packed} bytes of {compression} unpack to over {limit}; unpack it yourself if that is meant"
                raise FileFault("too_large", text)
            if decoder is None:
                into.write(part)
            else:
                try:
                    into.write(decoder.decode(part, final=not part).encode())
                except UnicodeError as fault:
                    place = f"byte {written - len(part) + getattr(fault, 'start', 0)}"
                    raise FileFault(
                        "wrong_encoding", f"the file is not in the encoding that was told: {fault}", place
                    ) from fault
            if not part:
                return


def _unpacking_fault(fault: OSError, compression: str, written: int) -> FileFault:
    text, place = str(fault), f"byte {written} of what it holds" if written else ""
    if "runcated" in text:
        return FileFault("truncated", f"{compression}: the file ends too early; put the whole of it there", place)
    if written == 0 and "data" not in text.lower():
        return FileFault(
            "wrong_format", f"the file is not {compression}; check its name and format.compression", "byte 0"
        )
    return FileFault("malformed", f"{compression}: {text}", place)

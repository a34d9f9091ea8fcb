"""Small files that would fill a disk, the memory or a day: refused by name, and soon."""

from __future__ import annotations

import io
import resource
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest

from labd.ingest import remote_avro, remote_text
from labd.ingest.remote_formats import Content, FileFault, open_file

MIB = 2**20
FORMAT = {"line_limit_bytes": MIB}
PATIENCE_S = 30.0  # of processor time, on a busy host


def gzipped(size_mib: int, unit: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    block = unit * (MIB // len(unit))
    return b"".join([packer.compress(block) for _ in range(size_mib)]) + packer.flush()


def avro_of(size_mib: int, codec: str) -> bytes:
    sink = io.BytesIO()
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "bytes"}]}
    fastavro.writer(sink, schema, [{"a": b"\0" * (size_mib * MIB)}], codec=codec)
    return sink.getvalue()


def avro_zstd(size_mib: int) -> bytes:
    """As fastavro has it, but for the packing, which takes another package there."""
    plain = avro_of(size_mib, "null").replace(b"avro.codec\x08null", b"avro.codec\x12zstandard")
    sync = plain[-16:]
    head = plain[: plain.index(sync) + 16]
    body = plain[len(head) : -16]
    at = 1
    while body[at - 1] & 0x80:
        at += 1
    start = at + 1
    while body[start - 1] & 0x80:
        start += 1
    packed = pa.Codec("zstd").compress(body[start:]).to_pybytes()
    size, number = len(packed) << 1, b""
    while size > 0x7F:
        number += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return head + body[:at] + number + bytes((size,)) + packed + sync


def read(data: bytes, kind: str, name: str, scratch: Path) -> int:
    rows = 0
    with open_file(
        Content(name, data=data), FORMAT | {"type": kind}, {}, None, scratch=scratch, memory_bytes=4 * MIB
    ) as opened:
        for batch in opened.batches(opened.columns):
            rows += batch.num_rows
    return rows


BOMBS: dict[str, tuple[str, str, Callable[[], bytes], str, str]] = {
    "blank lines": ("jsonl", "x.gz", lambda: gzipped(10, b"\n"), "too_large", "unpack to over"),
    "one line": ("jsonl", "x.gz", lambda: gzipped(4, b"x"), "line_too_long", "the limit is"),
    "one row of commas": ("csv", "x.gz", lambda: gzipped(2, b","), "too_large", "columns"),
    "a document of brackets": ("json", "x.gz", lambda: gzipped(10, b"["), "too_large", "unpack to over"),
    "packed parquet": ("parquet", "x.gz", lambda: gzipped(10, b"\0"), "too_large", "unpack to over"),
    "avro, deflate": ("avro", "x", lambda: avro_of(10, "deflate"), "malformed", "block unpacks to more than"),
    "avro, bzip2": ("avro", "x", lambda: avro_of(10, "bzip2"), "malformed", "block unpacks to more than"),
    "avro, xz": ("avro", "x", lambda: avro_of(10, "xz"), "malformed", "block unpacks to more than"),
    "avro, zstandard": ("avro", "x", lambda: avro_zstd(10), "malformed", "block unpacks to more than"),
    "columns without end": (
        "jsonl", "x", lambda: b"{" + b",".join(b'"c%d":1' % n for n in range(10_500)) + b"}", "too_large", "columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_name_before_it_goes_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(remote_text, "UNPACKED_BYTES", 8 * MIB)
    monkeypatch.setattr(remote_avro, "_UNPACKED", 8 * MIB)
    kind, file, make, code, text = BOMBS[name]
    data = make()
    assert len(data) < 2 * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(FileFault) as refused:
        read(data, kind, file, tmp_path)
    assert text in str(refused.value)
    assert refused.value.code == code
    assert time.process_time() - started < PATIENCE_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
    assert list(tmp_path.iterdir()) == []


def test_what_is_packed_well_and_is_no_bomb_is_read(tmp_path: Path) -> None:
    data = gzipped(8, b'{"a":1}\n')
    assert 8 * MIB / len(data) > 200
    assert read(data, "jsonl", "x.gz", tmp_path) == 8 * (MIB // 8)
    assert read(avro_of(2, "deflate"), "avro", "x", tmp_path) == 1
    assert read(avro_zstd(2), "avro", "x", tmp_path) == 1

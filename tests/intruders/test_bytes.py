"""Every target of the fuzzer under hypothesis, in the small: what was found once stays found."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from labd.resort.virtual.frames import InstructionPacket, StatusPacket, encode_fast_status
from tests.intruders.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 25  # the long form is the fuzzer's


def sample_parquet() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), sink)
    return sink.getvalue()


def no_text_parquet() -> bytes:
    """Found by the fuzzer: its text is no UTF-8, which pyarrow neither sees when it reads nor when it writes."""
    sink = io.BytesIO()
    ends = pa.array([0, 2], pa.int32()).buffers()[1]
    text = pa.StringArray.from_buffers(1, ends, pa.py_buffer(b"\xff\xfe"))
    parquet.write_table(pa.table({"a": [1], "b": text}), sink)
    return sink.getvalue()


def sample_avro(codec: str = "null") -> bytes:
    sink = io.BytesIO()
    fields = [{"name": "a", "type": ["null", "long"]}, {"name": "b", "type": {"type": "array", "items": "string"}}]
    fastavro.writer(sink, {"type": "record", "name": "r", "fields": fields}, [{"a": 1, "b": ["x"]}] * 3, codec=codec)
    return sink.getvalue()


def sample_tar(name: str = "labd.db", kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.size = kind, 4 if kind == tarfile.REGTYPE else 0
        for key, value in more.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(b"abcd"))
    return sink.getvalue()


BROKEN_DEFLATE = base64.b64decode(  # found by atheris: zlib.error is no ValueError
    "T2JqAQQUYXZyby5jb2RlYw5kZWZsYXRlFmF2cm8uc2NoZW1hogJ7InR5cGUiOiAicmVjb3JkIiwgIm5hbWUiOiAiciIsICJmaWVs"
    "ZHMiOiBbeyJuYW1lIjogImEiLCAidHlwZSI6IFsibnVsbCIsICJsb25nIl19LCB7Im5hbWUiOiAiYiIsICJ0eXBlIjogeyJ0eXBl"
    "IjogImFycmF5IiwgIml0ZW1zIjogInN0cmluZyJ9fV19AGJEw2qRTI0GGmNiYmKqYGBCIgEMTgFiRA9Jv82UOBgPpcNq"
)
NEGATIVE_ROWS = zlib.decompress(base64.b64decode(  # found by the fuzzer: a footer that claims fewer rows than none
    "eNp1UstOwkAUnRlKg0pMJZnJTNJFF9pgAiomEGNwcasVjKjAxjUSgpgoWFSIH+Bn+QXGlUs37v0I77RFqsazuPfkPs88mtAucYM7fLWBjuQIsa"
    "qURGCx54TnuChg3uImN22ZmWVkBo0g+URg1ryygmbB0QmD0hTD7kW+3OAsXJK2dN309+QKy9OppNNEc4pSRrihqmUizXH3snfd4QYG1pikHcKz"
    "2l+skYatlaSVrQousbG+TExLSfrBmTDECxVv1K27mR/aZ1L/PYDSyghn+gYsdNV1U7nEwKTekZ3tuAh3BOLRfWLuO02e4s8EwRTOYHqdeMY2Ny"
    "NeGVG2zEK7fXa+G51QftJNjUofEC2IcAwwAa8PhwB92A9T4HkAJ5rsAxyFgbmHiEYstKdXOHQHiX/oh8FwiA/f0NQbxPV+vLoFXkvPrwF04WCe"
    "jNA6CovqkJQa05ofi5jo/rrWHcNLVO4R6Yw6we19767YHY2KnSAYTpyHXjAeDG+c7crG1kZJFfCB9Rsv4dU18dN+Afa6cCY="
))  # fmt: skip
SEEDS: dict[str, list[bytes]] = {
    "frames": [
        InstructionPacket(1, 3, bytes.fromhex("740000020000")).encode(),
        StatusPacket(1, 0x81, b"\xff\xff\xfd\x00").encode() * 2,
        encode_fast_status([StatusPacket(1, 0, b"ab"), StatusPacket(2, 0, b"cd")]),
        b"\xff\xff\xfd\x00\x01\xff\xff" + b"\0" * 80,
        b"\xff\xff\xfd" * 40,
    ],
    "mqtt": [
        b'{"a": 1}\n12345678',
        b'{"a": "\\ud800"}\nx/y',
        b'{"a": ' + b"[" * 5000,
        b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}\n",
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}\n\xff",
        b"[1]\n+/#",
    ],
    "settings": [
        b"a = " + b"[" * 5000,
        b"a." * 3000 + b"b = 1",
        b"a = " + b"9" * 5000,
        b'state_dir = "a\\u0000b"',
        b'[api]\nlisten = "\\u0000:99999999999999999999"',
        b'[mqtt]\nbroker = "b"\npassword = "hunter2"\nusers = { a = ["operate"] }',
        b'[resort]\ndevice = "\\u0000"\nhotels = []',
        b'[schedule.x]\ntask = "t"\ncron = "* * * * *"\ntimezone = "../../etc/passwd"',
        b'[env."../x"]\npython = "/bin/sh"',
        b'[tasks]\nfolders = ["\\u0000"]',
        b'["\\u0000"]\na = 1',
        b"x = 1e999\ny = nan",
        b"[ingest.spark.conf]\nx = { y = 1 }",
        b"[snapshots]\nneo4j = 5",
        b"[notify.x]\nurl = 5",
        b"[queue.standard]\npriority = 99999999999999999999999",
        b"\xff\xfe",
    ],
    "variables": [
        b"API__LISTEN=x\nAPI=5",
        b"QUEUE__HIGH_PRIORITY__CONCURRENCY=9" + b"9" * 5000,
        b"__=1\nA__=2\n__B=3",
        b"STATE_DIR__X=1\nSTATE_DIR=/x",
        b"LOG_LEVEL=\xff\xfe",
        b"RESORT__HOTELS=" + b"," * 5000,
        b"A" + b"__A" * 3000 + b"=1",
    ],
    "worker": [b'{"type":"done","result":' + b"[" * 3000, b'{"type":"log","text":"\\ud800"}', b"[]", b"{}"],
    "cypher": [
        b"a`b",
        b"\\u0060",
        b"acme-eu",
        b"MATCH (n) RETURN n",
        b"MATCH (n) /* */ DELETE n",
        b"../x",
        b"SYSTEM",
        b"a\0",
    ],
    "archive": [
        sample_tar(),
        sample_tar("../x"),
        sample_tar("/etc/x"),
        sample_tar("work/../../x"),
        sample_tar("labd.db", tarfile.SYMTYPE, linkname="/etc/passwd"),
        sample_tar("labd.db", tarfile.LNKTYPE, linkname="x.tar"),
        sample_tar("labd.db", tarfile.FIFOTYPE),
        sample_tar("labd.db", tarfile.CHRTYPE),
        sample_tar("."),
        sample_tar("work/a\0b", pax_headers={"path": "work/a\0b"}),
        sample_tar("work", pax_headers={"size": "x"}),
        sample_tar("labd.db", pax_headers={"GNU.sparse.size": "9\n"}),
        sample_tar("labd.db", pax_headers={"GNU.sparse.realsize": "x"}),
        sample_tar("work/x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.realsize": "99999999999"}),
        b"\0" * 1024,
        b"",
    ],
    "snapshot": [sample_parquet(), NEGATIVE_ROWS, b"PAR1" + b"\0" * 20 + b"PAR1", b""],
    "jsonl": [
        b'{"a": 1}\n{"a": "x"}\n',
        gzip.compress(b'{"a": 1}\n'),
        b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}",
        b"\0",
    ],
    "json": [b'[{"a": 1}]', b"[" * 100_000, b'{"a": 1e999}'],
    "csv": [b'a,b\n1,"x\ny"\n2\n', b'"' * 999, b"a,a\n1,2"],
    "parquet": [sample_parquet(), no_text_parquet()],
    "avro": [sample_avro(), sample_avro("deflate"), sample_avro("xz"), bz2.compress(b"x"), BROKEN_DEFLATE],
}


def bent(seed: bytes) -> st.SearchStrategy[bytes]:
    """The seed with a few bytes changed, cut, or doubled."""
    places = st.integers(0, max(0, len(seed) - 1))
    change = st.tuples(places, st.binary(max_size=4), st.integers(0, 8))

    def apply(changes: list[tuple[int, bytes, int]]) -> bytes:
        data = seed
        for place, put, gone in changes:
            data = data[:place] + put + data[place + gone :]
        return data

    return st.lists(change, min_size=1, max_size=4).map(apply)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_holds(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_claim(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), *(bent(seed) for seed in SEEDS[name] if len(seed) < 20_000)))
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


def test_the_fuzzer_runs_by_hand_and_says_how_much_it_did() -> None:
    words = [sys.executable, "-m", "tests.intruders.fuzz", "frames", "--seconds", "0.5", "--plain"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["inputs"] > 100

"""What hostile bytes are fed to, and what must hold whatever they are; one list for the suite and the fuzzer.

A target takes bytes and raises only where a claim is broken: every refusal that is a proper answer is taken here.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from labd.archive import unpack as unpack_archive
from labd.engine import storable, work_folder
from labd.engine.work_folder import WorkFault
from labd.engine.worker_messages import decode as decode_worker
from labd.errors import BadRequest, GraphRefused, LabdError, SettingsFault
from labd.ingest.remote_formats import Content, FileFault, open_file
from labd.mqtt_messages import Delivery, Topics, arguments_of, correlation_of, key_of
from labd.resort.virtual.frames import FrameReader, ParsingError, decode, stuff, unstuff
from labd.settings import load
from labd.snapshots import names
from labd.snapshots.embedded_statement import reading
from labd.snapshots.parquet import Unreadable, footer
from labd.worker.channel import ChannelFault, Lines

LIMIT_BYTES = 1 << 16
TOPICS = Topics("labd", "bench")


@functools.cache
def _folder() -> Path:
    """Gone with the process."""
    keeper = tempfile.TemporaryDirectory(prefix="labd-fuzz-")
    _KEPT.append(keeper)
    return Path(keeper.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def frames(data: bytes) -> None:
    """A stream in any pieces: no byte is lost count of, a packet is one or says why not, memory stays small."""
    reader = FrameReader()
    whole = FrameReader()
    found: list[bytes] = []
    for start in range(0, len(data), 7):
        found += reader.feed(data[start : start + 7])
    assert found == whole.feed(data), "pieces make other packets than the whole"
    left = whole.abandon()
    assert whole.dropped_bytes + sum(map(len, found)) == len(data)
    assert left <= 7 + 1024
    for frame in [*found, data]:
        try:
            packet = decode(frame)
        except ParsingError as fault:
            assert fault.data == frame
        else:
            assert decode(packet.encode()) == packet
    assert unstuff(stuff(data)) == data


def mqtt(data: bytes) -> None:
    """Payload, correlation data and topics of a request."""
    payload, _, rest = data.partition(b"\n")
    try:
        arguments = arguments_of(payload, LIMIT_BYTES)
    except LabdError as fault:
        assert fault.code in ("bad_request", "body_too_large")
        json.dumps(fault.details)
    else:
        assert isinstance(arguments, dict)
        problem = storable.fault_of(arguments)
        assert problem is None or len(problem) < 500
    text = rest.decode("utf-8", "surrogateescape" if len(rest) % 2 else "replace")
    for topic in (text, f"labd/bench/cmd/{text}", f"labd/bench/reply/{text}"):
        try:
            user, task = TOPICS.asked(topic)
        except BadRequest:
            pass
        else:
            assert user and task and "/" not in user
            assert TOPICS.command(user, task) == topic
        try:
            where = TOPICS.answer_topic("alice", topic)
        except BadRequest:
            continue
        assert where == "labd/bench/reply/alice" or where.startswith("labd/bench/reply/alice/")
        assert not set(where) & set("+#\0\n")
    try:
        correlation = correlation_of(Delivery("", correlation=rest))
    except BadRequest:
        assert not 0 < len(rest) <= 64
    else:
        assert key_of("alice", correlation).isprintable()


def settings(data: bytes) -> None:
    """A settings file: read, or refused with every fault by file and key."""
    path = _folder() / "labd.toml"
    path.write_bytes(data)
    _load(path, {})


def variables(data: bytes) -> None:
    """`LABD_` variables: any name and value that an environment may hold."""
    environ = {}
    for line in data.replace(b"\0", b"").decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.partition("=")
        environ[f"LABD_{name}"] = value
    path = _folder() / "empty.toml"
    path.touch()
    _load(path, environ)


def _load(path: Path, environ: dict[str, str]) -> None:
    from labd.app import factories

    try:
        found = load(factories(), config=path, environ=environ, home=_folder(), uid=1000)
    except SettingsFault as fault:
        assert fault.details["problems"]
        for problem in fault.details["problems"]:
            assert problem.count(": ") >= 1
        fault.message.encode("utf-8", "surrogateescape")
    else:
        assert found.socket.name


def worker(data: bytes) -> None:
    """A line of a worker, and what the child makes of the daemon's."""
    try:
        decode_worker(data)
    except ValueError:
        pass
    try:
        for message in Lines().feed(data + b"\n"):
            assert isinstance(message, dict)
    except ChannelFault as fault:
        assert len(str(fault)) < 2000


def cypher(data: bytes) -> None:
    """Names that become identifiers, databases, aliases and folders; queries that must only read."""
    text = data.decode("utf-8", "replace")
    try:
        quoted = names.quote(text)
    except GraphRefused:
        pass
    else:
        assert quoted[0] == quoted[-1] == "`"
        assert "`" not in quoted[1:-1].replace("``", "")
    if names.customer_fault(text) is None:
        alias = names.alias_of(text)
        assert names.is_alias(alias)
        assert "/" not in text and not text.startswith(".")
        assert names.check_database(names.database_of(text, "17"))
        assert names.belongs(names.database_of(text, "17"), text)
    try:
        reading(text)
    except LabdError as fault:
        assert fault.code


def archive(data: bytes) -> None:
    """A tar that claims to be a backup: unpacked into its folder and nowhere else, or refused."""
    with tempfile.TemporaryDirectory(dir=_folder()) as held:
        folder = Path(held)
        source, inside = folder / "x.tar", folder / "in"
        source.write_bytes(data)
        inside.mkdir()
        try:
            unpack_archive(source, inside, with_manifest=True)
        except BadRequest:
            pass
        (folder / "work").mkdir()
        try:
            work_folder.unpack(source, folder / "work")
        except WorkFault:
            pass
        assert sorted(path.name for path in folder.iterdir()) == ["in", "work", "x.tar"]
        assert all(not path.is_symlink() for path in folder.rglob("*"))


def _formats(kind: str, names_of: tuple[str, ...]) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        for name in names_of:
            try:
                with open_file(
                    Content(name, data=data), {"type": kind}, {}, None, scratch=_folder(), memory_bytes=1 << 20
                ) as opened:
                    for batch in opened.batches(opened.columns):
                        batch.validate(full=True)
            except FileFault as fault:
                assert fault.code and len(fault.message) < 2000

    target.__doc__ = f"A file of {kind}, plain or packed: rows that hold, or a fault of that file."
    return target


def snapshot(data: bytes) -> None:
    """The footer of a parquet file of a snapshot."""
    path = _folder() / "x.parquet"
    path.write_bytes(data)
    try:
        found = footer(path)
    except Unreadable as fault:
        assert str(fault)
    else:
        assert found.rows >= 0


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "mqtt": mqtt,
    "settings": settings,
    "variables": variables,
    "worker": worker,
    "cypher": cypher,
    "archive": archive,
    "snapshot": snapshot,
    "jsonl": _formats("jsonl", ("x", "x.gz")),
    "json": _formats("json", ("x",)),
    "csv": _formats("csv", ("x", "x.zst")),
    "parquet": _formats("parquet", ("x",)),
    "avro": _formats("avro", ("x",)),
}

"""The archive format: a tar of `manifest.json`, `labd.db`, `logbook.db`, and where they are `work.tar`, `catalog.db`.

Why a manifest with hashes: a truncated or mixed-up archive must be refused before the first file of a state folder is
touched. Members are taken by their known names only, so a path inside an archive has no say where anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

import msgspec

import labd
from labd.clock import Clock, iso
from labd.engine import catalog_copy, sql, work_folder
from labd.engine.work_folder import WorkFault, WorkSummary
from labd.errors import BadRequest, StoreFull, StoreNewer

DATABASES = {"labd.db": "journal", "logbook.db": "logbook"}
MANIFEST = "manifest.json"
FORMAT = 1
CHUNK_BYTES = 1 << 20
MANIFEST_LIMIT_BYTES = 1 << 16
_SCHEMA_AT = 60  # "User Version Number" of the SQLite file header, sqlite.org/fileformat2.html section 1.3


class Member(msgspec.Struct, frozen=True):
    """One database in an archive."""

    sha256: str
    size_bytes: int
    schema: int


class WorkMember(msgspec.Struct, frozen=True):
    """The files of tasks in an archive, and how many were left out."""

    sha256: str
    size_bytes: int
    content: WorkSummary


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive says of itself."""

    format: int
    labd_version: str
    created_at: str
    host: str
    databases: dict[str, Member]
    work: WorkMember | None = None
    catalog: Member | None = None


def write_archive(members: list[Path], target: Path, clock: Clock) -> Manifest:
    """Write `target` in one step, mode 0600: it is the old file or the whole new one, never a part."""
    work = next((path for path in members if path.name == work_folder.NAME), None)
    catalog = next((path for path in members if path.name == catalog_copy.NAME), None)
    manifest = Manifest(
        format=FORMAT,
        labd_version=labd.__version__,
        created_at=iso(clock.wall()) or "",
        host=socket.gethostname(),
        databases={path.name: describe(path) for path in members if path not in (work, catalog)},
        work=None if work is None else _describe_work(work),
        catalog=None if catalog is None else describe(catalog),
    )
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    with beside(target) as folder:
        draft = folder / "archive.tar"
        with draft.open("xb") as file:
            draft.chmod(0o600)
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                _add(archive, MANIFEST, len(text), BytesIO(text), clock)
                for path in members:
                    with path.open("rb") as content:
                        _add(archive, path.name, path.stat().st_size, content, clock)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        sync_folder(target.parent)
    return manifest


def read_archive(source: Path, into: Path) -> Manifest:
    """Unpack an archive into an existing folder and check every byte of it.

    Raises:
        BadRequest: Not an archive of labd, not whole, or changed since.
        StoreNewer: Its databases have a schema that this labd does not know.
    """
    members = {path.name: path for path in unpack(source, into, with_manifest=True)}
    try:
        manifest = msgspec.json.decode(members.pop(MANIFEST).read_bytes(), type=Manifest)
    except msgspec.DecodeError as fault:
        raise BadRequest(f"{source}: {MANIFEST} cannot be read: {fault}", path=str(source)) from None
    (into / MANIFEST).unlink()
    work = members.pop(work_folder.NAME, None)
    catalog = members.pop(catalog_copy.NAME, None)
    if manifest.format != FORMAT or manifest.databases.keys() != DATABASES.keys():
        raise BadRequest(
            f"{source}: archive format {manifest.format} with {', '.join(manifest.databases)}; this labd reads format "
            f"{FORMAT} with {', '.join(DATABASES)}",
            path=str(source),
        )
    for name, path in members.items():
        found, told = describe(path), manifest.databases[name]
        if found != told:
            raise BadRequest(
                f"{source}: {name} is not what the manifest says: {found.size_bytes} bytes, sha256 "
                f"{found.sha256[:12]}..., schema {found.schema} instead of {told.size_bytes} bytes, "
                f"{told.sha256[:12]}..., schema {told.schema}; take another backup",
                path=str(source),
            )
        known = len(sql.migrations(DATABASES[name]))
        if found.schema > known:
            raise StoreNewer(
                f"{source}: {name} has schema {found.schema}, this labd knows up to {known}; install labd "
                f"{manifest.labd_version} or newer",
                path=str(source),
            )
    if (None if catalog is None else describe(catalog)) != manifest.catalog:
        text = f"{source}: {catalog_copy.NAME} is not what the manifest says; take another backup"
        raise BadRequest(text, path=str(source))
    _take_work(source, work, manifest.work)
    return manifest


def _take_work(source: Path, path: Path | None, told: WorkMember | None) -> None:
    """Put the files of tasks beside the databases, as the folder that they are."""
    if path is None and told is None:
        return
    try:
        found = None if path is None else _describe_work(path)
        if found != told or path is None:
            raise WorkFault("it is not what the manifest says")
        work_folder.unpack(path, path.parent)
    except WorkFault as fault:
        name = work_folder.NAME
        raise BadRequest(f"{source}: {name}: {fault}; take another backup", path=str(source)) from None
    path.unlink()


def _describe_work(path: Path) -> WorkMember:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return WorkMember(digest, path.stat().st_size, work_folder.summary_of(path))


def unpack(source: Path, into: Path, with_manifest: bool = False) -> list[Path]:
    """The databases of a tar, the files of tasks if it has them, and the manifest if wanted: once, whole, only them."""
    wanted = {*DATABASES, MANIFEST} if with_manifest else {*DATABASES}
    allowed = {*wanted, work_folder.NAME, catalog_copy.NAME}
    unpacked: list[Path] = []
    try:
        with tarfile.open(source, mode="r:") as archive:
            for entry in archive:
                if entry.name == MANIFEST and not with_manifest:
                    continue
                if entry.name not in allowed or not entry.isreg():
                    raise BadRequest(f"{source}: unexpected member {entry.name!r}; not an archive of labd")
                limit = MANIFEST_LIMIT_BYTES if entry.name == MANIFEST else source.stat().st_size
                if entry.size > limit:  # a sparse member may claim any size
                    raise BadRequest(f"{source}: {entry.name} claims {entry.size} bytes, at most {limit}")
                allowed.remove(entry.name)
                content = archive.extractfile(entry)
                assert content is not None
                with (into / entry.name).open("xb") as file:
                    (into / entry.name).chmod(0o600)
                    shutil.copyfileobj(content, file, CHUNK_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                unpacked.append(into / entry.name)
    except (tarfile.TarError, ValueError) as fault:  # ValueError: a number in a header that is none
        raise BadRequest(f"{source}: not a whole tar archive: {fault}; take another backup") from None
    except FileNotFoundError:
        raise BadRequest(f"{source}: no such file") from None
    missing = wanted & allowed
    if missing:
        raise BadRequest(f"{source}: {', '.join(sorted(missing))} missing; not a whole archive of labd")
    order = [MANIFEST, *DATABASES, work_folder.NAME, catalog_copy.NAME]
    return sorted(unpacked, key=lambda path: order.index(path.name))


def describe(path: Path) -> Member:
    """Size, hash and schema of a database file.

    Raises:
        BadRequest: Not an SQLite database.
    """
    with path.open("rb") as file:
        header = file.read(100)
        if not header.startswith(b"SQLite format 3\0") or len(header) < 100:
            raise BadRequest(f"{path.name} is not an SQLite database", path=str(path))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Member(digest, path.stat().st_size, int.from_bytes(header[_SCHEMA_AT : _SCHEMA_AT + 4], "big"))


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A private folder on the target's file system; gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".labd-backup-", dir=target.parent))
    except OSError as fault:
        raise BadRequest(f"{target}: {fault.strerror}; the folder must exist and be writable") from fault
    try:
        yield folder
    except OSError as fault:
        raise StoreFull(f"{target}: {fault.strerror}; nothing was changed", path=str(target)) from fault
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _add(archive: tarfile.TarFile, name: str, size: int, content: IO[bytes], clock: Clock) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, int(clock.wall())
    archive.addfile(entry, content)

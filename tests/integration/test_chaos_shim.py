"""The shim and the model of the power prove themselves: a liar is found out, an honest program loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.chaos.port import Unable
from tests.chaos.power_model import Power
from tests.chaos.shim import SYNC, Shim, build

RUN_S = 60.0
pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    try:
        build()
    except Unable as why:
        if os.environ.get("LABD_REQUIRE_ALL") == "1":
            raise
        pytest.skip(str(why))


class Bench:
    """One folder and programs that write into it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "disk"
        self.root.mkdir()
        self.shim = Shim(folder / "shim", self.root)
        self.shim.record(True)
        self.power = Power(self.shim)
        self.power.take_base()

    def run(self, code: str) -> str:
        """A Python program whose working folder is the disk."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.root, env={**os.environ, **self.shim.environment},
            capture_output=True, text=True, timeout=RUN_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def lose_power(self, seed: int) -> dict[str, bytes]:
        """What is there afterwards."""
        _, unseen = self.power.cut(Random(seed))
        assert unseen == []
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _after(folder: Path, code: str, losses: int = 3, folders: int = 12) -> list[dict[str, bytes]]:
    """What a program that ran in so many folders left in each, after each of so many losses."""
    found = []
    for seed in range(losses):
        (folder / str(seed)).mkdir(parents=True)
        bench = Bench(folder / str(seed))
        bench.run(MADE.format(folders=folders))
        bench.power.take_base()
        bench.run(EACH.format(folders=folders, code=code))
        disk = bench.lose_power(seed)
        for number in range(folders):
            before = f"{number}/"
            found.append({path[len(before) :]: data for path, data in disk.items() if path.startswith(before)})
    return found


MADE = "import os\nfor number in range({folders}):\n    os.mkdir(str(number))\n"
EACH = "import os\nfor number in range({folders}):\n    os.chdir(str(number))\n    exec({code!r})\n    os.chdir('..')\n"
WRITE = "import os; f = os.open('a', os.O_CREAT | os.O_WRONLY, 0o640); os.write(f, b'x' * 3000)\n"


def test_what_was_synced_is_there_after_every_loss(bench: Bench) -> None:
    bench.run(WRITE + "os.fsync(f)")
    for seed in range(10):
        assert bench.lose_power(seed) == {"a": b"x" * 3000}
    assert (bench.root / "a").stat().st_mode & 0o777 == 0o640


def test_what_was_not_synced_is_lost_whole_or_torn_at_a_sector_or_there(tmp_path: Path) -> None:
    found = [disk.get("a") for disk in _after(tmp_path, WRITE)]
    assert None in found and b"" in found and b"x" * 3000 in found
    torn = [content for content in found if content and b"\0" in content]
    assert torn
    for content in torn:
        sectors = [content[at : at + 512] for at in range(0, len(content), 512)]
        assert all(set(sector) in ({0}, {120}) for sector in sectors)


def test_a_sync_keeps_what_was_written_before_it_and_says_nothing_of_what_came_later(bench: Bench) -> None:
    bench.run(WRITE + "os.fsync(f); os.write(f, b'y' * 3000)")
    found = bench.lose_power(3)["a"]
    assert found[:3000] == b"x" * 3000
    assert set(found[3000:]) <= {0, 121}


def test_a_rename_without_a_sync_of_its_folder_may_vanish_and_the_old_file_is_whole_then(tmp_path: Path) -> None:
    code = """
import os
def put(name, text):
    with open(name, 'wb') as file:
        file.write(text); file.flush(); os.fsync(file.fileno())
put('a', b'old')
folder = os.open('.', os.O_RDONLY)
os.fsync(folder)
put('a.new', b'new')
os.rename('a.new', 'a')
"""
    found = _after(tmp_path / "not", code)
    assert {disk["a"] for disk in found} == {b"old", b"new"}
    assert all(disk.get("a.new", b"new") == b"new" for disk in found)
    kept = _after(tmp_path / "synced", code + "os.fsync(folder)")
    assert kept == [{"a": b"new"}] * 36


def test_a_removed_file_may_be_there_again_until_its_folder_is_synced(tmp_path: Path) -> None:
    code = WRITE + "os.fsync(f); os.unlink('a')\n"
    assert {len(disk) for disk in _after(tmp_path / "not", code)} == {0, 1}
    code += "os.fsync(os.open('.', os.O_RDONLY))"
    assert all(disk == {} for disk in _after(tmp_path / "synced", code))


def test_files_lose_their_writes_in_no_order(tmp_path: Path) -> None:
    code = """
import os
for name in ('first', 'second'):
    with open(name, 'wb') as file:
        file.write(b'.'); file.flush(); os.fsync(file.fileno())
for name in ('first', 'second'):
    with open(name, 'wb') as file:
        file.write(b'later')
"""
    found = {(disk["first"], disk["second"]) for disk in _after(tmp_path, code, folders=60)}
    assert (b".", b"later") in found
    assert (b"later", b".") in found


def test_a_sync_that_failed_is_made_good_by_no_later_one(bench: Bench) -> None:
    bench.shim.fail(SYNC, after=12, count=12)
    bench.run(
        """
import errno, os
files = [os.open(str(number), os.O_CREAT | os.O_WRONLY) for number in range(12)]
def sync(file):
    try:
        os.fsync(file)
    except OSError as fault:
        assert fault.errno == errno.EIO
        return True
for file in files:
    os.write(file, b'x' * 512)
    assert not sync(file)
for file in files:
    os.pwrite(file, b'y' * 512, 0)
assert all([sync(file) for file in files])
assert not any([sync(file) for file in files])
"""
    )
    assert bench.shim.errors_made == 12
    kept = set(bench.lose_power(1).values())
    assert kept == {b"x" * 512, b"y" * 512}


def test_sqlite_keeps_what_it_committed_in_full_synchronous_mode_and_is_whole_after_every_loss(bench: Bench) -> None:
    code = """
import sqlite3
db = sqlite3.connect('a.db', isolation_level=None)
db.execute('PRAGMA journal_mode = WAL')
db.execute('PRAGMA synchronous = FULL')
db.execute('PRAGMA wal_autocheckpoint = 20')
db.execute('CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, v TEXT)')
for number in range(60):
    db.execute('INSERT INTO t (v) VALUES (?)', ('x' * 700,))
print(db.execute('SELECT count(*) FROM t').fetchone()[0], flush=True)
import os; os.kill(os.getpid(), 9)
"""
    read = """
import sqlite3
db = sqlite3.connect('a.db')
print(db.execute('PRAGMA integrity_check').fetchone()[0], db.execute('SELECT count(*) FROM t').fetchone()[0])
"""
    before = 0
    for seed in range(4):
        bench_run = subprocess.run(
            [sys.executable, "-c", code], cwd=bench.root, env={**os.environ, **bench.shim.environment},
            capture_output=True, text=True, timeout=RUN_S, check=False,
        )  # fmt: skip
        assert int(bench_run.stdout) == before + 60
        bench.lose_power(seed)
        assert bench.run(read) == f"ok {before + 60}\n"
        before += 60


def test_children_are_seen_and_a_program_past_the_shim_is_named(bench: Bench) -> None:
    bench.run("import subprocess, sys; subprocess.run([sys.executable, '-c', \"open('child', 'w').write('c')\"])")
    (bench.root / "past").write_bytes(b"nobody saw this")
    _, unseen = bench.power.cut(Random(1))
    assert unseen == ["past"]
    assert (bench.root / "past").read_bytes() == b"nobody saw this"


def test_a_host_that_lost_power_has_another_boot_id(bench: Bench) -> None:
    read = "print(open('/proc/sys/kernel/random/boot_id').read().strip())"
    before = bench.run(read)
    bench.lose_power(1)
    after = bench.run(read)
    assert len(after) == len(before) == 37
    assert after != before


def test_the_wall_clock_steps_for_those_who_run_and_durations_stay_true(bench: Bench) -> None:
    bench.shim.step_clock(-7200.0)
    said = bench.run(
        """
import subprocess, threading, time
began = time.monotonic()
threading.Event().wait(0.2)
took_s = time.monotonic() - began
shown = subprocess.run(['date', '+%s.%N'], capture_output=True, text=True).stdout
print(took_s, time.time(), shown)
"""
    )
    took_s, wall, shown = map(float, said.split())
    assert 0.19 < took_s < 10.0
    now = time.time()
    assert now - wall == pytest.approx(7200.0, abs=20.0)
    assert now - shown == pytest.approx(7200.0, abs=20.0)
    bench.shim.step_clock(0.0)
    assert now - float(bench.run("import time; print(time.time())")) == pytest.approx(0.0, abs=20.0)


def test_a_deadline_by_the_wall_clock_comes_in_time_after_a_step(bench: Bench) -> None:
    bench.shim.step_clock(3600.0)
    said = bench.run(
        """
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
class Until(ctypes.Structure):
    _fields_ = [('s', ctypes.c_long), ('ns', ctypes.c_long)]
semaphore = ctypes.create_string_buffer(64)
assert libc.sem_init(semaphore, 0, 0) == 0
began, until = time.monotonic(), time.time() + 0.2
assert libc.sem_timedwait(semaphore, ctypes.byref(Until(int(until), int(until % 1 * 1e9)))) == -1
print(time.monotonic() - began)
"""
    )
    assert 0.19 < float(said) < 10.0

"""Snapshots to try things with: people, the cities they live in, and who knows whom, the same for the same seed.

    <base>/<customer>/<timestamp>/nodes/{Person,City}/part-0.parquet
    <base>/<customer>/<timestamp>/relationships/{LIVES_IN,KNOWS}/part-0.parquet
    <base>/<customer>/<timestamp>/_SUCCESS

Why a snapshot is laid down under a hidden name and then renamed: a scan in between must not see half of one. Some
people carry a second label, `Employee`, so that every engine shows how it holds several.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Literal

from labd.snapshots import parquet
from labd.snapshots.names import check_customer, check_timestamp

FIRST = ("Ada", "Alan", "Barbara", "Edsger", "Frances", "Grace", "Hedy", "John", "Katherine", "Niklaus")
CITIES = ("Aachen", "Bern", "Cusco", "Dakar", "Erfurt", "Fes", "Gdansk", "Hanoi", "Ishpeming", "Jaipur")
DEMO_CUSTOMERS = ("customer1", "customer2", "customer3")
ROWS_PER_CITY = 100
KNOWN_PER_PERSON = 3
CHUNK_ROWS = 100_000
MARKER = "_SUCCESS"
PERSON = {"id": "int64", "labels": "list of text", "name": "text", "born": "int32", "height_m": "double"}
CITY = {"id": "int64", "labels": "text", "name": "text"}
LIVES_IN = {"source": "int64", "target": "int64", "type": "text", "since": "int32"}
KNOWS = {"source": "int64", "target": "int64", "type": "text", "closeness": "double"}
Damage = Literal["cut", "dangling"]


def write_snapshot(
    base: Path, customer: str, timestamp: str, rows: int, random: Random, *, damage: Damage | None = None
) -> Path:
    """Lay down one snapshot; blocks.

    Args:
        rows: People; there is a city for every hundred, and three acquaintances for each.
        random: Decides everything in it; the same state, the same bytes.
        damage: `cut`: a file ends in the middle, as a broken copy does; `dangling`: somebody lives in a city that is
            not there. None: it is whole.

    Returns:
        Its folder.

    Raises:
        BadRequest: Customer or timestamp are not allowed.
        FileExistsError: The snapshot is there already; it is left as it is.
    """
    folder = base / check_customer(customer) / check_timestamp(timestamp)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already; take another timestamp")
    draft = folder.with_name(f".{timestamp}.new")
    shutil.rmtree(draft, ignore_errors=True)
    people, cities = max(1, rows), max(1, rows // ROWS_PER_CITY)
    _write_people(draft / "nodes" / "Person", people, random)
    _write_cities(draft / "nodes" / "City", people, cities, random)
    _write_homes(draft / "relationships" / "LIVES_IN", people, cities, random, dangling=damage == "dangling")
    _write_acquaintances(draft / "relationships" / "KNOWS", people, random)
    if damage == "cut":
        path = draft / "nodes" / "Person" / "part-0.parquet"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (draft / MARKER).touch()
    draft.rename(folder)
    return folder


def write_demo(base: Path, first_timestamp: int, rows: int, random: Random, *, damaged: bool = False) -> list[Path]:
    """One snapshot for each demo customer, and on request a damaged one; those that are there already are left out."""
    folders = []
    for number, customer in enumerate(DEMO_CUSTOMERS):
        if not any((base / customer).glob("[0-9]*")):
            seeded = Random(random.random())
            folders.append(write_snapshot(base, customer, str(first_timestamp), rows * (number + 1), seeded))
    if damaged:
        timestamp = first_timestamp
        while (base / DEMO_CUSTOMERS[-1] / str(timestamp)).exists():
            timestamp += 1
        folders.append(write_snapshot(base, DEMO_CUSTOMERS[-1], str(timestamp), rows, random, damage="cut"))
    return folders


def _write_people(folder: Path, people: int, random: Random) -> None:
    with _file(folder, PERSON) as writer:
        for numbers in _chunks(people):
            writer.write(
                [
                    list(numbers),
                    [["Person", "Employee"] if random.random() < 0.1 else ["Person"] for _ in numbers],
                    [f"{random.choice(FIRST)} {number}" for number in numbers],
                    [random.randrange(1900, 2010) for _ in numbers],
                    [round(random.gauss(1.7, 0.1), 2) for _ in numbers],
                ]
            )


def _write_cities(folder: Path, people: int, cities: int, random: Random) -> None:
    with _file(folder, CITY) as writer:
        for numbers in _chunks(cities):
            names = [f"{random.choice(CITIES)} {number}" for number in numbers]
            writer.write([[people + number for number in numbers], ["City"] * len(numbers), names])


def _write_homes(folder: Path, people: int, cities: int, random: Random, *, dangling: bool) -> None:
    with _file(folder, LIVES_IN) as writer:
        for numbers in _chunks(people):
            homes = [people + random.randrange(cities) for _ in numbers]
            if dangling:
                homes[-1] = people + cities
                dangling = False
            since = [random.randrange(1950, 2025) for _ in numbers]
            writer.write([list(numbers), homes, ["LIVES_IN"] * len(numbers), since])


def _write_acquaintances(folder: Path, people: int, random: Random) -> None:
    with _file(folder, KNOWS) as writer:
        for numbers in _chunks(people * KNOWN_PER_PERSON):
            sources = [number % people for number in numbers]
            targets = [random.randrange(people) for _ in numbers]
            writer.write([sources, targets, ["KNOWS"] * len(numbers), [random.random() for _ in numbers]])


def _chunks(rows: int) -> list[range]:
    return [range(start, min(rows, start + CHUNK_ROWS)) for start in range(0, rows, CHUNK_ROWS)]


def _file(folder: Path, columns: Mapping[str, str]) -> parquet.Writer:
    folder.mkdir(parents=True)
    return parquet.Writer(folder / "part-0.parquet", columns)

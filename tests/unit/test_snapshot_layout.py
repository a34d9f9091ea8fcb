"""What a snapshot's folder holds, and what is said of one that cannot be read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labd.errors import DatasetRefused
from labd.snapshots import layout
from labd.snapshots.layout import Skipped, SnapshotFolder


def write(path: Path, columns: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "acme" / "1767741527"
    write(root / "nodes/Person/0.parquet", {"id": [1, 2], "labels": ["Person", "Person"], "name": ["a", "b"]})
    write(root / "nodes/Person/1.parquet", {"id": [3], "labels": ["Person"], "name": ["c"]})
    write(root / "nodes/City/0.parquet", {"id": [9], "labels": [["City", "Capital"]]})
    write(root / "relationships/LIVES_IN/0.parquet", {"a": [1, 3], "b": [9, 9], "c": ["LIVES_IN"] * 2, "since": [1, 2]})
    return root


def refusal(folder: Path, roles: layout.Roles | None = None) -> str:
    with pytest.raises(DatasetRefused) as caught:
        layout.read(folder, roles)
    return caught.value.message.replace(str(folder), "F")


def test_tables_with_roles_by_position(folder: Path) -> None:
    dataset = layout.read(folder)
    assert [(table.kind, table.name, table.rows) for table in dataset.tables] == [
        ("node", "City", 1), ("node", "Person", 3), ("relationship", "LIVES_IN", 2),
    ]  # fmt: skip
    person, lives = dataset.tables[1], dataset.tables[2]
    assert person.roles == {"id": "id", "labels": "labels"}
    assert person.columns == {"name": "string"}
    assert [path.name for path in person.files] == ["0.parquet", "1.parquet"]
    assert person.size_bytes == sum(path.stat().st_size for path in person.files)
    assert lives.roles == {"source": "a", "target": "b", "type": "c"}
    assert lives.columns == {"since": "int64"}
    assert (dataset.nodes, dataset.relationships) == (4, 2)


def test_roles_by_name_from_the_file_and_from_settings(folder: Path) -> None:
    write(folder / "nodes/Dog/0.parquet", {"name": ["rex"], "key": [7], "kinds": ["Dog"]})
    (folder / "snapshot.toml").write_text('[nodes.Dog]\nid = "key"\n[relationships]\ntype = ""\n')
    dataset = layout.read(folder, {"nodes": {"Dog": {"id": "name", "labels": "kinds"}}})
    dog = next(table for table in dataset.tables if table.name == "Dog")
    assert dog.roles == {"id": "key", "labels": "kinds"}
    lives = next(table for table in dataset.tables if table.kind == "relationship")
    assert lives.roles == {"source": "a", "target": "b"}
    assert lives.columns == {"c": "string", "since": "int64"}


def test_a_table_without_a_column_of_labels(folder: Path) -> None:
    write(folder / "nodes/Dog/0.parquet", {"id": [5]})
    dog = next(table for table in layout.read(folder).tables if table.name == "Dog")
    assert (dog.roles, dog.columns) == ({"id": "id"}, {})


def test_markers_and_hidden_files_are_no_data(folder: Path) -> None:
    for name in ("_SUCCESS", ".0.parquet.crc", "_metadata.parquet", "README"):
        (folder / "nodes/Person" / name).write_bytes(b"nothing")
    (folder / "nodes/.tmp").mkdir()
    assert layout.read(folder).nodes == 4


@pytest.mark.parametrize(
    ("keep", "reason"), [(0, "empty"), (20, "magic bytes"), (-8, "magic bytes"), (-1, "magic bytes")]
)
def test_a_file_cut_short_is_named(folder: Path, keep: int, reason: str) -> None:
    path = folder / "nodes/Person/1.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    message = refusal(folder)
    assert message.startswith("F/nodes/Person/1.parquet: cannot be read as parquet (")


def test_a_footer_with_flipped_bits_is_named(folder: Path) -> None:
    path = folder / "nodes/Person/1.parquet"
    content = bytearray(path.read_bytes())
    content[-60:-20] = bytes(byte ^ 0xFF for byte in content[-60:-20])
    path.write_bytes(content)
    assert refusal(folder).startswith("F/nodes/Person/1.parquet: cannot be read as parquet (")


def test_files_of_a_folder_must_agree(folder: Path) -> None:
    write(folder / "nodes/Person/1.parquet", {"id": [3], "labels": ["Person"], "name": [1.5]})
    assert refusal(folder) == "F/nodes/Person/1.parquet: column 'name' is double here and string in 0.parquet"
    write(folder / "nodes/Person/1.parquet", {"id": [3], "labels": ["Person"]})
    assert refusal(folder) == "F/nodes/Person/1.parquet: column 'name' is missing here and string in 0.parquet"
    write(folder / "nodes/Person/1.parquet", {"labels": ["Person"], "id": [3], "name": ["x"]})
    assert refusal(folder) == "F/nodes/Person/1.parquet: its columns are in another order than in 0.parquet"


def test_what_cannot_be_the_role_of_its_place_is_named(folder: Path) -> None:
    write(folder / "nodes/City/0.parquet", {"id": [9], "height_m": [12]})
    assert refusal(folder) == (
        "F/nodes/City/0.parquet: column 'height_m' is int64, and the role labels needs text; it is taken for its place "
        "2, name the columns in snapshot.toml if it is another"
    )
    write(folder / "nodes/City/0.parquet", {"id": [9.5]})
    assert "column 'id' is double, and the role id needs whole numbers or text" in refusal(folder)
    write(folder / "nodes/City/0.parquet", {"id": [9]})
    write(folder / "relationships/LIVES_IN/0.parquet", {"a": [1]})
    assert refusal(folder) == "F/relationships/LIVES_IN/0.parquet: has 1 columns and none for the role target"


def test_a_role_may_be_named_once(folder: Path) -> None:
    roles = {"relationships": {"source": "a", "target": "a"}}
    assert "column 'a' has two roles" in refusal(folder, roles)
    assert "has no column 'x', which is named as its id" in refusal(folder, {"nodes": {"City": {"id": "x"}}})


def test_empty_folders_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "nodes/Empty").mkdir()
    assert refusal(folder) == "F/nodes/Empty: holds no parquet file"
    assert refusal(tmp_path / "nothing") == "F/nodes: holds no table of nodes; nothing could be loaded"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[node]\n", "node: not known; there are nodes and relationships"),
        ("nodes = 3\n", "nodes: not known"),
        ("[nodes]\nkey = 'x'\n", "nodes.key: not known; roles are id, labels"),
        ("[nodes.Person]\nsource = 'x'\n", "nodes.Person: not known; roles are id, labels"),
        ("[nodes]\nid = 3\n", "nodes.id: not known"),
        ("[nodes", "is no TOML"),
        ("x = '" + "y" * 70000 + "'", "is longer than 65536 bytes"),
    ],
)
def test_a_faulty_file_of_names_is_named(folder: Path, text: str, told: str) -> None:
    (folder / "snapshot.toml").write_text(text)
    message = refusal(folder)
    assert message.startswith("F/snapshot.toml: ") and told in message


def test_two_columns_of_one_name(folder: Path) -> None:
    table = pa.Table.from_arrays(
        [pa.array([1]), pa.array(["City"]), pa.array([1]), pa.array([2])], ["id", "l", "x", "x"]
    )
    pq.write_table(table, folder / "nodes/City/0.parquet")
    assert refusal(folder) == "F/nodes/City/0.parquet: cannot be read as parquet (two columns are called 'x')"


def test_snapshots_are_found_in_the_order_of_time(tmp_path: Path) -> None:
    for name in ("acme/1000", "acme/999", "acme-eu/5", "Zoo/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / ".trash").mkdir()
    found = [(one.customer, one.timestamp) for one in layout.find(tmp_path) if isinstance(one, SnapshotFolder)]
    assert found == [("Zoo", "1"), ("acme", "999"), ("acme", "1000"), ("acme-eu", "5")]


def test_hostile_folders_are_told_and_the_others_found(tmp_path: Path) -> None:
    for name in ("acme/7", "acme/latest", "acme/007", "a`; DROP/7", "b c/7"):
        (tmp_path / name).mkdir(parents=True)
    found = list(layout.find(tmp_path))
    skipped = {one.path.name: one.reason for one in found if isinstance(one, Skipped)}
    assert [one.timestamp for one in found if isinstance(one, SnapshotFolder)] == ["7"]
    assert set(skipped) == {"latest", "007", "a`; DROP", "b c"}
    assert skipped["latest"].startswith("'latest' is no timestamp: a whole number")


@pytest.mark.skipif(os.name != "posix", reason="names of files are bytes on POSIX only")
def test_a_name_that_is_no_text_is_told(folder: Path) -> None:
    raw = os.fsencode(folder) + b"/nodes/\xff"
    Path(os.fsdecode(raw)).mkdir()
    (Path(os.fsdecode(raw)) / "0.parquet").write_bytes((folder / "nodes/City/0.parquet").read_bytes())
    assert "its name is no UTF-8; rename it" in refusal(folder)
    (folder.parent.parent / os.fsdecode(b"c\xff")).mkdir()
    assert any(isinstance(one, Skipped) for one in layout.find(folder.parent.parent))

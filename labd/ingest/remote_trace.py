"""What a table tells of an ingestion's commits: their tokens, and the files whose rows came with them.

Why it is asked for: a journal that was put back to an older state knows nothing of what was loaded since, the table
does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata

from labd.ingest.remote_commit import TOKEN, TOKENS
from labd.ingest.remote_iceberg import BATCH, FILE, VERSION

Json = dict[str, Any]
INGESTION = "labd.ingestion"


def commits_of(properties: dict[str, str], summaries: Iterable[dict[str, str]], ingestion: str) -> list[str]:
    """Tokens of one ingestion that properties and summaries of snapshots still show, oldest first."""
    kept = [str(token) for token, _ in json.loads(properties.get(f"{TOKENS}.{ingestion}", "[]"))]
    shown = [one[TOKEN] for one in summaries if TOKEN in one and one.get(INGESTION) == ingestion]
    expired = set(kept) - set(shown)
    return [token for token in kept if token in expired] + list(dict.fromkeys(shown))


def table_commits(metadata: TableMetadata, ingestion: str) -> list[str]:
    """The same of a table of PyIceberg."""
    snapshots = [one.summary for one in metadata.snapshots if one.summary is not None]
    return commits_of(metadata.properties, [one.additional_properties for one in snapshots], ingestion)


def files_of(table: Table, numbers: list[int]) -> list[Json] | None:
    """Each file and version with rows of these batches, as `port.FoundFile`; None where the table does not say."""
    known = {field.name for field in table.schema().fields}
    if not known.issuperset((FILE, VERSION, BATCH)):
        return None
    listed = ", ".join(str(int(number)) for number in numbers)
    rows: Counter[tuple[str, str, int]] = Counter()
    scan = table.scan(row_filter=f"{BATCH} in ({listed})", selected_fields=(FILE, VERSION, BATCH))
    for batch in scan.to_arrow_batch_reader():
        counted = pa.Table.from_batches([batch]).group_by([FILE, VERSION, BATCH]).aggregate([([], "count_all")])
        for one in counted.to_pylist():
            rows[one[FILE], one[VERSION], one[BATCH]] += one["count_all"]
    return [{"url": url, "version": version, "number": number, "rows": count}
            for (url, version, number), count in rows.items()]  # fmt: skip

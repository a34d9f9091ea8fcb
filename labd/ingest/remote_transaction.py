"""PyIceberg's transaction and overwrite, so that a table with a thousand snapshots takes a commit nearly as a new one.

Why: `Transaction.table_metadata` copies all snapshots each time it is asked, some twenty times a commit. And an
overwrite never merges manifests, so each replacement of rows would leave two more to be read at every commit.
Source: pyiceberg 0.12, `table/__init__.py` and `table/update/snapshot.py`; both can go when it does so itself.
"""

from __future__ import annotations

from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import Table, TableProperties, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _ManifestMergeManager, _OverwriteFiles
from pyiceberg.utils.properties import property_as_bool, property_as_int


class BatchTransaction(Transaction):
    """A transaction that works its metadata out once for each change; whoever gets them changes nothing in them."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._known: tuple[int, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table as it would be."""
        if not self._updates:
            return self._table.metadata
        if self._known is None or self._known[0] != len(self._updates):
            self._known = (len(self._updates), super().table_metadata)
        return self._known[1]


class MergingOverwrite(_OverwriteFiles):
    """Removes data files and adds others; merges manifests as an append does."""

    def __init__(self, transaction: Transaction, summary: dict[str, str]) -> None:
        super().__init__(
            operation=Operation.OVERWRITE, transaction=transaction, io=transaction._table.io,
            snapshot_properties=summary,
        )  # fmt: skip

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        properties = self._transaction.table_metadata.properties
        merger = _ManifestMergeManager(
            property_as_int(properties, TableProperties.MANIFEST_TARGET_SIZE_BYTES, 8 * 2**20) or 0,
            property_as_int(properties, TableProperties.MANIFEST_MIN_MERGE_COUNT, 100) or 0,
            property_as_bool(properties, TableProperties.MANIFEST_MERGE_ENABLED, False),
            self,
        )
        data = [one for one in manifests if one.content == ManifestContent.DATA]
        return merger.merge_manifests(data) + [one for one in manifests if one.content != ManifestContent.DATA]

"""Which graph store the settings name; its packages are imported when it is made."""

from __future__ import annotations

from labd.snapshots.port import GraphStore
from labd.snapshots.settings import SnapshotSettings
from labd.wing import Host


def store_of(settings: SnapshotSettings, host: Host) -> GraphStore:
    """The store, not yet connected."""
    raise NotImplementedError

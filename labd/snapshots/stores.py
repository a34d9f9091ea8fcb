"""Which graph store the settings name; its packages are imported when it is used."""

from __future__ import annotations

import importlib.util

from labd import credentials
from labd.errors import WingOff
from labd.snapshots.port import GraphStore
from labd.snapshots.settings import SnapshotSettings
from labd.wing import Host


def store_of(settings: SnapshotSettings, host: Host) -> GraphStore:
    """The store, not yet connected; where made-up snapshots are allowed, all that is in it counts as simulated.

    Raises:
        SettingsFault: The password is not where the settings say.
        WingOff: The store's package is not installed.
    """
    package, extra = ("ladybug", "graph") if settings.engine == "embedded" else ("neo4j", "neo4j")
    if importlib.util.find_spec(package) is None:
        raise WingOff(f"snapshots: {package} is not installed; pip install 'labd[{extra}]'", package=package)
    if settings.engine == "embedded":
        from labd.snapshots.embedded import EmbeddedStore

        return EmbeddedStore(host.state_dir / "snapshots", simulated=settings.allow_simulate)
    from labd.snapshots.neo4j_bolt import Address
    from labd.snapshots.neo4j_store import Neo4jStore

    server = settings.neo4j
    password = "" if server.password is None else credentials.resolve(server.password)
    address = Address(
        server.host, server.bolt_port, server.arrow_port, server.user, password, server.tls, server.tls_ca
    )
    return Neo4jStore(
        address, loader=server.loader, streams=server.concurrency, answer_timeout_s=server.answer_timeout_s,
        simulated=settings.allow_simulate,
    )  # fmt: skip

"""labd and its peers, one after the other on one machine, in rounds.

    python -m tests.bench.peers [--only NAME ...] [--short] [--record FILE] [--readme]

Prints the record (JSON), its tables and which claims hold; `--readme` puts the tables between the markers of README.md.
Why rounds over all and not all rounds of one: what else the machine does comes and goes, and hits all of them alike.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.peers import huey_peer, install, labd_peer, measure, postgres_peers, prefect_peer, redis_peers, table
from tests.bench.peers.peer import ROOT, Peer
from tests.bench.report import machine, rounded, say

ALL: tuple[Peer, ...] = (
    *labd_peer.PEERS, *huey_peer.PEERS, *postgres_peers.PEERS, *redis_peers.PEERS, *prefect_peer.PEERS,
)  # fmt: skip
ROUNDS = 3


def run(peers: list[Peer], sizes: measure.Sizes, rounds: int, folder: Path | None, fresh: bool) -> dict[str, Any]:
    """The record; a peer that fails is told by its fault, and the others go on."""
    load_before = os.getloadavg()[0]
    pythons = {peer.key: install.install(peer, fresh) for peer in peers}
    rows: dict[str, Any] = {}
    found: dict[str, list[dict[str, Any]]] = {peer.key: [] for peer in peers}
    try:
        for number in range(rounds):
            for peer in peers:
                begin = time.monotonic()
                with tempfile.TemporaryDirectory(prefix="lp-", dir=folder, ignore_cleanup_errors=True) as made:
                    try:
                        last = number == rounds - 1
                        one = measure.one_round(peer, Path(made), pythons[peer.key], sizes, last)
                    except RuntimeError as fault:
                        say(f"{peer.title}: failed: {fault}")
                        rows[peer.key] = {"failed": str(fault).splitlines()[0]}
                        continue
                found[peer.key].append(one)
                took_s = time.monotonic() - begin
                say(f"{number + 1}/{rounds} {peer.title}: {one['end_to_end_per_s']:.0f}/s, {took_s:.0f} s")
    except (KeyboardInterrupt, SystemExit):
        say("ended before its time; the record has what was measured")
    for peer in peers:
        look = install.look(peer, pythons[peer.key])
        facts = {
            "title": peer.title, "durable": peer.durable, "durability": peer.durability, "settings": peer.settings,
            "bulk": peer.bulk, **look,
        }  # fmt: skip
        measured = measure.summary(found[peer.key]) if found[peer.key] else {"failed": "it was not its turn yet"}
        rows[peer.key] = {**facts, **measured, **rows.get(peer.key, {})}
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": {**machine(), "load_before": load_before}, "jobs": sizes.jobs, "peers": rows,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers")
    parser.add_argument("--only", nargs="+", choices=[peer.key for peer in ALL])
    parser.add_argument("--short", action="store_true", help="a quick look in place of a final figure")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--watch", type=float, help="seconds for a job to run again after kill -9")
    parser.add_argument("--folder", type=Path, help="where their data lies; its disk is what is measured")
    parser.add_argument("--record", type=Path, help="where the JSON record goes as well")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--fresh", action="store_true", help="install the peers anew")
    parser.add_argument("--note", help="what has to be said of this run, above the table")
    parser.add_argument("--again", type=Path, help="no measuring: the tables of this record")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing it started outlives it
    peers = [peer for peer in ALL if not given.only or peer.key in given.only]
    if given.again is not None:
        record = json.loads(given.again.read_text())
    else:
        sizes = measure.SHORT if given.short else measure.FULL
        sizes = replace(sizes, watch_s=given.watch or sizes.watch_s)
        record = rounded(run(peers, sizes, given.rounds or (1 if given.short else ROUNDS), given.folder, given.fresh))
    if given.note:
        record["note"] = given.note
    text = json.dumps(record, indent=2)
    if given.record is not None:
        given.record.write_text(text + "\n")
    print(text, flush=True)
    made = table.markdown(record)
    say(made)
    if table.OURS in record["peers"]:
        say(table.told(table.verdicts(record)))
    if given.readme:
        path = ROOT / "README.md"
        path.write_text(table.replaced(path.read_text(), made))


if __name__ == "__main__":
    main()

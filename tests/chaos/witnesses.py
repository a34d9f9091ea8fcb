"""Everybody who looks at the parties: each from what a party recorded or holds, never by labd's word."""

from __future__ import annotations

from tests.chaos.port import Witness
from tests.chaos.witness_carousel import Motor
from tests.chaos.witness_graph import Alias
from tests.chaos.witness_lake import Lake
from tests.chaos.witness_mongodb import Mirror
from tests.chaos.witness_mqtt import Asker
from tests.chaos.witness_robot import Runs


def witnesses() -> list[Witness]:
    """New ones for one world, which has all parties of `parties`; `Alias` and `Asker` are `Watching`."""
    return [Motor(), Runs(), Mirror(), Alias(), Lake(), Asker()]

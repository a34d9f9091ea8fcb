"""Gives the real `opentrons.execute` simulated hardware, as no motor board is there; for a worker of a test.

It has the two pipettes and the deck of an OT-2: off a robot opentrons knows of no deck configuration.
"""

from functools import partial

from opentrons import execute
from opentrons.hardware_control import API, ThreadManager
from opentrons.types import Mount
from opentrons.util import entrypoint_util

PIPETTES = {
    Mount.LEFT: {"model": "p300_single_v2.1", "id": "left"},
    Mount.RIGHT: {"model": "p300_multi_v2.1", "id": "right"},
}
SLOTS = [(f"cutout{number}", "singleStandardSlot", None) for number in range(1, 12)]
execute._THREAD_MANAGED_HW = ThreadManager(partial(API.build_hardware_simulator, attached_instruments=PIPETTES))
entrypoint_util.get_deck_configuration = lambda: [*SLOTS, ("cutout12", "fixedTrashSlot", None)]

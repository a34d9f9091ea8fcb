"""Gives the real `opentrons.execute` simulated hardware, as no motor board is there; for a worker of a test."""

from opentrons import execute
from opentrons.hardware_control import API, ThreadManager

execute._THREAD_MANAGED_HW = ThreadManager(API.build_hardware_simulator)

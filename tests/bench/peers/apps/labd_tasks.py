"""The task file of labd's side, in the folder that `[tasks]` names."""

from __future__ import annotations

import os
import sys

from labd import task

sys.path.insert(0, os.environ["PEERS_APPS"])
import bodies


@task
def noop():
    """Nothing."""


@task
def stamp():
    """When it began."""
    bodies.stamp()


@task
def hold(seconds: float):
    """Takes its time."""
    bodies.hold(seconds)

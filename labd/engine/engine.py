"""The engine's face: what the doors and the wings ask of it."""

from __future__ import annotations

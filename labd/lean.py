"""Keeps the daemon small where a library brings more than is asked of it.

Why: structlog prints tracebacks through rich where rich is installed, and imports it for that at once: 5 MB and 35 ms
of a daemon that never does, since its tracebacks are plain (pretty ones show local variables, and among them secrets).
"""

from __future__ import annotations

import sys
from typing import Any, cast


def import_structlog_without_rich() -> None:
    """Import structlog as if rich were not there; a second call, or one that comes too late, does nothing."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    cast("dict[str, Any]", sys.modules)["rich"] = None  # the documented way to make an import fail
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]

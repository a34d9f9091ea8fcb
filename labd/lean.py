"""Keeps the daemon small and its start short where a library brings more than is asked of it.

Why structlog without rich: it prints tracebacks through rich where rich is installed, and imports it for that at once:
5 MB and 35 ms of a daemon that never does, since its tracebacks are plain (pretty ones show local variables, and among
them secrets).
Why aiohttp without its client: the package imports it too, and the client reads every certificate authority of the host
when it is imported, which would be the longest single piece of labd's start. A daemon serves; few are also clients.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, cast

VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


def import_lightly() -> None:
    """Import both as a daemon needs them; to be called before anything else imports them."""
    import_structlog_without_rich()
    import_aiohttp_without_its_client()


def import_structlog_without_rich() -> None:
    """Import structlog as if rich were not there; a second call, or one that comes too late, does nothing."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    cast("dict[str, Any]", sys.modules)["rich"] = None  # the documented way to make an import fail
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]


def import_aiohttp_without_its_client() -> None:
    """Let `aiohttp` be a package that runs its own code when one of its names is asked for, and its modules at once.

    `from aiohttp import web` and the like find the module and nothing else; `aiohttp.ClientSession` finds everything,
    as if it had been there from the start. A second call, or one that comes too late, does nothing.
    """
    spec = None if "aiohttp" in sys.modules else importlib.util.find_spec("aiohttp")
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        return
    told = VERSION.search(Path(spec.loader.path).read_text(encoding="utf-8"))
    if told is None:
        return  # another aiohttp than this was written for: as its authors meant it
    module = importlib.util.module_from_spec(spec)
    vars(module)["__version__"] = told[1]  # which aiohttp.http asks for
    vars(module)["__getattr__"] = _Rest(module, spec, spec.loader).name
    sys.modules["aiohttp"] = module


class _Rest:
    """The code of a package that has not run yet."""

    def __init__(self, module: ModuleType, spec: ModuleSpec, loader: SourceFileLoader) -> None:
        self._module = module
        self._spec = spec
        self._loader = loader
        self._lock = threading.RLock()  # of two threads that ask, the second waits for the first
        self._is_begun = False

    def name(self, name: str) -> Any:
        """What the package calls so; the module's `__getattr__` until its own code has run.

        Raises:
            AttributeError: It is one of its modules, which the import system then looks for, or nothing at all.
        """
        is_special = name.startswith("__") and name != "__all__"
        if not is_special and importlib.util.find_spec(f"{self._spec.name}.{name}") is None:
            with self._lock:
                if not self._is_begun:
                    self._is_begun = True
                    self._loader.exec_module(self._module)
                if name in vars(self._module):
                    return vars(self._module)[name]
        raise AttributeError(f"module {self._spec.name!r} has no attribute {name!r}")

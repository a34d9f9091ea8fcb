"""Keeps the daemon small and its start short where a library brings more than is asked of it.

Why structlog without rich: it prints tracebacks through rich where rich is installed, and imports it for that at once:
5 MB and 35 ms of a daemon that never does, since its tracebacks are plain (pretty ones show local variables, and among
them secrets).
Why aiohttp without its client: the package imports it too, and the client reads every certificate authority of the host
when it is imported, which would be the longest single piece of labd's start. A daemon serves; few are also clients.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, cast

SERVER_PARTS = {
    "BaseRequest": "aiohttp.web_request",
    "RequestPayloadError": "aiohttp.web_protocol",
    "Response": "aiohttp.web_response",
    "Server": "aiohttp.web_server",
    "StreamResponse": "aiohttp.web_response",
}
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
    as if it had been there from the start. `aiohttp.web` is late in the same way: of its routes, files and sockets labd
    uses none. A second call, or one that comes too late, does nothing.
    """
    loader = None if "aiohttp" in sys.modules else _source_of("aiohttp")
    told = None if loader is None else VERSION.search(Path(loader.path).read_text(encoding="utf-8"))
    if loader is None or told is None:
        return  # another aiohttp than this was written for: as its authors meant it
    package = _late("aiohttp", loader, {})
    vars(package)["__version__"] = told[1]  # which aiohttp.http asks for
    server = _source_of("aiohttp.web")
    if server is not None:
        vars(package)["web"] = _late("aiohttp.web", server, SERVER_PARTS)


def _source_of(name: str) -> SourceFileLoader | None:
    spec = importlib.util.find_spec(name)
    return spec.loader if spec is not None and isinstance(spec.loader, SourceFileLoader) else None


def _late(name: str, loader: SourceFileLoader, parts: Mapping[str, str]) -> ModuleType:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__getattr__"] = _Rest(module, loader, parts).name
    sys.modules[name] = module
    return module


class _Rest:
    """The code of a module that has not run yet.

    Args:
        parts: Names of the module that can be had alone -> the module that has them.
    """

    def __init__(self, module: ModuleType, loader: SourceFileLoader, parts: Mapping[str, str]) -> None:
        self._module = module
        self._loader = loader
        self._parts = parts
        self._lock = threading.RLock()  # of two threads that ask, the second waits for the first
        self._is_begun = False

    def name(self, name: str) -> Any:
        """What the module calls so; its `__getattr__` until its own code has run.

        Raises:
            AttributeError: It is a module below it, which the import system then looks for, or nothing at all.
        """
        found = vars(self._module)
        if name in self._parts:
            found[name] = getattr(importlib.import_module(self._parts[name]), name)
            return found[name]
        is_special = name.startswith("__") and name != "__all__"
        if not is_special and not self._has_module(name):
            with self._lock:
                if not self._is_begun:
                    self._is_begun = True
                    self._loader.exec_module(self._module)
                if name in found:
                    return found[name]
        raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")

    def _has_module(self, name: str) -> bool:
        is_package = hasattr(self._module, "__path__")
        return is_package and importlib.util.find_spec(f"{self._module.__name__}.{name}") is not None

"""Task files and modules: each is run once, its tasks are listed, its faults told by file and line; the others go on.

Why the bytes that were hashed are the bytes that are compiled, and kept for tracebacks: a file may change on disk while
its old code still runs here.
Why a module name of its own for every file: two files named `device.py` in two folders are two modules.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import linecache
import os
import pathlib
import sys
import traceback
import types
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from labd.worker import policy
from labd.worker.encoding import NotJson, encode, explain
from labd.worker.failures import OWN_FOLDER, said, unicode_of
from labd.worker.parameters import ParameterFault, Parameters, parameters_of


class LoadedTask:
    """A task of this process: its function and how to call it."""

    __slots__ = ("function", "is_async", "parameters", "physical", "wire")

    def __init__(self, function: Callable[..., Any], parameters: Parameters, wire: Dict[str, Any]) -> None:
        self.function = function
        self.parameters = parameters
        self.wire = wire
        self.is_async = bool(wire["is_async"])
        self.physical = wire["policy"]["effect"] == "physical"


class Loader:
    """Loads, and holds what was loaded under its task's name."""

    def __init__(self) -> None:
        self.tasks: Dict[str, LoadedTask] = {}
        self.faults: List[Dict[str, Any]] = []
        self._watched: Dict[str, List[Any]] = {}  # path -> facts of files that modules are made of

    def load(self, files: Sequence[str], modules: Sequence[str]) -> Dict[str, Any]:
        """Load in the order given and answer as the protocol's `tasks`, for these files and modules only."""
        before = set(self.tasks)
        self.faults = []
        self._watched = {}
        for path in files:
            self._load_file(str(pathlib.Path(path).absolute()))
        for name in modules:
            self._load_module(name)
        wires = [task.wire for name, task in self.tasks.items() if name not in before]
        return {"type": "tasks", "tasks": wires, "faults": self.faults, "watched": list(self._watched.values())}

    def _load_file(self, path: str) -> None:
        try:
            source = pathlib.Path(path).read_bytes()
        except OSError as fault:
            self._fault(path, 0, f"cannot be read: {fault.strerror}")
            return
        stem, folder = pathlib.Path(path).stem, str(pathlib.Path(path).parent)
        name = f"labd_tasks_{stem}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
        if folder not in sys.path:
            sys.path.append(folder)  # last, so a file beside it can be imported and shadows nothing
        module = types.ModuleType(name)
        module.__file__ = path
        sys.modules[name] = module  # dataclasses and pickle look their module up there
        text = source.decode("utf-8", "replace")
        linecache.cache[path] = (len(source), None, text.splitlines(True), path)
        try:
            exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 that is what a task file is for
        except BaseException as fault:  # noqa: BLE001 whatever a file raises ends this file only
            del sys.modules[name]
            self._fault(*_place(fault, path))
            return
        self._take(lambda owner: owner == name, path, hashlib.sha256(source).hexdigest())

    def _load_module(self, name: str) -> None:
        try:
            module = importlib.import_module(name)
        except BaseException as fault:  # noqa: BLE001 as above
            self._fault(*_place(fault, name))
            self._watch(name, fault)
            return
        self._watch(name, None)
        path = getattr(module, "__file__", None) or name
        self._take(lambda owner: owner == name or owner.startswith(name + "."), path, _digest(path))

    def _watch(self, name: str, fault: Optional[BaseException]) -> None:
        """Note the files of a package, those beside it that were imported, and those in which its import failed."""
        top = name.partition(".")[0]
        places = []
        folder = os.path.dirname(getattr(sys.modules.get(top), "__file__", None) or "")  # noqa: PTH120 most have none
        for key, one in list(sys.modules.items()):
            path = getattr(one, "__file__", None) or ""
            is_beside = folder and os.path.dirname(path) == folder  # noqa: PTH120
            if is_beside or key == top or key.startswith(top + "."):
                places.append(path)
        if fault is not None:
            places += [frame.filename for frame in traceback.extract_tb(fault.__traceback__)]
            places += [str(getattr(fault, "filename", None) or "")]
        for path in places:
            if path.startswith(OWN_FOLDER):
                continue
            try:
                facts = pathlib.Path(path).stat()
            except (OSError, ValueError):
                continue
            self._watched[path] = [path, facts.st_mtime_ns, facts.st_size, facts.st_ino]

    def _take(self, owns: Callable[[str], bool], path: str, digest: str) -> None:
        for function in policy.decorated:
            if not owns(getattr(function, "__module__", "") or ""):
                continue
            own_path, line = _where(function, path)
            name = policy.policy_of(function).name
            other = self.tasks.get(name)
            if other is not None:
                if other.function is not function:
                    first = f"{other.wire['file']}:{other.wire['line']}"
                    self._fault(own_path, line, f"task {name} is already defined in {first}; give one of them a name=")
                continue
            try:
                self.tasks[name] = _loaded(function, own_path, line, digest if own_path == path else _digest(own_path))
            except ParameterFault as fault:
                self._fault(own_path, line, f"task {name}: {fault}")
            except Exception as fault:  # noqa: BLE001 annotations, defaults and their factories are the author's code
                self._fault(own_path, line, f"task {name}: {said(fault)}")

    def _fault(self, path: str, line: int, message: str) -> None:
        self.faults.append({"file": unicode_of(path), "line": line, "message": unicode_of(message)})


def _loaded(function: Callable[..., Any], path: str, line: int, digest: str) -> LoadedTask:
    own = policy.policy_of(function)
    parameters = parameters_of(function, own.bounds)
    wrong = _template_fault(own.wire["idempotency"], {one["name"] for one in parameters.wire})
    wrong = wrong or _consumes_fault(own.wire["consumes"] or {}, parameters)
    if wrong:
        raise ParameterFault(wrong)
    wire = {
        "name": own.name,
        "description": own.description or inspect.getdoc(inspect.unwrap(function)) or "",
        "file": path,
        "line": line,
        "sha256": digest,
        "is_async": inspect.iscoroutinefunction(function),
        "policy": own.wire,
        "parameters": parameters.wire,
    }
    try:
        encode(wire)
    except NotJson as fault:
        raise ParameterFault(explain(wire, "@task") or str(fault)) from None
    return LoadedTask(function, parameters, wire)


def _template_fault(template: Optional[str], names: Any) -> str:
    """What is wrong with an idempotency template such as `restock-{color}`."""
    if template is None:
        return ""
    from string import Formatter

    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as fault:
        return f"idempotency={template!r}: {fault}"
    strangers = [field for field in fields if field not in names]
    return f"idempotency={template!r} names {', '.join(strangers)}, which is no parameter" if strangers else ""


def _consumes_fault(consumes: Dict[str, Any], parameters: Parameters) -> str:
    """What is wrong with arguments that say how much is taken: the daemon counts with them before the body runs."""
    shapes = {one["name"]: one["type"] for one in parameters.wire}
    for name, source in consumes.items():
        if not isinstance(source, str):
            continue
        if source not in shapes:
            return f"consumes={{{name!r}: {source!r}}} names {source}, which is no parameter"
        shape = shapes[source].get("of") if shapes[source]["kind"] == "optional" else shapes[source]
        if shape["kind"] not in ("int", "float"):
            return f"consumes={{{name!r}: {source!r}}} needs {source} annotated as a number: `{source}: float`"
    return ""


def _where(function: Callable[..., Any], path: str) -> Tuple[str, int]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (path, 0) if code is None else (code.co_filename, code.co_firstlineno)


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _place(fault: BaseException, path: str) -> Tuple[str, int, str]:
    """File, line and message of what loading raised: the last line of the file itself, or where the syntax is wrong."""
    message = said(fault)
    if isinstance(fault, SyntaxError) and fault.filename:
        return (fault.filename, fault.lineno or 0, f"{type(fault).__name__}: {fault.msg}")
    line = 0
    for frame in traceback.extract_tb(fault.__traceback__):
        if frame.filename == path:
            line = frame.lineno or 0
    if isinstance(fault, SystemExit):
        message = f"the file ends the interpreter ({message}); put that under `if __name__ == '__main__':`"
    return (path, line, message)

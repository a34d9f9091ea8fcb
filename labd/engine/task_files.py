"""Task files: which there are, in which environment each belongs, and which code each holds.

Why the source is looked at before it is run: a file must be imported in the interpreter that its tasks need, and which
that is stands in the file, `@task(env="ot2")`. A file that this Python cannot parse is searched as text; its own
interpreter has the last word.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT = "default"
DECORATORS = frozenset({"task", "flow", "mqtt_task"})
FILES_AT_MOST = 2000
GIT_TIMEOUT_S = 5.0
Snapshot = tuple[tuple[str, int, int, int], ...]
_ENV_IN_TEXT = re.compile(r"""\benv\s*=\s*["']([A-Za-z0-9][\w.-]*)["']""")
_NAME_IN_TEXT = re.compile(r"^\s*(?:async\s+)?def\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A task file or a module: where it is imported and, as far as the text tells, what it offers.

    `names` has environment -> names of tasks; `imports` environment -> top-level packages that are imported there.
    """

    place: str
    is_module: bool
    digest: str = ""
    commit: str | None = None
    names: Mapping[str, tuple[str, ...]] | None = None
    imports: Mapping[str, frozenset[str]] | None = None
    problem: str | None = None

    @property
    def environments(self) -> tuple[str, ...]:
        """Where it is imported first; nowhere if it has no tasks."""
        return tuple(sorted(self.names or ()))


def folders(settings: Iterable[str], environ: Mapping[str, str]) -> list[Path]:
    """The folders of the settings; `~` is the daemon's home, and without one such a folder is left out."""
    home = environ.get("HOME", "")
    found = []
    for text in settings:
        if text.startswith("~"):
            if home:
                found.append(Path(home + text[1:]))
        else:
            found.append(Path(text))
    return found


def paths(places: Iterable[Path]) -> Iterator[Path]:
    """Every `*.py` in the folders and below, sorted; hidden ones are left out."""
    for place in places:
        found = []
        for folder, inner, files in os.walk(place):
            inner[:] = sorted(name for name in inner if not name.startswith((".", "__")))
            found += [Path(folder) / name for name in sorted(files) if name.endswith(".py") and name[0] != "."]
            if len(found) > FILES_AT_MOST:
                break
        yield from found[:FILES_AT_MOST]


def snapshot(places: Iterable[Path]) -> Snapshot:
    """What a cheap look tells of the files: path, time of change, size, inode."""
    return facts_of(map(str, paths(places)))


def facts_of(names: Iterable[str]) -> Snapshot:
    """The same of files by name; one that is gone is left out."""
    seen = []
    for name in names:
        try:
            facts = Path(name).stat()
        except OSError:
            continue
        seen.append((name, facts.st_mtime_ns, facts.st_size, facts.st_ino))
    return tuple(seen)


def read(places: Iterable[Path], modules: Iterable[str]) -> list[Source]:
    """Every task file and module, with what its text tells."""
    sources = [_read_file(path.absolute()) for path in paths(places)]
    for text in modules:
        environment, colon, name = text.rpartition(":")
        sources.append(Source(name, True, names={environment if colon else DEFAULT: ()}))
    return sources


def _read_file(path: Path) -> Source:
    try:
        if open_to_all := next((place for place in (path, path.parent) if place.stat().st_mode & 0o002), None):
            text = f"everybody may write to {open_to_all}, and what is in it runs as labd; `chmod o-w {open_to_all}`"
            return Source(str(path), False, names={DEFAULT: ()}, problem=text)
        content = path.read_bytes()
    except OSError as fault:
        return Source(str(path), False, names={DEFAULT: ()}, problem=f"cannot be read: {fault.strerror}")
    digest = hashlib.sha256(content).hexdigest()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        names, imports = _from_text(content.decode(errors="replace")), dict[str, frozenset[str]]()
    else:
        words, constants = _words(tree), _constants(tree)
        names = _from_tree(tree, words, constants)
        imports = {name: frozenset(_imports(tree, name, words, constants)) for name in names}
    return Source(str(path), False, digest, commit_of(path) if names else None, names, imports)


def _from_text(text: str) -> dict[str, tuple[str, ...]]:
    found = tuple(_NAME_IN_TEXT.findall(text))
    return dict.fromkeys(set(_ENV_IN_TEXT.findall(text)) or {DEFAULT}, found)


def _constants(tree: ast.Module) -> dict[str, object]:
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _words(tree: ast.Module) -> set[str]:
    """Names that mean `@task` in this file."""
    found = set(DECORATORS)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "labd":
            found |= {alias.asname for alias in node.names if alias.name in DECORATORS and alias.asname}
    return found


def _from_tree(tree: ast.Module, words: set[str], constants: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Names of tasks by environment, as far as they are written out."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = _decorated(node, words, constants)
            if given is not None:
                found.setdefault(str(given.get("env") or DEFAULT), []).append(str(given.get("name") or node.name))
        elif isinstance(node, ast.Call) and _word(node.func) in words:
            env = next((_value(key.value, constants) for key in node.keywords if key.arg == "env"), None)
            found.setdefault(str(env or DEFAULT), [])
    return {name: tuple(names) for name, names in found.items()}


def _decorated(node: ast.stmt, words: set[str], constants: Mapping[str, object]) -> dict[str | None, object] | None:
    """What stands in `@task(...)` of a function; None without such a decorator."""
    for decorator in node.decorator_list if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ():
        call = decorator if isinstance(decorator, ast.Call) else None
        if _word(call.func if call else decorator) in words:
            return {} if call is None else {key.arg: _value(key.value, constants) for key in call.keywords}
    return None


def _word(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _value(node: ast.expr, constants: Mapping[str, object]) -> object:
    if isinstance(node, ast.Constant):
        return node.value
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _imports(tree: ast.Module, environment: str, words: set[str], constants: Mapping[str, object]) -> Iterator[str]:
    """Top-level packages that a file needs in one environment: not those inside of another's tasks."""
    for statement in tree.body:
        given = _decorated(statement, words, constants)
        if given is not None and str(given.get("env") or DEFAULT) != environment:
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0]


def commit_of(path: Path) -> str | None:
    """The git commit of the code in a file; `-dirty` behind it if the file has changed since, None without git."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}

    def git(*words: str) -> str | None:
        command = ["git", "--no-optional-locks", "-C", str(path.parent), *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False, env=environ,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if not any((folder / ".git").exists() for folder in path.parents):
        return None
    commit = git("log", "-1", "--format=%H", "--", path.name)
    if not commit:
        return None
    return f"{commit}-dirty" if git("status", "--porcelain", "--", path.name) else commit

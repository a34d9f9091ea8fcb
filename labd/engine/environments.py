"""Environments: the interpreters that tasks run in, and how they are made.

    <state_dir>/env/<name>              a symbolic link to the folder in use
    <state_dir>/env/<name>-<hash>       made from a list of requirements; complete when `labd-env.json` is in it

Why links and hashes: a folder is made under its own name while workers still run in the old one, and one atomic rename
puts it in use. A sync that fails removes what it had begun and leaves the link alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from labd.engine import interpreters
from labd.engine.interpreters import Interpreter
from labd.errors import Conflict, EnvironmentOff, UnknownEnvironment
from labd.settings_types import REMOTE_PYTHON, EnvironmentSettings

RECORD = "labd-env.json"
MAKE_TIMEOUT_S = 1800.0
OUTPUT_LIMIT = 2000
State = Literal["ready", "missing", "outdated", "faulty"]


@dataclass(frozen=True, slots=True)
class EnvironmentView:
    """One environment as people see it; `python` is empty where there is none."""

    name: str
    state: State
    python: str
    version: str
    folder: str
    requires: tuple[str, ...]
    reason: str


class Environments:
    """The environments of the settings.

    Args:
        folder: Such as `<state_dir>/env`.
        environ: Where PATH and HOME come from, and what the makers get.
        tell: Takes a line about what is being done.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, EnvironmentSettings], environ: Mapping[str, str],
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        self.settings = {"default": EnvironmentSettings(), **settings}
        self._folder = folder
        self._environ = environ
        self._tell = tell

    def of(self, name: str) -> EnvironmentSettings:
        """The settings of one.

        Raises:
            UnknownEnvironment: The settings name no such environment.
        """
        if name not in self.settings:
            known = ", ".join(sorted(self.settings))
            raise UnknownEnvironment(
                f"no environment is named {name}; the settings have {known}; add [env.{name}]", environment=name
            )
        return self.settings[name]

    def interpreter(self, name: str) -> Interpreter:
        """The interpreter that tasks of this environment run in; blocks while interpreters are asked.

        Raises:
            UnknownEnvironment: The settings name no such environment.
            EnvironmentOff: It cannot be used; says why and what to do.
        """
        settings = self.of(name)
        if settings.ssh is not None:
            raise EnvironmentOff(
                f"environment {name} is on {settings.ssh}; this needs an interpreter on labd's own host",
                environment=name,
            )
        if name == "default":
            return interpreters.own()
        if settings.requires:
            return self._made(name, settings)
        if settings.python is not None and settings.python.startswith("/"):
            found = interpreters.ask(Path(settings.python))
            if found is None:
                raise EnvironmentOff(
                    f"environment {name}: {settings.python} does not answer as Python 3.8 or later", environment=name
                )
            return found
        return self._fitting(name, settings)

    def _fitting(self, name: str, settings: EnvironmentSettings) -> Interpreter:
        if settings.python is not None and settings.python.startswith("/"):
            found, seen = interpreters.ask(Path(settings.python)), list[Interpreter]()
        else:
            found, seen = interpreters.find(settings.python, self._environ)
        if found is None:
            there = ", ".join(dict.fromkeys(one.version_text for one in seen)) or "none"
            raise EnvironmentOff(
                f"environment {name} needs Python {settings.python}; found here: {there}; install one that fits, "
                f'or say python = "/path" in [env.{name}]',
                environment=name,
            )
        return found

    def _made(self, name: str, settings: EnvironmentSettings) -> Interpreter:
        record = self.record(name)
        if record is None:
            self._fitting(name, settings)  # where none fits, that is the reason
            raise EnvironmentOff(
                f"environment {name} is not made yet; `labd env sync {name}` makes it", environment=name
            )
        path = self._target(name) / "bin" / "python"
        found = interpreters.ask(path)
        if found is None:
            raise EnvironmentOff(
                f"environment {name}: {path} does not answer as Python; `labd env sync --fresh {name}` makes it anew",
                environment=name,
            )
        return found

    def _target(self, name: str) -> Path:
        return self._folder / (self._folder / name).readlink()

    def record(self, name: str) -> dict[str, Any] | None:
        """What was made for a name: requirements, interpreter, tool; None if nothing complete is there."""
        try:
            record: dict[str, Any] = json.loads((self._folder / name / RECORD).read_text())
        except (OSError, ValueError):
            return None
        return record

    def stamp(self, name: str) -> str:
        """Changes when another folder was put in use."""
        with contextlib.suppress(OSError):
            return str((self._folder / name).readlink())
        return ""

    def view(self, name: str) -> EnvironmentView:
        """State of one environment; blocks while its interpreter is asked."""
        settings = self.of(name)
        if settings.ssh is not None:  # whether it can be reached is seen by whoever starts a worker there
            place = f"{settings.python or REMOTE_PYTHON} on {settings.ssh}"
            return EnvironmentView(name, "ready", place, "", "", (), "")
        record = self.record(name) if settings.requires else None
        folder = str(self._target(name)) if record is not None else ""
        try:
            found = self.interpreter(name)
        except EnvironmentOff as fault:
            missing = bool(settings.requires) and record is None
            state: State = "missing" if missing else "faulty"
            return EnvironmentView(name, state, "", "", folder, settings.requires, fault.message)
        state, reason = "ready", ""
        if record is not None and tuple(record["requires"]) != settings.requires:
            state = "outdated"
            reason = f"made from another list of requirements; `labd env sync {name}` makes it anew, it works meanwhile"
        return EnvironmentView(name, state, str(found.path), found.version_text, folder, settings.requires, reason)

    def sync(self, name: str, fresh: bool = False) -> EnvironmentView:
        """Make the environment where it is not there or not as the settings want it, and put it in use.

        Blocks for as long as the installation takes. What was in use stays in use if it fails.

        Args:
            fresh: Make it anew even if nothing changed, for requirements without a version.

        Raises:
            EnvironmentOff: No interpreter fits, or the installation failed; with the end of its output.
            Conflict: Another sync of it is going on.
        """
        settings = self.of(name)
        if not settings.requires:
            return self.view(name)
        with self._lock(name):
            python = self._fitting(name, settings)
            key = json.dumps([sorted(settings.requires), str(python.path.resolve()), python.version])
            target = f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
            if (self._folder / target / RECORD).exists():
                if not fresh:
                    self._use(name, target)
                    return self.view(name)
                target = next(
                    f"{target}-{n}" for n in range(2, 10_000) if not (self._folder / f"{target}-{n}").exists()
                )
            self._make(name, self._folder / target, python, settings)
            before = self.stamp(name)
            self._use(name, target)
            self._clean(name, {target, before})
        return self.view(name)

    def _make(self, name: str, folder: Path, python: Interpreter, settings: EnvironmentSettings) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what a sync that was killed had begun
        uv = interpreters.find_uv(self._environ)
        made = folder / "bin" / "python"
        if uv is not None:
            steps = [
                [str(uv), "venv", "--quiet", "--no-project", "--python", str(python.path), str(folder)],
                [str(uv), "pip", "install", "--quiet", "--python", str(made), *settings.requires],
            ]
        else:
            steps = [
                [str(python.path), "-I", "-m", "venv", str(folder)],
                [str(made), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *settings.requires],
            ]
        tool = "uv" if uv is not None else "venv and pip"
        self._tell(f"{name}: Python {python.version_text} ({python.path}), {', '.join(settings.requires)}, with {tool}")
        try:
            for step in steps:
                self._call(name, step)
        except EnvironmentOff:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        record = {
            "requires": settings.requires,
            "python": str(python.path),
            "version": python.version_text,
            "tool": tool,
        }
        (folder / RECORD).write_text(json.dumps(record))

    def _call(self, name: str, command: list[str]) -> None:
        environ = {key: value for key, value in self._environ.items() if key not in ("VIRTUAL_ENV", "PYTHONHOME")}
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environ,
                timeout=MAKE_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as fault:
            raise EnvironmentOff(f"environment {name} could not be made: {fault}", environment=name) from fault
        if done.returncode != 0:
            words = " ".join(command[:3])
            raise EnvironmentOff(
                f"environment {name} could not be made: `{words} ...` ended with {done.returncode}: "
                f"{done.stdout.strip()[-OUTPUT_LIMIT:]}",
                environment=name,
            )

    def _use(self, name: str, target: str) -> None:
        if self.stamp(name) == target:
            return
        fresh = self._folder / f".{name}.link"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.replace(self._folder / name)

    def _clean(self, name: str, keep: set[str]) -> None:
        """Forget folders from before the last one: workers may still run in that."""
        for path in self._folders(name):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    def _folders(self, name: str) -> list[Path]:
        others = [other for other in self.settings if other.startswith(f"{name}-")]
        return [
            path
            for path in self._folder.glob(f"{name}-*")
            if path.is_dir()
            and not path.is_symlink()
            and not any(path.name.startswith(f"{other}-") for other in others)
        ]

    def remove(self, name: str) -> int:
        """Delete what was made for a name, whether the settings still know it or not; returns how many folders.

        Raises:
            UnknownEnvironment: The settings do not know it, and nothing was made for it.
        """
        if "/" in name or (name not in self.settings and not self._folders(name)):
            known = ", ".join(sorted(self.settings))
            text = f"no environment is named {name}, and none was made for that name; the settings have {known}"
            raise UnknownEnvironment(text, environment=name)
        with self._lock(name):
            folders = self._folders(name)
            (self._folder / name).unlink(missing_ok=True)
            for path in folders:
                shutil.rmtree(path, ignore_errors=True)
            return len(folders)

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f".{name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"environment {name} is being made by another process", environment=name) from None
            yield

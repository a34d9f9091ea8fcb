"""From a bare checkout: make `.venv` with what is needed and go on inside it. Standard library only.

Why so little: this is the only thing in labd that ever installs anything, so it must be readable at a glance. It acts
only in a checkout whose packages are missing; an installed labd is told what to install and left alone. The file parses
on every Python 3 that is still about, so that an old one gets a clear line instead of a traceback.

Interrupted runs: `.venv/labd-making` stands while packages are being put in, `.venv/labd-made.json` is written last.
A folder with the first is thrown away and made anew; one with the second is used as long as `pyproject.toml` asks for
nothing else.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

OLDEST_PYTHON = (3, 11)
GUARD = "LABD_BOOTSTRAPPED"  # set across the exec, so that a .venv that lacks a package cannot loop
OFFLINE_SIGNS = re.compile(
    r"name resolution|name or service not known|failed to (resolve|establish a new connection|lookup address|fetch)|"
    r"dns error|network is unreachable|network connectivity is disabled|network was disabled|error sending request|"
    r"connection refused|connecttimeout|could not connect|tcp connect error|from versions: none",
    re.IGNORECASE,
)


class BootstrapFailed(Exception):
    """The environment could not be made; the message is one line for a person."""


def ensure(argv_module: str, modules: tuple[str, ...]) -> None:
    """Return if everything is importable; otherwise make `.venv` and go on inside it, or end with one clear line.

    Args:
        argv_module: What `python -m` runs, `labd` or `tests`; started again inside `.venv` with the same arguments.
        modules: Import names that must be there before the caller imports anything of a third party.
    """
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(str(part) for part in OLDEST_PYTHON)
        _end(f"needs Python {wanted} or later; {sys.executable} is {sys.version.split()[0]}; start it with a newer one")
    guarded = os.environ.pop(GUARD, "") != ""
    root = Path(__file__).resolve().parent.parent
    absent = missing(modules)
    installed = is_installed()
    if not absent and (installed or not is_checkout(root)):
        return
    inside = Path(sys.prefix).resolve() == (root / ".venv").resolve()
    if not is_checkout(root) or (installed and not inside):
        _end(f"packages are missing: {', '.join(absent)}; install them with: pip install 'labd[all]'")
    if guarded:
        _end(f"{root / '.venv'} lacks {', '.join(absent) or 'labd'} although it was made; delete it and run again")
    try:
        python = make(root, "dev" if argv_module == "tests" else "demo", absent or ["labd itself"])
    except BootstrapFailed as fault:
        _end(str(fault))
    except KeyboardInterrupt:
        _end("interrupted while making .venv; run the same command again", 130)
    os.environ[GUARD] = "1"
    sys.stdout.flush()
    os.execv(str(python), [str(python), "-m", argv_module, *sys.argv[1:]])


def missing(modules: tuple[str, ...]) -> list[str]:
    """The modules that cannot be found, in the given order."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def is_installed() -> bool:
    """Whether labd is a distribution of this interpreter (its entry points are how wings are found).

    Why a look into the folders first: `importlib.metadata` takes longer to import than labd's own command line.
    """
    if any(next(Path(folder or ".").glob("labd-*.dist-info"), None) is not None for folder in sys.path):
        return True
    import importlib.metadata

    try:
        importlib.metadata.distribution("labd")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def is_checkout(root: Path) -> bool:
    """Whether `root` is a source tree of labd, not a folder of installed packages."""
    try:
        text = (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r'^name = "labd"$', text, re.MULTILINE) is not None


def requirements(root: Path, wanted: list[str]) -> list[str]:
    """What these dependency groups ask for, included groups resolved."""
    groups = _project(root)["dependency-groups"]

    def of(name: str) -> list[str]:
        found: list[str] = []
        for entry in groups.get(name, []):
            found += of(entry["include-group"]) if isinstance(entry, dict) else [entry]
        return found

    return sorted({line for group in wanted for line in of(group)})


def fingerprint(root: Path) -> str:
    """Changes whenever the parts of `pyproject.toml` that decide about packages and entry points do."""
    document = _project(root)
    project = document["project"]
    names = ("dependencies", "optional-dependencies", "scripts", "entry-points", "requires-python")
    facts = [str(root), {name: project.get(name) for name in names}, document.get("dependency-groups")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _project(root: Path) -> dict[str, Any]:
    import tomllib  # an old Python must get as far as its clear line

    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def is_made(root: Path, group: str) -> bool:
    """Whether `.venv` has all of the group, as `pyproject.toml` asks for it now."""
    stamp = _stamp(root / ".venv")
    if (root / ".venv" / "labd-making").exists():
        return False
    if stamp.get("fingerprint") != fingerprint(root) or not _works(_python_of(root / ".venv")):
        return False
    return set(requirements(root, [group])) <= set(requirements(root, stamp["groups"]))


def _stamp(folder: Path) -> dict[str, Any]:
    try:
        stamp = json.loads((folder / "labd-made.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make(root: Path, group: str, absent: list[str]) -> Path:
    """Make or complete `.venv`, one run at a time.

    Returns:
        Its interpreter.

    Raises:
        BootstrapFailed: The registry cannot be reached, the folder cannot be written, venv is not there, ...
    """
    folder = root / ".venv"
    lock = _lock(root)
    try:
        if not is_made(root, group):
            uv = shutil.which("uv")
            _say(f"packages are missing ({', '.join(absent)})")
            _say(f"making {folder} with {'uv' if uv else 'venv and pip'}; this happens once and takes a minute or two")
            try:
                _fill(root, folder, group, uv, lock)
            except OSError as fault:
                raise BootstrapFailed(f"cannot write {folder}: {fault.strerror}") from fault
            _say(f"{folder} is ready; going on inside it")
    finally:
        if lock is not None:
            os.close(lock)
    return _python_of(folder)


def _fill(root: Path, folder: Path, group: str, uv: str | None, lock: int | None) -> None:
    python = _python_of(folder)
    making, made = folder / "labd-making", folder / "labd-made.json"
    groups = sorted({group, *_stamp(folder).get("groups", [])})  # a second group joins the first
    if making.exists() or not _works(python) or (uv is None and not _works(python, "-m", "pip", "--version")):
        if folder.exists():
            _say(f"{folder} is only half made; it is made anew")
            shutil.rmtree(folder)
        groups = [group]
        if uv:
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], lock)
        else:
            _run([sys.executable, "-m", "venv", str(folder)], lock)
    making.touch()
    arguments = ["--editable", str(root), *requirements(root, groups)]
    if uv:
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *arguments], lock)
    else:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
        _run([*pip, *arguments], lock)
    made.write_text(json.dumps({"fingerprint": fingerprint(root), "groups": groups}), encoding="utf-8")
    making.unlink()


def _run(command: list[str], lock: int | None) -> None:
    """Run one step; the child holds the lock as well, so that it outlives a killed parent only while it works."""
    keep = () if lock is None else (lock,)
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", pass_fds=keep, check=False)
    if done.returncode == 0:
        return
    said = done.stdout + done.stderr
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if OFFLINE_SIGNS.search(said):
        raise BootstrapFailed(
            "the package registry cannot be reached; connect this machine (or set a mirror) and run again"
        )
    if "ensurepip" in said:
        raise BootstrapFailed(
            "python3 -m venv does not work here; on Debian and Ubuntu: apt install python3-venv (or get uv)"
        )
    last = next((line for line in reversed(lines) if "error" in line.lower()), (lines or ["no output"])[-1])
    raise BootstrapFailed(f"`{' '.join(command[:4])} ...` ended with code {done.returncode}: {last}")


def _lock(root: Path) -> int | None:
    """Lock the checkout's own folder, so that two runs do not meet; None where the platform has no such lock."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _say("another run is making .venv; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _works(python: Path, *arguments: str) -> bool:
    check = arguments or ("-c", f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})")
    try:
        return subprocess.run([str(python), *check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _say(text: str) -> None:
    print(f"labd: {text}", file=sys.stderr, flush=True)


def _end(text: str, code: int = 1) -> None:
    _say(text)
    sys.exit(code)

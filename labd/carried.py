"""What `labd.pyz` runs: `labd`, or `labctl` where it is called so; and, for its own children, any module of the two.

    labd.pyz run | labd.pyz labctl status | ln -s labd.pyz labctl; ./labctl status | python labd.pyz -m labd check

Why `-m`: a child that is started as `python -m labd` finds nothing, the packages being inside the file; it is started
as `python labd.pyz -m labd` instead. Standard library only.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

VARIABLE = "LABD_PYZ"
PROGRAMS = ("labd", "labctl")


def main() -> None:
    """Entry point of the file."""
    program = Path(sys.argv[0])
    os.environ[VARIABLE] = str(program.resolve())
    words = sys.argv[1:]
    if len(words) > 1 and words[0] == "-m" and words[1].split(".")[0] in PROGRAMS:
        _become(words[1], words[2:])
    elif program.name.startswith("labctl"):
        _become("labctl", words)
    elif words[:1] and words[0] in PROGRAMS:
        _become(words[0], words[1:])
    else:
        _become("labd", words)


def _become(module: str, words: list[str]) -> None:
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)

"""An interpreter for `ot2.python` that asks the real opentrons each question once and remembers the answer.

Why: a simulation is a function of what goes in, and its process takes seconds of a core only to import opentrons; tests
of what labd does with the answers ask the same again and again. What is asked, the script and its words make the key;
an answer is kept only if the process ended well. Tests of the simulation itself use `opentrons_env.interpreter()`.

Run as `python -IS simulated_once.py REAL FOLDER [words of the interpreter]`; standard library only.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path


def interpreter(real: Path, folder: Path) -> Path:
    """An executable to be used in place of the real interpreter; it keeps the answers in this folder."""
    answers = folder / "answers"
    answers.mkdir()
    path = folder / "python"
    words = shlex.join([sys.executable, "-IS", str(Path(__file__).resolve()), str(real), str(answers)])
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)
    return path


def main(real: str, answers: str, *words: str) -> int:
    """Answer from the folder, or as the real one does."""
    asked = sys.stdin.buffer.read()
    parts = [*map(os.fsencode, words), Path(words[-1]).read_bytes(), asked]
    kept = Path(answers) / hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    if kept.exists():
        sys.stdout.buffer.write(kept.read_bytes())
        return 0
    done = subprocess.run([real, *words], input=asked, stdout=subprocess.PIPE, check=False)
    sys.stdout.buffer.write(done.stdout)
    if done.returncode == 0:
        with tempfile.NamedTemporaryFile(dir=answers, delete=False) as file:
            file.write(done.stdout)
        Path(file.name).rename(kept)  # two that ask the same at once write the same
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

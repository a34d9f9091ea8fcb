"""Tasks of a lab as the chaos test has it; what a body did stands in a file outside the state folder.

Why a line by one `write` to a file opened for appending: a kill -9 of this process cannot take it back.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from labd import ask, call, consume, current_job_id, log, progress, task

_pause = threading.Event()


def tell(kind: str, key: str, **facts: Any) -> None:
    """One line of the trace."""
    line = {"kind": kind, "key": key, "job": current_job_id(), "pid": os.getpid(), "mono": time.monotonic(), **facts}
    file = os.open(os.environ["CHAOS_TRACE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


@task(retries=3, retry_delay_s=0.1)
def echo(key: str, duration_s: float = 0.0) -> str:
    """Repeatable: waits and gives its key back."""
    tell("start", key)
    log(f"echo {key}")
    _pause.wait(duration_s)
    tell("end", key)
    return key


@task(effect="physical", bounds={"pieces": (1, 10)}, consumes={"red": "red", "yellow": "yellow"})
def draw(key: str, red: float, yellow: float, pieces: int = 2) -> float:
    """Physical: draws both paints in so many pieces, each debited before it moves."""
    tell("start", key)
    for piece in range(pieces):
        for name, volume_ul in (("red", red / pieces), ("yellow", yellow / pieces)):
            consume({name: volume_ul})
            tell("drew", key, reservoir=name, volume_ul=volume_ul)
        progress(piece + 1, pieces, "drawn")
        _pause.wait(0.01)
    tell("end", key)
    return red + yellow


@task(effect="physical", resources=["shaker"])
def shake(key: str, duration_s: float = 0.05) -> str:
    """Physical, and one at a time."""
    tell("start", key)
    _pause.wait(duration_s)
    tell("end", key)
    return key


@task(retries=3, retry_delay_s=0.1)
def series(key: str, count: int = 2) -> list:
    """Repeatable, with children and a question between them; steps that were done are not done again."""
    tell("start", key)
    first = call.many([("echo", {"key": f"{key}.{number}"}) for number in range(count)])
    word = ask("Go on?", choices=["yes", "no"])
    last = call("shake", key=f"{key}.shake", duration_s=0.0) if word == "yes" else "none"
    tell("end", key)
    return [*first, word, last]

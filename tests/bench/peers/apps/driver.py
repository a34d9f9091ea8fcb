"""The client of one peer, run by the peer's own interpreter: takes orders as JSON lines, answers with what it measured.

    python driver.py APP        # a module beside this one, such as `huey_app`

Standard library only: it runs in environments that have the peer and nothing else. Why one driver for all: every peer
is measured by the same lines, and only the calls that its own documents tell to make stand in its app.

An app has `enqueue(count)` (its bulk call, where there is one), `enqueue_one()`, `done()` (how many no-ops have a
result where results are kept), `submit_stamp()`, `submit_hold(seconds)`, `state(handle)`, and may have `warm()`.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

LOOK_S = 0.004
LIMIT_S = 600.0
FIRST_S = 60.0


class Stamps:
    """What the bodies tell: a datagram each, a word and the nanoseconds of CLOCK_MONOTONIC of their first line."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        Path(path).chmod(0o666)

    def next(self, word: str, limit_s: float) -> int | None:
        """When the next body of this word began; None where none begins in time."""
        deadline = time.monotonic() + limit_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left_s)
            try:
                told, at = self._socket.recv(100).decode().split()
            except TimeoutError:
                return None
            if told == word:
                return int(at)
        return None


class Driver:
    """The orders."""

    def __init__(self, app, stamps: Stamps) -> None:
        self._app = app
        self._stamps = stamps

    def first(self) -> dict:
        """One job as soon as the peer takes it, to its result."""
        deadline = time.monotonic() + FIRST_S
        while True:
            try:
                handle = self._app.submit_stamp()
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)
        began = self._began(handle)
        self._until_ended(handle)
        return {"body_at": began / 1e9, "result_at": time.monotonic()}

    def _began(self, handle) -> int:
        if hasattr(self._app, "began_ns"):
            return self._app.began_ns(handle)
        at = self._stamps.next("stamp", LIMIT_S)
        if at is None:
            raise RuntimeError(f"no body began within {LIMIT_S:.0f} s")
        return at

    def _until_ended(self, handle) -> None:
        self._until(lambda: self._app.state(handle) in self._app.ENDED)

    def _until(self, holds) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise RuntimeError(f"not done within {LIMIT_S:.0f} s")
            time.sleep(LOOK_S)

    def enqueue(self, count: int, singly: bool = False) -> dict:
        """So many no-ops; returns when all are accepted."""
        begin = time.monotonic()
        if singly:
            for _ in range(count):
                self._app.enqueue_one()
        else:
            self._app.enqueue(count)
        return {"seconds": time.monotonic() - begin, "count": count}

    def run(self, count: int) -> dict:
        """So many no-ops, from the first submission until the last result is where results are kept."""
        before = self._app.done()
        begin = time.monotonic()
        self._app.enqueue(count)
        accepted = time.monotonic()
        self._until(lambda: self._app.done() >= before + count)
        return {"seconds": time.monotonic() - begin, "accepted_s": accepted - begin, "count": count}

    def until_done(self, count: int) -> dict:
        """Wait until so many no-ops have a result at all."""
        self._until(lambda: self._app.done() >= count)
        return {"done": self._app.done()}

    def latency(self, count: int, limit_s: float, pause_s: float) -> dict:
        """One job at a time, with pauses that are no multiple of anybody's polling interval."""
        pause = random.Random(1)
        deadline = time.monotonic() + limit_s
        found: list = []
        while len(found) < count and (time.monotonic() < deadline or len(found) < 5):
            time.sleep(pause.uniform(0.5, 1.5) * pause_s)
            begin = time.monotonic_ns()
            handle = self._app.submit_stamp()
            found.append((self._began(handle) - begin) / 1e9)
            self._until_ended(handle)
        return {"starts_s": found}

    def hold(self, seconds: float) -> dict:
        """A job that takes its time; answers when its body has begun."""
        self._handle = self._app.submit_hold(seconds)
        return {"began": self._stamps.next("hold", 60.0) is not None}

    def watch(self, limit_s: float) -> dict:
        """After the kill and the restart: whether the body begins again, and what the peer says of the job."""
        begin = time.monotonic()
        again_s = None
        states: list = []
        while time.monotonic() - begin < limit_s:
            if self._stamps.next("hold", 0.5) is not None and again_s is None:
                again_s = time.monotonic() - begin
            try:
                state = str(self._app.state(self._handle))
            except Exception as fault:
                state = type(fault).__name__
            if not states or states[-1] != state:
                states.append(state)
            if state in self._app.ENDED:
                break
        return {"again_s": again_s, "states": states, "watched_s": time.monotonic() - begin}

    def calls(self, count: int) -> dict:
        """Task calls recorded inside one flow, for peers that have such a thing."""
        return self._app.calls(count)


def main() -> None:
    """Serve orders until standard input ends."""
    app = importlib.import_module(sys.argv[1])
    driver = Driver(app, Stamps(os.environ["PEERS_STAMPS"]))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what peers print goes to the log
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(driver, order.pop("do"))(**order)
        except Exception as fault:
            answer = {"failed": f"{type(fault).__name__}: {fault}"}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()

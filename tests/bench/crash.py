"""kill -9 in a loop at random moments, under load, with an independent check of every promise after each.

Clients submit no-ops, repeatable and physical jobs under idempotency keys, move the carousel, stop and reset it; the
virtual bus is a process of its own and outlives every daemon. What was asked and not acknowledged is asked again with
the same key after the restart. The seed is printed; the exit code is 1 if a promise was broken.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.bench.checker import Checker, Ledger
from tests.bench.daemon import Daemon, Simulator
from tests.bench.raw_http import JOBS_PATH, STATUS_PATH, Caller
from tests.bench.report import Report, arguments, say, summary, work_folder

SETTINGS = "[queue.standard]\nconcurrency = 32\n"
LONGEST_LIFE_S = 0.8
KILLED_AT_START = 0.15
RESIDUE_STEPS = 8  # apart: every move has a goal of its own, which the bus' record can be searched for
END_S = 60.0


class Clients:
    """What people and programs do to the daemon until it dies under them.

    Args:
        ledger: What was asked and acknowledged; outlives the daemons.
        moves: Whether to use the carousel.
    """

    def __init__(self, socket: Path, ledger: Ledger, seed: int, moves: bool) -> None:
        self._socket = socket
        self._ledger = ledger
        self._dice = random.Random(seed)
        self._moves = moves
        self._residue = 0
        self._number = 0
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.problems: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._ended.clear()
        work = [self._submit, *([self._turn] if self._moves else [])]
        self._threads = [threading.Thread(target=self._guarded, args=(each,), daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all have noticed that the daemon is gone."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30.0)

    def _guarded(self, work: Any) -> None:
        try:
            with Caller(self._socket) as caller:
                while not self._ended.is_set():
                    work(caller)
        except (ConnectionError, OSError):
            return  # killed, as it should be
        except Exception as fault:
            self.problems.append(f"a client: {type(fault).__name__}: {fault}")

    # -- jobs --------------------------------------------------------------------------------------------------------

    def ask_again(self) -> None:
        """What was asked and never answered, with its key, in one list."""
        open_keys = [key for key in self._ledger.asked if key not in self._ledger.acknowledged]
        with Caller(self._socket) as caller:
            for key in open_keys:
                self._ask(caller, {key: self._ledger.asked[key]})

    def _submit(self, caller: Caller) -> None:
        count = self._dice.choice((1, 1, 1, 1, 1, 1, 1, 10))
        self._ask(caller, dict(self._fresh() for _ in range(count)))
        self._ended.wait(self._dice.uniform(0.0, 0.01))

    def _fresh(self) -> tuple[str, dict[str, Any]]:
        self._number += 1
        task = self._dice.choice(("test.noop", "test.sleep", "test.sleep", "test.physical"))
        args: dict[str, Any] = {} if task == "test.noop" else {"duration_s": round(self._dice.uniform(0.0, 0.3), 3)}
        if task == "test.physical" and self._dice.random() < 0.5:
            args["resource"] = self._dice.choice(("bench:left", "bench:right"))
        return f"key-{self._number}", {"task": task, "args": args}

    def _ask(self, caller: Caller, wanted: dict[str, dict[str, Any]]) -> None:
        self._ledger.asked.update(wanted)
        bodies = [{**each, "idempotency_key": key} for key, each in wanted.items()]
        status, answer = caller.ask("POST", JOBS_PATH, bodies if len(bodies) > 1 else bodies[0])
        if status == 412 and bodies[0]["task"].startswith("resort."):
            del self._ledger.asked[bodies[0]["idempotency_key"]]  # refused: not allowed right now
            return
        if status not in (200, 201):
            raise RuntimeError(f"a submission was answered {status}: {answer}")
        for job in answer["jobs"] if len(bodies) > 1 else [answer]:
            self._ledger.acknowledged[job["idempotency_key"]] = job["id"]

    # -- the carousel ------------------------------------------------------------------------------------------------

    def _turn(self, caller: Caller) -> None:
        ledger = self._ledger
        status = caller.get(STATUS_PATH)
        if status["stop_latched"]:
            if self._dice.random() < 0.3:
                asked_at = time.monotonic()
                ledger.latched = None
                code, _ = caller.ask("POST", "/api/v1/resort/reset", {"by": "bench", "reason": "goes on"})
                if code == 200:
                    ledger.latched = False
                    ledger.latch_spans[-1][1] = asked_at
                else:
                    ledger.latched = True  # refused while the stop is not confirmed yet
        elif self._dice.random() < 0.2:
            ledger.latched = None
            code, answer = caller.ask("POST", "/api/v1/resort/stop", {"reason": "bench"})
            if code == 200 and answer["latched_durably"]:
                ledger.latched = True
                ledger.latch_spans.append([time.monotonic(), float("inf")])
        elif "move_to_angle" in status["allowed_actions"] and self._residue < 4096 - RESIDUE_STEPS:
            self._residue += RESIDUE_STEPS
            step = self._residue * 7 % 4096
            key = f"move-{step}"
            self._ask(caller, {key: {"task": "resort.move_to_angle", "args": {"degrees": step * 360 / 4096}}})
        self._ended.wait(self._dice.uniform(0.01, 0.1))


def run_rounds(folder: Path, rounds: int, seed: int, *, moves: bool = True) -> tuple[list[str], dict[str, Any]]:
    """Kill so many daemons; every broken promise as a line (empty: all kept), and figures."""
    if not moves:
        return _rounds(folder, rounds, seed, None)
    with Simulator(folder) as simulator:
        return _rounds(folder, rounds, seed, simulator)


def _rounds(folder: Path, rounds: int, seed: int, simulator: Simulator | None) -> tuple[list[str], dict[str, Any]]:
    dice = random.Random(seed)
    motor = "" if simulator is None else simulator.settings(speed=20.0)
    daemon = Daemon(folder, SETTINGS + motor)
    ledger = Ledger()
    clients = Clients(daemon.socket, ledger, seed + 1, simulator is not None)
    checker = Checker(daemon.database, daemon.trace, None if simulator is None else simulator.record)
    problems: list[str] = []
    ready: list[float] = []
    try:
        for number in range(1, rounds + 1):
            daemon.spawn()
            if number > 1 and dice.random() < KILLED_AT_START:
                time.sleep(dice.uniform(0.0, 1.2))
                daemon.kill()
                found = checker.after_kill(ledger)
            else:
                ready.append(daemon.wait_ready())
                found = checker.after_restart(ledger, daemon.started_at, _latched(daemon, ledger, simulator))
                clients.ask_again()
                clients.start()
                time.sleep(dice.uniform(0.0, LONGEST_LIFE_S))
                daemon.kill()
                clients.join()
                found += checker.after_kill(ledger)
            problems += [f"round {number}: {each}" for each in (*found, *clients.problems)]
            clients.problems.clear()
            if number % 10 == 0:
                say(f"{number} rounds, {len(ledger.acknowledged)} jobs acknowledged, {len(problems)} promises broken")
        ready.append(daemon.start().ready_s)
        problems += checker.after_restart(ledger, daemon.started_at, _latched(daemon, ledger, simulator))
        clients.ask_again()
        _let_all_end(daemon)
        daemon.end()
        problems += checker.at_end(ledger)
    finally:
        daemon.kill()
    return problems, {**checker.figures, "start_to_ready_s": summary(ready)}


def _latched(daemon: Daemon, ledger: Ledger, simulator: Simulator | None) -> bool | None:
    """What the daemon says of the latch; where the clients do not know, they learn it here."""
    if simulator is None:
        return None
    with Caller(daemon.socket) as caller:
        latched = bool(caller.get(STATUS_PATH)["stop_latched"])
    if ledger.latched is None:
        ledger.latched = latched
        if latched and (not ledger.latch_spans or ledger.latch_spans[-1][1] != float("inf")):
            ledger.latch_spans.append([time.monotonic(), float("inf")])
        if not latched and ledger.latch_spans and ledger.latch_spans[-1][1] == float("inf"):
            ledger.latch_spans[-1][1] = ledger.latch_spans[-1][
                0
            ]  # the answer to its reset was cut off: nothing to hold
    return latched


def _let_all_end(daemon: Daemon) -> None:
    """Until nothing runs and nothing waits but what is held for a person."""
    deadline = time.monotonic() + END_S
    with Caller(daemon.socket) as caller:
        while time.monotonic() < deadline:
            found = caller.get("/api/v1/status")
            waiting = sum(queue["queued"] - queue["held"] for queue in found["queues"])
            latched = caller.ask("GET", STATUS_PATH)
            if latched[0] == 200 and latched[1]["stop_latched"]:
                caller.ask("POST", "/api/v1/resort/reset", {"by": "bench", "reason": "end"})
            if not waiting and not any(queue["running"] for queue in found["queues"]):
                return
            time.sleep(0.1)
    say(f"after {END_S:.0f} s there is still something: {found['jobs']}")


def main() -> int:
    """Print the report."""
    given = arguments("crash", rounds=0, seed=random.SystemRandom().randrange(2**31))
    rounds = given.rounds or (20 if given.short else 200)
    say(f"seed {given.seed}")
    report = Report("crash", given.short)
    with work_folder(given.folder) as folder:
        problems, figures = run_rounds(folder, rounds, given.seed)
    report.figures |= {"seed": given.seed, **figures, "problems": problems[:20]}
    report.ratios["promises_broken_per_round"] = len(problems) / rounds
    report.goal("promises_broken", len(problems), at_most=0)
    report.print()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

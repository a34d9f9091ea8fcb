"""From the request of a stop to the torque-off bytes on the wire, while the daemon has a lot else to do.

A 20 s move is under way on a virtual bus in a process of its own; eight clients poll the carousel's status and 200 jobs
a second are submitted. Each round presses stop at a moment of its own, then resets. What counts is the moment in the
virtual bus' own record (CLOCK_MONOTONIC, shared by all processes) at which the first frame arrived that writes Torque
Enable 0, minus the moment just before the request was sent.
"""

from __future__ import annotations

import bisect
import json
import random
import time
from pathlib import Path
from typing import Any

from tests.bench.daemon import Daemon, Simulator
from tests.bench.load import Noise
from tests.bench.raw_http import JOBS_PATH, STATUS_PATH, Caller, request
from tests.bench.report import Report, arguments, say, summary, work_folder

SPEED_RPM = 1.5  # half a turn takes 20 s
STOP = request("POST", "/api/v1/resort/stop", b'{"reason":"bench"}')
READY_S = 15.0
SELF_CONNECTING_S = 0.5


def make_ready(caller: Caller) -> tuple[float, bool]:
    """Wait until the carousel may move; its position, and whether it had to be connected by hand.

    Why by hand: after a reset labd puts torque on by itself. Where it does not, a person would connect; the bench does
    so too, and the figures tell how often.
    """
    by_hand = False
    begin = time.monotonic()
    while True:
        status = dict(caller.get(STATUS_PATH))
        if status["connected"] and status["torque_enabled"] and not status["moving"] and not status["stop_latched"]:
            return status["position_deg"], by_hand
        waited_s = time.monotonic() - begin
        if waited_s > SELF_CONNECTING_S and not by_hand and "connect" in status["allowed_actions"]:
            by_hand = True
            caller.post(JOBS_PATH, {"task": "resort.connect"})
        if waited_s > READY_S:
            raise RuntimeError(f"the carousel was not ready within {READY_S:.0f} s: {status}")
        time.sleep(0.02)


def begin_move(caller: Caller, position_deg: float, **options: Any) -> bool:
    """Send it half around, which takes 20 s, and wait until it turns; False where the job failed at once.

    Args:
        options: More fields of the submission.

    Raises:
        RuntimeError: It neither turns nor fails; has the job and its `why`.
    """
    args = {"degrees": (position_deg + 179.0) % 360}
    job = caller.post(JOBS_PATH, {"task": "resort.move_to_angle", "args": args, **options})
    where = f"{JOBS_PATH}/{job['id']}"
    deadline = time.monotonic() + READY_S
    while not caller.get(STATUS_PATH)["moving"]:
        if caller.get(where)["state"] == "failed":
            return False
        if time.monotonic() > deadline:
            raise RuntimeError(f"it does not move: {caller.get(where)}, {caller.get(where + '/why')}")
        time.sleep(0.02)
    return True


def press(caller: Caller, dice: random.Random) -> tuple[float, float, dict[str, Any]]:
    """One round: a move under way, stop, reset.

    Returns:
        When it was pressed (monotonic seconds), how long the answer took, the answer.
    """
    position_deg, by_hand = make_ready(caller)
    refused = 0
    while not begin_move(caller, position_deg):
        refused += 1
        if refused == 5:
            raise RuntimeError("five moves in a row were accepted and failed at once")
        position_deg, again = make_ready(caller)
        by_hand = by_hand or again
    time.sleep(dice.uniform(0.0, 0.1))
    pressed = time.monotonic()
    caller.send(STOP)
    code, body = caller.receive()
    answer_s = time.monotonic() - pressed
    answer = json.loads(body)
    if code != 200:
        raise RuntimeError(f"the stop was answered {code}: {answer}")
    deadline = time.monotonic() + READY_S
    while True:
        code, found = caller.ask("POST", "/api/v1/resort/reset", {"by": "bench", "reason": "next round"})
        if code == 200:
            return pressed, answer_s, {**answer, "connected_by_hand": by_hand, "refused": refused}
        if time.monotonic() > deadline:
            raise RuntimeError(f"the reset was answered {code}: {found}")
        time.sleep(0.05)


def torque_off_moments(record: Path) -> list[float]:
    """When frames arrived at the motor that write Torque Enable 0, monotonic seconds, in order."""
    found = []
    with record.open() as lines:
        for line in lines:
            if '"torque_enable"' not in line:
                continue
            fact = json.loads(line)
            if fact["kind"] == "frame" and fact["direction"] == "rx":
                writes = [write for write in fact.get("writes", ()) if write["register"] == "torque_enable"]
                if any(write["value"] == 0 for write in writes):
                    found.append(fact["mono"])
    return sorted(found)


def on_wire_s(pressed: list[float], moments: list[float]) -> list[float]:
    """For each press the time to the next torque-off frame; infinite where none follows before the next press."""
    found = []
    for number, at in enumerate(pressed):
        place = bisect.bisect_left(moments, at)
        until = pressed[number + 1] if number + 1 < len(pressed) else float("inf")
        after = moments[place] if place < len(moments) else float("inf")
        found.append(after - at if after < until else float("inf"))
    return found


def main() -> None:
    """Print the report."""
    given = arguments("stop", stops=0, seed=random.SystemRandom().randrange(2**31))
    stops = given.stops or (50 if given.short else 1000)
    say(f"seed {given.seed}")
    dice = random.Random(given.seed)
    report = Report("stop", given.short)
    pressed: list[float] = []
    answers: list[float] = []
    facts: list[dict[str, Any]] = []
    with work_folder(given.folder) as folder, Simulator(folder) as simulator:
        daemon = Daemon(folder, simulator.settings(speed=SPEED_RPM))
        with daemon, Caller(daemon.socket) as caller, Noise(daemon.socket) as noise:
            for number in range(stops):
                at, answer_s, answer = press(caller, dice)
                pressed.append(at)
                answers.append(answer_s)
                facts.append(answer)
                if (number + 1) % 50 == 0:
                    say(f"{number + 1} stops")
        wire_ms = [each * 1000 for each in on_wire_s(pressed, torque_off_moments(simulator.record))]
    quiet = [fact["wire_ms"] for fact in facts if fact["wire_ms"] is not None]
    report.figures |= {
        "stops": stops, "seed": given.seed, "stop_to_wire_ms": summary(wire_ms),
        "stop_to_answer_ms": summary([each * 1000 for each in answers]),
        "daemon_own_wire_ms": summary(quiet) if quiet else None,
        "confirmed": sum(bool(fact["confirmed"]) for fact in facts),
        "latched_durably": sum(bool(fact["latched_durably"]) for fact in facts),
        "moves_that_failed_at_once": sum(fact["refused"] for fact in facts),
        "resets_without_torque": sum(fact["connected_by_hand"] for fact in facts),
        "noise": noise.result,
    }  # fmt: skip
    report.ratios["stops_confirmed"] = report.figures["confirmed"] / stops
    report.goal("stop_to_wire_p99_ms", report.figures["stop_to_wire_ms"]["p99"], at_most=50.0)
    report.goal("stops_confirmed", report.ratios["stops_confirmed"], at_least=1.0)
    report.print()


if __name__ == "__main__":
    main()

"""The Plate Resort seed's own sequence and prompt, word for word."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios

from tests.acceptance.processes import ROOT, Bus, Daemon, script
from tests.acceptance.waiting import eventually

SEQUENCE = """
from labctl import orchestrator
for hotel in ("A", "D"):
    run = orchestrator.activate_hotel(hotel)
    state = orchestrator.wait(run)
    print(hotel, state.type, state.result()["hotel"])
print(orchestrator.wait(orchestrator.get_current_position()).result()["hotel"])
"""


def test_activate_a_wait_activate_d_through_the_orchestrator(carousel: Daemon, bus: Bus) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEQUENCE], env=carousel.labctl.env, cwd=ROOT, capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["A", "COMPLETED", "A", "D", "COMPLETED", "D", "D"]), done
    assert bus.servo()["position"] in range(-1024 - 12, -1024 + 12)  # a quarter back, not three quarters on


def test_the_prompt_takes_the_words_of_the_seed(carousel: Daemon, bus: Bus) -> None:
    lines = "connect\nactivate D\nposition\nhelp\nstop\nreset --by ada --reason test\ndisconnect\nexit\nactivate B\n"
    code, out, err = carousel.labctl("shell", stdin=lines)
    assert code == 0, out + err
    assert "connect | activate <A|B|C|D> | position | stop | disconnect | help | exit" in out
    assert "hotel: D" in out and "STOPPED" in out
    assert not bus.servo()["torque"]
    assert "hotel: B" not in out  # nothing behind `exit`


def test_the_prompt_on_a_terminal_completes_words_and_remembers_lines(carousel: Daemon) -> None:
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 120))
    process = subprocess.Popen(
        [*script("labctl"), "shell"], env={**carousel.labctl.env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        cwd=ROOT, stdin=child, stdout=child, stderr=child, start_new_session=True,
    )  # fmt: skip
    os.close(child)
    shown = b""

    def shows(text: bytes, times: int = 1) -> bool:
        nonlocal shown
        while select.select([parent], [], [], 0)[0]:
            shown += os.read(parent, 65536)
        return shown.count(text) >= times

    try:
        eventually(lambda: shows(b"labctl>"), 10.0, "the prompt")
        known = shown.count(b"tion")
        os.write(parent, b"posi\t")
        eventually(lambda: shows(b"tion", known + 1), 10.0, "a completed word")
        os.write(parent, b"\r")
        eventually(lambda: shows(b"(hotel A)"), 10.0, "a position")
        os.write(parent, b"\x1b[A\r")  # the line before
        eventually(lambda: shows(b"(hotel A)", 2), 10.0, "the position once more")
        os.write(parent, b"exit\r")
        assert process.wait(10.0) == 0
    finally:
        process.kill()
        process.wait()
        os.close(parent)
    history = carousel.folder / "home" / ".local" / "state" / "labd" / "labctl_history"
    assert "position" in history.read_text()


def test_a_failed_line_at_the_prompt_is_the_exit_code_of_a_piped_shell(carousel: Daemon) -> None:
    assert carousel.labctl("shell", stdin="position\nactivate Z\nposition\n")[0] != 0


def test_resort_status_has_the_seven_keys(carousel: Daemon, bus: Bus) -> None:
    carousel.labctl.ok("resort", "activate", "B")
    status = carousel.labctl.json("resort", "status")
    wanted = {"connected": True, "position_deg": 90.0, "active_hotel": "B", "moving": False, "torque_enabled": True,
              "stop_latched": False, "driver": "dynamixel"}  # fmt: skip
    assert {key: status[key] for key in wanted} == {**wanted, "position_deg": status["position_deg"]}
    assert abs(status["position_deg"] - 90.0) < 1.0
    assert json.loads(bus.record.with_name("bus.jsonl.state.json").read_text())["servos"][0]["torque"] is True

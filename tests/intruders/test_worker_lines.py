"""A worker that lies, floods or speaks rubbish ends its own job and nothing else; the child bears a broken line too."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labd.engine.job import JobState
from labd.engine.worker_messages import Message, decode
from labd.errors import EnvironmentOff
from labd.settings_types import EnvironmentSettings
from labd.worker.channel import ChannelFault, Lines
from tests.fakes.task_house import TaskHouse, task_house
from tests.intruders.hostile_task import TASKS

LOOP_STALL_S = 0.5  # far above what one piece of a flood costs, far below a loop that is held
FIRST_RUNS = range(1, 30)


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[TaskHouse]:
    async with task_house(state_dir, TASKS, {"default": EnvironmentSettings(grace_s=0.3, size=2)}) as opened:
        yield opened


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def nested(depth: int) -> bytes:
    return b"".join(
        b'{"type":"done","run":%d,"result":' % number + b"[" * depth + b"]" * depth + b"}\n" for number in FIRST_RUNS
    )


async def still_well(house: TaskHouse) -> None:
    job = await house.run("whole", value=7)
    assert (job.state, job.result) == (JobState.SUCCEEDED, 7)
    said = [text for text in await house.lines(job) if not text.startswith("waits for a worker")]
    assert said == ["a line of the next"]


BROKEN = {
    "no JSON": b"rubbish\n",
    "not UTF-8": b'{"type":"\xff\xfe"}\n',
    "an array": b"[1, 2]\n",
    "empty line": b"\n",
    "nested without end": b'{"type":"done","result":' + b"[" * 100_000 + b"\n",
    "nested": b'{"type":"done","result":' + b"[" * 5000 + b"]" * 5000 + b"}\n",
    "half a surrogate": b'{"type":"log","text":"\\ud800"}\n',
    "no number": b'{"type":"progress","done":NaN}\n',
    "a number of 5,000 digits": b'{"type":"x","run":' + b"9" * 5000 + b"}\n",
    "wrong kind": line(type="log", text=5),
    "volumes that are no table": line(type="consume", volumes_ul=[1]),
    "without end": b"x" * (17 * 2**20),
}


async def test_a_broken_line_ends_the_worker_and_its_job_says_so(house: TaskHouse) -> None:
    for name, line_of_it in BROKEN.items():
        data, times = line_of_it, 1
        if len(data) > 2**20:
            data, times = data[: 2**20], len(data) // 2**20
        job = await house.run("speaks", data=base64.b64encode(data).decode(), times=times, returns=False)
        assert job.error is not None, name
        assert job.error.code == "worker_died", (name, job.error)
        assert "sent" in job.error.message, (name, job.error)
        assert len(job.error.message) < 4000, name
        await still_well(house)


STEP = {"ordinal": 1, "task": "whole", "args": {"value": 1}, "hash": ""}
# What is told for every number of a run, and the states in which the job may end.
LIES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "an end nobody asked for": ({"type": "cancelled"}, {"failed"}),
    "a failure with an endless text": (
        {"type": "failed", "error": {"code": "x", "message": "m" * 3_000_000 + "\0\x1b[2J", "traceback": "t" * 99_999}},
        {"failed"},
    ),
    "a step of a task that is none": ({"type": "suspend", "calls": [{**STEP, "task": "../x"}]}, {"failed"}),
    "more steps than are taken": (
        {"type": "suspend", "calls": [{**STEP, "ordinal": number} for number in range(1500)]},
        {"failed"},
    ),
    "a step with a number beyond any": (
        {"type": "suspend", "calls": [{**STEP, "ordinal": 10**30}]},
        {"failed", "waiting", "queued", "running", "succeeded"},
    ),
    "a log line of a level that is none": ({"type": "log", "level": "\x1b[2J", "text": "a\0b"}, {"succeeded"}),
    "progress beyond every scale": ({"type": "progress", "done": 1e308, "text": "x" * 100_000}, {"succeeded"}),
    "a debit of nothing that is there": (
        {"type": "consume", "ordinal": 10**30, "volumes_ul": {"'; DROP TABLE jobs; --": -1e308}},
        {"succeeded"},
    ),
}
NONSENSE: dict[str, dict[str, Any]] = {
    "an unknown word": {"type": "dance"},
    "ready once more": {"type": "ready", "python": "9.9"},
    "a failure without a reason": {"type": "failed"},
    "a failure of the wrong shape": {"type": "failed", "error": {"code": 5}},
    "steps of the wrong shape": {"type": "suspend", "calls": [{"ordinal": "one"}]},
    "no step at all": {"type": "suspend"},
    "a question of the wrong shape": {"type": "suspend", "ask": {"ordinal": 1}},
}


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_bounded_to_its_own_job(house: TaskHouse, name: str) -> None:
    told, states = LIES[name]
    numbers = FIRST_RUNS if len(json.dumps(told)) < 100_000 else range(1, 4)
    data = b"".join(line(run=number, **told) for number in numbers)
    job = await house.submit("speaks", data=base64.b64encode(data).decode())
    await still_well(house)
    job = await house.engine.wait(job.id, 1.0 if "waiting" in states else 20.0)
    assert str(job.state) in states, job.error
    if job.error is not None:
        assert len(job.error.message) <= 8_000
        assert len(job.error.traceback) <= 20_000
    await still_well(house)


async def test_a_worker_whose_answer_makes_no_sense_is_ended_and_nobody_gets_it(house: TaskHouse) -> None:
    """It is still at work on what it has answered, and the next job would wait behind that for ever."""
    for name, told in NONSENSE.items():
        data = b"".join(line(run=number, **told) for number in range(1, 60))
        job = await house.run("speaks", data=base64.b64encode(data).decode(), returns=False)
        assert job.state is JobState.FAILED, name
        for _ in range(3):
            await still_well(house)


async def test_a_result_nested_deeper_than_later_readers_bear_fails_the_job(house: TaskHouse) -> None:
    job = await house.run("speaks", data=base64.b64encode(nested(400)).decode())
    assert job.error is not None
    assert "nested more than 200 deep" in job.error.message
    await still_well(house)


async def test_debits_without_end_end_the_worker(house: TaskHouse) -> None:
    """What is asked for and never read would fill the daemon's memory."""
    data = b"".join(line(type="consume", run=number, ordinal=1, volumes_ul={"red": 1}) for number in range(1, 4))
    job = await house.run("speaks", data=base64.b64encode(data).decode(), times=20_000, returns=False)
    assert job.error is not None
    assert "debits without end" in job.error.message
    await still_well(house)


async def test_a_physical_job_whose_worker_lies_waits_for_a_person(house: TaskHouse) -> None:
    job = await house.run("moves_and_speaks", data=base64.b64encode(b"rubbish\n").decode())
    assert job.state is JobState.INTERRUPTED
    await still_well(house)


async def test_an_end_that_is_told_for_the_next_run_is_not_believed(house: TaskHouse) -> None:
    """Whoever runs before could otherwise answer for whoever comes after."""
    forged = b"".join(line(type="done", run=number, result="forged") for number in range(2, 200))
    first = await house.run("speaks", data=base64.b64encode(b"\n".join([])).decode())
    assert first.result == "returned"
    job = await house.run("speaks", data=base64.b64encode(forged).decode())
    assert job.result in ("returned", "forged")  # it may lie about itself
    for value in range(5):
        assert (await house.run("whole", value=value)).result == value


@pytest.mark.parametrize("kind", ["log", "progress", "consume", "nothing"])
async def test_a_flood_holds_nobody_up(house: TaskHouse, kind: str) -> None:
    flood = await house.submit("floods", kind=kind, count=200_000)
    longest = await longest_stall(house, flood.id)
    job = await house.ended(flood)
    assert str(job.state) in ("succeeded", "failed")
    assert longest < LOOP_STALL_S, f"the loop was held for {longest:.2f} s"
    await still_well(house)


async def test_a_line_that_drips_in_holds_nobody_up(house: TaskHouse) -> None:
    """Twelve MiB are there, then byte after byte: what is there must not be copied for each."""
    drip = await house.submit("drips", size=12 * 2**20)
    started = time.process_time()
    longest = await longest_stall(house, drip.id)
    assert (await house.ended(drip)).result == "dripped"
    assert longest < LOOP_STALL_S
    assert time.process_time() - started < 5.0
    await still_well(house)


async def test_printing_without_end_keeps_head_and_tail_and_the_answer(house: TaskHouse) -> None:
    job = await house.run("prints", megabytes=32)
    assert job.result == "printed"
    assert sum(map(len, await house.lines(job))) < 2 * 2**20


async def longest_stall(house: TaskHouse, job_id: int) -> float:
    """How long the loop was held at most until the job had ended."""
    longest = 0.0
    waiting = asyncio.ensure_future(house.engine.wait(job_id, 30.0))
    loop = asyncio.get_running_loop()
    while not waiting.done():
        before = loop.time()
        await asyncio.wait({waiting}, timeout=0.005)
        longest = max(longest, loop.time() - before - 0.005)
    await waiting
    return longest


HOSTS = {
    "rubbish": "print('x' * 100)",
    "a word of the relay that is none": "print('{\"relay\": 5}')",
    "output that is no latin-1": 'print(\'{"relay":"output","text":"\\\\u4e2d"}\')',
    "started without end": '[print(\'{"relay":"started","files":"/x","pid":%d}\' % n) for n in range(20000)]',
    "ended with a code beyond any": 'print(\'{"relay":"ended","code":%d}\' % 10**30)',
    "broken after a good start": 'print(\'{"relay":"started","files":"/x","pid":1}\'); print(\'{\')',
    "a greeting without end": "print('y' * (17 * 2**20))",
    "nested": 'print(\'{"relay":"output","text":\' + \'[\' * 100000)',
}


async def test_a_hostile_host_behind_ssh_is_off_and_the_reason_is_told(state_dir: Path) -> None:
    robots, text = {}, TASKS
    for number, (name, words) in enumerate(HOSTS.items()):
        pretender = state_dir / f"ssh{number}"
        pretender.write_text(f"#!{sys.executable}\nimport sys\n{words}\nsys.stdout.flush()\nsys.stdin.read()\n")
        pretender.chmod(0o755)
        robots[f"robot{number}"] = EnvironmentSettings(
            ssh="robot", ssh_command=str(pretender), start_timeout_s=2.0, grace_s=0.3
        )
        text += f'\n@task(env="robot{number}")\ndef there{number}():\n    """{name}"""\n'
    async with task_house(state_dir, text, robots) as house:
        await still_well(house)
        for number, name in enumerate(HOSTS):
            with pytest.raises(EnvironmentOff) as refused:
                await house.submit(f"there{number}")
            assert len(refused.value.message) < 4000, name


@given(st.binary(max_size=400) | st.text(max_size=100).map(lambda text: json.dumps({"type": text}).encode()))
@example(b'{"type":"done","result":' + b"[" * 3000)
@example(b'{"type":"log","text":"\\udfff"}')
def test_any_bytes_are_a_message_or_a_value_error(data: bytes) -> None:
    try:
        message = decode(data)
    except ValueError:
        return
    assert isinstance(message, Message)


@given(st.lists(st.binary(max_size=60) | st.just(b"\n") | st.just(b'{"type":"run"}\n'), max_size=12))
@example([b'{"a":' + b"[" * 100_000, b"\n"])
@example([b'{"a":' + b"9" * 5000 + b"}\n"])
def test_the_child_takes_any_pieces_as_messages_or_says_what_is_wrong(pieces: list[bytes]) -> None:
    lines = Lines()
    found = []
    try:
        for piece in pieces:
            if piece:
                found += list(lines.feed(piece))
    except ChannelFault as fault:
        assert len(str(fault)) < 2000
    assert all(isinstance(message, dict) for message in found)

"""`@task` and its companions in a plain program: functions stay functions, wrong options are told where they stand."""

from __future__ import annotations

import ast
import asyncio
import functools
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import labd
from labd import CallFailed, Cancelled, ask, call, consume, current_job_id, flow, get_run_logger, log, progress, task
from labd.worker import policy

SOURCE = Path(labd.__file__).parent


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    before = list(policy.decorated)
    yield
    policy.decorated[:] = before


def wire_of(function: Any) -> dict[str, Any]:
    return policy.policy_of(function).wire


def test_a_decorated_function_stays_a_plain_function() -> None:
    def mix(r: int, b: int = 2) -> int:
        return r + b

    assert task(mix) is mix
    assert mix(1) == 3
    assert policy.policy_of(mix).name == "mix"


def test_every_option_arrives() -> None:
    @task(
        name="paint.mix", description="Mixes.", queue="high-priority", priority=3, retries=2, retry_delay_s=1.5,
        backoff="fixed", timeout_s=60, effect="repeatable", resources=["ot2:left"], env="ot2", tags=("a", "b"),
        idempotency="mix-{well}", cache_key=True, cache_ttl_s=3600, affinity="ot2", consumes={"red_ml": "R"},
        bounds={"R": (0, 300)},
    )  # fmt: skip
    def mix(well: str, R: int) -> None:  # noqa: N803
        pass

    known = policy.policy_of(mix)
    assert (known.name, known.description, known.bounds) == ("paint.mix", "Mixes.", {"R": (0, 300)})
    assert known.wire == {
        "queue": "high-priority", "priority": 3, "retries": 2, "retry_delay_s": 1.5, "backoff": "fixed",
        "timeout_s": 60, "effect": "repeatable", "resources": ["ot2:left"], "env": "ot2", "tags": ["a", "b"],
        "idempotency": "mix-{well}", "cache_key": True, "cache_ttl_s": 3600, "affinity": "ot2",
        "consumes": {"red_ml": "R"},
    }  # fmt: skip


def test_a_flow_of_prefect_needs_one_changed_import() -> None:
    @task(retries=3, retry_delay_seconds=5, cache_key_fn=labd.task_input_hash, cache_expiration=timedelta(hours=1))
    def unreliable() -> str:
        return "ok"

    @flow(name="mix-colors", log_prints=True, timeout_seconds=60)
    def workflow() -> str:
        get_run_logger().info("starting")
        return unreliable()

    assert workflow() == "ok"
    known = wire_of(unreliable)
    assert (known["retries"], known["retry_delay_s"], known["backoff"]) == (3, 5, "fixed")
    assert (known["cache_key"], known["cache_ttl_s"]) == (True, 3600.0)
    assert wire_of(workflow)["timeout_s"] == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_runner": 1}, "@task knows no option task_runner; it takes affinity, backoff, bounds, cache_key,"),
        ({"retries": -1}, "@task(retries=-1) is out of range: 0 to 1000"),
        ({"retries": "3"}, "@task(retries=...) takes a whole number, not '3'"),
        ({"priority": 10}, "@task(priority=10) is out of range: 0 to 9"),
        ({"timeout_s": 0}, "@task(timeout_s=0) takes more than 0 seconds"),
        ({"retry_delay_s": -1}, "@task(retry_delay_s=-1) takes 0 or more seconds"),
        ({"retry_delay_seconds": [1, 2]}, "@task(retry_delay_s=...) takes a number of seconds, not [1, 2]"),
        ({"retry_delay_seconds": 1, "retry_delay_s": 1}, "@task got retry_delay_s and retry_delay_seconds, which mean"),
        ({"effect": "dangerous"}, "@task(effect='dangerous') is not one of repeatable, physical"),
        ({"resources": "ot2"}, "@task(resources=...) takes a list of names, not 'ot2'"),
        ({"name": "a b"}, "task name 'a b': letters, digits, '_', '.' and '-', a letter first, at most 100 characters"),
        ({"cache_key": "R"}, "@task(cache_key=...) takes True or task_input_hash: the key is the task and its"),
        ({"cache_key": True, "effect": "physical"}, "@task(cache_key=...) cannot go with effect='physical': what"),
        ({"consumes": ["red"]}, "@task(consumes=...) takes a dict, not ['red']"),
        (
            {"consumes": {"red": object}},
            "@task(consumes=...): red takes the name of an argument or a volume in ul, not",
        ),
        (
            {"consumes": {"red": True}},
            "@task(consumes=...): red takes the name of an argument or a volume in ul, not True",
        ),
        ({"consumes": {"red": float("nan")}}, "@task(consumes=...): red takes a volume of 0 ul or more, not nan"),
        ({"consumes": {5: "R"}}, "@task(consumes=...) takes names of reservoirs or colours, not 5"),
        ({"cache_ttl_s": 5}, "@task(cache_ttl_s=...) needs cache_key=True"),
    ],
)
def test_a_wrong_option_is_told_where_it_stands(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        task(**options)
    assert str(raised.value).startswith(message)


def test_only_plain_functions_can_be_tasks() -> None:
    with pytest.raises(TypeError, match=r"the name goes in as @task\(name=\.\.\.\)"):
        task("mix")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="not a class or a method"):

        class Deck:
            @task
            def move(self) -> None:
                pass

    with pytest.raises(TypeError, match=r"needs name=\.\.\."):
        task(functools.partial(print))


def test_a_cached_function_can_be_a_task() -> None:
    @task
    @functools.lru_cache(maxsize=8)
    def computed(x: int) -> int:
        return x * 2

    assert computed(2) == 4
    assert policy.policy_of(computed).name == "computed"


def test_call_outside_of_a_job_runs_the_function_of_this_process() -> None:
    @task
    def add(a: int, b: int = 2) -> int:
        return a + b

    @task
    async def double(a: int) -> int:
        await asyncio.sleep(0)
        return a * 2

    @task
    def fail() -> None:
        raise ValueError("no tips")

    assert call("add", a=1) == 3
    assert call(add, a=1) == 3
    assert call.many([("add", {"a": 5}), (double, {"a": 6})]) == [7, 12]
    with pytest.raises(CallFailed, match="fail: ValueError: no tips") as failure:
        call("fail")
    assert (failure.value.code, failure.value.retryable) == ("task_failed", False)
    with pytest.raises(LookupError, match=r"call\('resort\.home'\) outside of a job: no task of that name is imported"):
        call("resort.home")
    with pytest.raises(TypeError, match="takes the name of a task or a function with @task"):
        call(print)
    with pytest.raises(TypeError, match=r"call\.many\(\) takes pairs such as .*, not 'add'"):
        call.many(["add"])  # type: ignore[list-item]


def test_ask_outside_of_a_job_says_that_nobody_is_there() -> None:
    with pytest.raises(RuntimeError, match=r"ask\('Plate loaded\?'\) has nobody to ask"):
        ask("Plate loaded?", choices=["yes", "no"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"choices": []}, "choices must be a list of different words, not []"),
        ({"choices": ["a", "a"]}, "choices must be a list of different words, not ['a', 'a']"),
        ({"choices": "ab"}, "choices must be a list of different words, not 'ab'"),
        ({"kind": "choice"}, "choices belong to kind 'choice' and only there"),
        ({"kind": "colour"}, "kind 'colour' is not one of choice, number, text, yes_no"),
        ({"kind": "text", "unit": "ul"}, "unit, minimum and maximum belong to kind 'number'"),
        ({"minimum": 5, "maximum": 1}, "minimum 5 is above maximum 1"),
        ({"deadline_s": 0}, "deadline_s=0 must be above 0"),
        ({"on_deadline": "hold"}, "on_deadline='hold' needs deadline_s"),
        ({"on_deadline": "default", "deadline_s": 5}, "on_deadline='default' needs a default"),
        ({"on_deadline": "later"}, "on_deadline 'later' is not one of fail, default, hold"),
        ({"unit": "ul", "maximum": 5, "default": 6}, "the default 6 is no answer to it"),
        ({"choices": ["a"], "default": "b"}, "the default 'b' is no answer to it"),
        ({"kind": "yes_no", "default": "yes"}, "the default 'yes' is no answer to it"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_where_it_stands(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        ask("How much?", **options)
    assert str(raised.value) == f"ask('How much?'): {message}"


def test_consume_outside_of_a_job_checks_its_volumes_and_does_nothing() -> None:
    consume(red=120.0)
    consume({"red": -1, "3/B1": 0}, blue=5)
    asyncio.run(consume.awaited(red=1.0))


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ((), {}, 'consume() needs a volume in ul, such as consume(red=120.0) or consume({"red": 120.0})'),
        (({"red": 1},), {"red": 2}, "consume() got red twice"),
        ((), {"red": "120"}, "consume(red='120') takes a volume in ul, such as 120.0"),
        ((), {"red": True}, "consume(red=True) takes a volume in ul, such as 120.0"),
        ((), {"red": None}, "consume(red=None) takes a volume in ul, such as 120.0"),
        ((), {"red": float("nan")}, "consume(red=nan) takes a finite volume in ul"),
        (({"": 1.0},), {}, "consume() takes names of reservoirs or colours, not ''"),
    ],
)
def test_what_is_no_volume_is_told_before_anything_moves(given: Any, named: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        consume(*given, **named)
    assert str(raised.value) == message


def test_log_and_progress_outside_of_a_job_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log("a line", "warning")
    progress(3, 96, "well A3")
    get_run_logger().info("from the run logger")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "a line"),
        ("INFO", "3 of 96 well A3"),
        ("INFO", "from the run logger"),
    ]
    assert current_job_id() is None


def test_cancelled_is_not_caught_by_a_broad_except() -> None:
    assert not issubclass(Cancelled, Exception)


def test_importing_labd_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import labd; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-S", "-c", code], cwd=SOURCE.parent, capture_output=True, text=True)
    assert found.stdout.split() == ["__future__", "labd"]


def test_authoring_and_worker_stand_on_the_standard_library_only() -> None:
    strangers = []
    for path in [SOURCE / "__init__.py", *sorted((SOURCE / "worker").glob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            strangers += [
                f"{path.name}: {name}"
                for name in names
                if name.split(".")[0] not in sys.stdlib_module_names
                and name != "labd"
                and not name.startswith("labd.worker")
            ]
    assert strangers == []

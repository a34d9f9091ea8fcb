"""labd for task authors: `from labd import task, call, ask, consume, progress, log`. Standard library, Python 3.8+.

A decorated function stays what it was: calling it is a plain call, in a test as in another task. What the functions
below do inside a job is told to them by the worker that runs it (`labd.worker`); outside of one they do the nearest
plain thing.

Why nothing is imported at the top, not even `typing`: every worker, task file and command of labd pays for it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the name that type checkers know; `typing` has it too, for 3 ms
if TYPE_CHECKING:
    import logging
    from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union, overload

    from labd.worker.device_server import DeviceServer as DeviceServer
    from labd.worker.device_server import MQTTDeviceServer as MQTTDeviceServer
    from labd.worker.running import Run

    Function = TypeVar("Function", bound=Callable[..., Any])

__version__ = "0.1.0"
__all__ = [
    "Bounds",
    "CallFailed",
    "Cancelled",
    "DeviceServer",
    "MQTTDeviceServer",
    "StockRefused",
    "ask",
    "call",
    "consume",
    "current_job_id",
    "flow",
    "get_run_logger",
    "log",
    "mqtt_task",
    "progress",
    "task",
    "task_input_hash",
]

task_input_hash = True  # `cache_key_fn=task_input_hash` of a Prefect file: the key is the task and its arguments

_run: Optional[Run] = None  # set by the worker while a body runs, one at a time


class Cancelled(BaseException):
    """Raised in the body of a job that somebody cancels; `except Exception` does not catch it, `finally` runs."""


class CallFailed(Exception):
    """A job made by `call` did not succeed; `code` and `message` are its error's.

    Not retryable: the child had its own retries, and a child may be physical.
    """

    retryable = False

    def __init__(self, task: str, code: str, message: str) -> None:
        super().__init__(f"{task}: {message}")
        self.task = task
        self.code = code
        self.message = message


class StockRefused(Exception):
    """The daemon does not take what `consume` said; `code` is its error's, such as `insufficient_stock`."""

    retryable = False

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Suspend(BaseException):
    """Unwinds a body that waits for a child job or an answer; the body runs again from its top when that is there."""


class Bounds:
    """Limits of a number, both included: `R: Annotated[int, Bounds(0, 300)]`."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: Optional[float] = None, maximum: Optional[float] = None) -> None:
        self.minimum = minimum
        self.maximum = maximum


if TYPE_CHECKING:

    @overload
    def task(function: Function) -> Function: ...

    @overload
    def task(
        *,
        name: Optional[str] = ...,
        description: Optional[str] = ...,
        queue: Optional[str] = ...,
        priority: Optional[int] = ...,
        retries: int = ...,
        retry_delay_s: Optional[float] = ...,
        backoff: Optional[str] = ...,
        timeout_s: Optional[float] = ...,
        effect: str = ...,
        resources: Sequence[str] = ...,
        env: Optional[str] = ...,
        tags: Iterable[str] = ...,
        idempotency: Optional[str] = ...,
        cache_key: bool = ...,
        cache_ttl_s: Optional[float] = ...,
        affinity: Optional[str] = ...,
        consumes: Optional[Dict[str, Any]] = ...,
        bounds: Optional[Dict[str, Any]] = ...,
        **prefect: Any,
    ) -> Callable[[Function], Function]: ...


def task(function: Optional[Function] = None, **options: Any) -> Any:
    """Make a function a task of labd; it stays a plain function.

    Args:
        function: Given by the bare form, `@task`.
        **options: All may be left out.
            name: Of the function unless given; letters, digits, `_`, `.` and `-`.
            description: The docstring unless given.
            queue, priority: Where its jobs wait; priority 0 (first) to 9.
            retries: Tries after the first one. `retry_delay_s` before each, `backoff` "fixed" or "exponential".
            timeout_s: Limit of one attempt.
            effect: "repeatable", or "physical" for what labd must never repeat by itself.
            resources: Names of what only so many jobs may use at once.
            env: The environment (`[env.NAME]`) whose interpreter runs it.
            tags: Words to find its jobs by.
            idempotency: Key of a job from its arguments, such as "restock-{color}"; the same key is the same job.
            cache_key: True: the same arguments give the recorded result, for `cache_ttl_s`. Repeatable tasks only.
            affinity: Jobs with one word share one worker process, which keeps what the file's globals hold.
            consumes: What a job takes from stock, `{reservoir or colour: argument or ul}`, such as `{"red": "R"}`;
                an argument whose name ends in `_ml` counts in millilitres.
            bounds: Limits of number arguments, both included: `{"R": (0, 300), "G": (0, None)}`.
            retry_delay_seconds, timeout_seconds, log_prints, cache_key_fn, cache_expiration: Prefect's spellings.

    Raises:
        TypeError, ValueError: An option that labd does not know or that cannot be.
    """
    from labd.worker import policy

    if function is None:
        checked = policy.checked(options)
        return lambda later: policy.attach(later, checked)
    return policy.attach(function, policy.checked(options))


flow = task
mqtt_task = task


class _Call:
    """`call("resort.activate_hotel", hotel="B")`: run another task as a durable child job and give its result.

    The body stops here and runs again from its top when the child has ended; then the recorded result comes back at
    once. So what stands before a `call` must do no harm when done twice. Not awaited, in async tasks either.

    Raises:
        CallFailed: The child failed or was cancelled.
    """

    def __call__(self, task: Union[str, Callable[..., Any]], /, **args: Any) -> Any:
        """Run one task with arguments by name."""
        return self.many([(task, args)])[0]

    def many(self, calls: Sequence[Tuple[Union[str, Callable[..., Any]], Dict[str, Any]]]) -> List[Any]:
        """Run several at once: `call.many([("weigh", {"plate": 1}), ("weigh", {"plate": 2})])`.

        Returns:
            The results in the order of the calls, when all have ended.

        Raises:
            CallFailed: For the first that failed, when all have ended.
        """
        from labd.worker import outside, policy

        named = [policy.named_call(item) for item in calls]
        return outside.call(named) if _run is None else _run.call(named)


call = _Call()


def ask(
    question: str,
    *,
    choices: Optional[Sequence[str]] = None,
    kind: Optional[str] = None,
    unit: Optional[str] = None,
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    default: Any = None,
    deadline_s: Optional[float] = None,
    on_deadline: str = "fail",
) -> Any:
    """Ask a person and wait for the answer, across restarts; `labctl job answer N` gives it.

    Args:
        question: One line.
        choices: The answers to choose from (kind "choice").
        kind: "choice", "number", "text" or "yes_no"; "number" if a unit or a bound is given, else "text".
        unit: Of a number, such as "ul".
        minimum: Of a number, included.
        maximum: Of a number, included.
        default: Taken when the deadline passes, if `on_deadline` is "default".
        deadline_s: How long to wait; None waits for ever.
        on_deadline: "fail" the job, take the "default", or "hold" the job for a person.

    Returns:
        The choice, a number, a text, or a bool.
    """
    from labd.worker import question as questions

    asked = questions.checked(question, choices, kind, unit, minimum, maximum, default, deadline_s, on_deadline)
    if _run is None:
        raise RuntimeError(f"ask({question!r}) has nobody to ask: it works inside a job that labd runs")
    return _run.ask(asked)


class _Consume:
    """`consume(red=120.0)` or `consume({"red": 120.0})`: take from stock, in ul; right before the liquid moves.

    It is on disk when this returns, which takes one commit. Negative is what comes back. A job that is cancelled in
    here has taken nothing. Outside of a job it does nothing. Not awaited, in async tasks either; `await
    consume.awaited(red=120.0)` lets the loop go on meanwhile.

    Raises:
        StockRefused: The daemon does not take it: no such reservoir, or not so much in it.
        TypeError, ValueError: No volume in ul.
    """

    def __call__(self, volumes_ul: Optional[Mapping[str, float]] = None, /, **named_ul: float) -> None:
        """Take volumes, by name of the reservoir or colour."""
        from labd.worker import stock

        checked = stock.volumes(volumes_ul, named_ul)
        if _run is not None and checked:
            _run.consume(checked)

    async def awaited(self, volumes_ul: Optional[Mapping[str, float]] = None, /, **named_ul: float) -> None:
        """The same beside the loop of an async task."""
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, lambda: self(volumes_ul, **named_ul))


consume = _Consume()


def progress(done: float, total: Optional[float] = None, text: str = "") -> None:
    """How far the job is, in a unit of your own: `progress(3, 96, "well A3")`."""
    if _run is None:
        from labd.worker import outside

        outside.progress(done, total, text)
    else:
        _run.progress(done, total, text)


def log(text: str, level: str = "info") -> None:
    """One line in the job's log; level "debug", "info", "warning" or "error". What is printed goes there too."""
    if _run is None:
        from labd.worker import outside

        outside.log(text, level)
    else:
        _run.log(text, level)


def get_run_logger() -> logging.Logger:
    """A standard logger whose lines are the job's log."""
    from labd.worker import run_log

    return run_log.logger()


def current_job_id() -> Optional[int]:
    """The job that runs this code; None outside of one."""
    return None if _run is None else _run.job_id


def __getattr__(name: str) -> Any:
    """The servers of a device file, imported when one is asked for."""
    if name in ("DeviceServer", "MQTTDeviceServer"):
        from labd.worker import device_server

        return getattr(device_server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

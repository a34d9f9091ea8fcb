"""The options of `@task`, checked once where they are written, so a wrong one is told with its file and line."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

EFFECTS = ("repeatable", "physical")
BACKOFFS = ("fixed", "exponential")
NAME_LIMIT = 100
WIRE = (
    "queue",
    "priority",
    "retries",
    "retry_delay_s",
    "backoff",
    "timeout_s",
    "effect",
    "resources",
    "env",
    "tags",
    "idempotency",
    "cache_key",
    "cache_ttl_s",
    "affinity",
    "consumes",
)
KNOWN = frozenset((*WIRE, "name", "description", "bounds"))

decorated: List[Callable[..., Any]] = []  # in the order of the decorators


class TaskPolicy:
    """What `@task` says about one function; `wire` goes to the daemon as it is, None means the daemon's default."""

    __slots__ = ("bounds", "description", "name", "wire")

    def __init__(self, name: str, description: Optional[str], bounds: Mapping[str, Any], wire: Dict[str, Any]) -> None:
        self.name = name
        self.description = description
        self.bounds = bounds
        self.wire = wire


def checked(given: Mapping[str, Any]) -> Dict[str, Any]:
    """The options with Prefect's spellings translated and every value looked at.

    Raises:
        TypeError: An option that labd does not know, or of a wrong type.
        ValueError: A value out of its range, or two that contradict each other.
    """
    options = _translated(given)
    unknown = sorted(set(options) - KNOWN)
    if unknown:
        raise TypeError(f"@task knows no option {', '.join(unknown)}; it takes {', '.join(sorted(KNOWN))}")
    for key in ("name", "description", "queue", "env", "affinity", "idempotency"):
        _kind(options, key, str)
    if options.get("name") is not None:
        _check_name(options["name"])
    _whole(options, "retries", 0, 1000)
    _whole(options, "priority", 0, 9)
    _seconds(options, "retry_delay_s", zero=True)
    _seconds(options, "timeout_s")
    _seconds(options, "cache_ttl_s")
    _one_of(options, "effect", EFFECTS)
    _one_of(options, "backoff", BACKOFFS)
    _names(options, "resources")
    _names(options, "tags")
    _kind(options, "consumes", dict)
    _check_consumes(options.get("consumes") or {})
    _kind(options, "bounds", dict)
    if options.get("cache_key") not in (None, True, False):
        raise TypeError("@task(cache_key=...) takes True or task_input_hash: the key is the task and its arguments")
    if options.get("cache_key") and options.get("effect") == "physical":
        raise ValueError("@task(cache_key=...) cannot go with effect='physical': what moved once must not be skipped")
    if options.get("cache_ttl_s") is not None and not options.get("cache_key"):
        raise ValueError("@task(cache_ttl_s=...) needs cache_key=True")
    return options


def attach(function: Callable[..., Any], options: Dict[str, Any]) -> Callable[..., Any]:
    """Write the policy on the function, note the function as decorated, and give it back."""
    if not callable(function):
        raise TypeError(f"@task stands before a function, not {function!r}; the name goes in as @task(name=...)")
    if isinstance(function, (staticmethod, classmethod, type)) or "." in _scope_of(function):
        raise TypeError(f"@task stands before a plain function, not a class or a method: {function!r}")
    name = options.get("name") or getattr(function, "__name__", None)
    if not name:
        raise TypeError(f"@task needs name=... for {function!r}, which has none of its own")
    _check_name(name)
    wire = {key: options.get(key) for key in WIRE}
    wire["retries"] = wire["retries"] or 0
    wire["effect"] = wire["effect"] or "repeatable"
    wire["resources"] = list(wire["resources"] or ())
    wire["tags"] = list(wire["tags"] or ())
    wire["cache_key"] = bool(wire["cache_key"])
    function.__labd_task__ = TaskPolicy(name, options.get("description"), options.get("bounds") or {}, wire)  # type: ignore[attr-defined]
    decorated.append(function)
    return function


def policy_of(function: Callable[..., Any]) -> TaskPolicy:
    """The policy that `attach` wrote."""
    policy: TaskPolicy = function.__labd_task__  # type: ignore[attr-defined]
    return policy


def named_call(item: Any) -> Tuple[str, Dict[str, Any]]:
    """One of `call.many`: the task's name and its arguments.

    Raises:
        TypeError: It is no pair, or its arguments are no dict.
    """
    if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[1], dict):
        raise TypeError(f'call.many() takes pairs such as ("weigh", {{"plate": 1}}), not {item!r}')
    return name_of(item[0]), dict(item[1])


def name_of(task: Union[str, Callable[..., Any]]) -> str:
    """The name of a task given as name or as decorated function."""
    if isinstance(task, str):
        return task
    policy = getattr(task, "__labd_task__", None)
    if policy is None:
        raise TypeError(f"call() takes the name of a task or a function with @task, not {task!r}")
    name: str = policy.name
    return name


def find(name: str) -> Optional[Callable[..., Any]]:
    """The function decorated last under this name in this process, or None."""
    return next((function for function in reversed(decorated) if policy_of(function).name == name), None)


def _translated(given: Mapping[str, Any]) -> Dict[str, Any]:
    """Prefect's spellings as labd's; its delay between tries is a fixed one."""
    options = dict(given)
    options.pop("log_prints", None)  # what a task prints is always its log
    for prefect, own in (
        ("retry_delay_seconds", "retry_delay_s"),
        ("timeout_seconds", "timeout_s"),
        ("cache_key_fn", "cache_key"),
        ("cache_expiration", "cache_ttl_s"),
    ):
        if prefect not in options:
            continue
        if own in options:
            raise TypeError(f"@task got {own} and {prefect}, which mean the same")
        value = options.pop(prefect)
        if prefect == "retry_delay_seconds":
            options.setdefault("backoff", "fixed")
        if prefect == "cache_expiration" and hasattr(value, "total_seconds"):
            value = value.total_seconds()
        options[own] = value
    return options


def _scope_of(function: Callable[..., Any]) -> str:
    """The part of the qualified name behind the innermost function: `Deck.move` of a method, `move` of a function."""
    return str(getattr(function, "__qualname__", "")).rpartition("<locals>.")[2]


def _check_name(name: str) -> None:
    plain = name.replace("_", "a").replace(".", "a").replace("-", "a")
    if not (plain.isascii() and plain.isalnum() and len(name) <= NAME_LIMIT and name[0].isalpha() | (name[0] == "_")):
        raise ValueError(
            f"task name {name!r}: letters, digits, '_', '.' and '-', a letter first, at most {NAME_LIMIT} characters"
        )


def _kind(options: Mapping[str, Any], key: str, kind: type) -> None:
    value = options.get(key)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"@task({key}=...) takes a {kind.__name__}, not {value!r}")


def _whole(options: Mapping[str, Any], key: str, least: int, most: int) -> None:
    value = options.get(key)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"@task({key}=...) takes a whole number, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"@task({key}={value}) is out of range: {least} to {most}")


def _seconds(options: Mapping[str, Any], key: str, zero: bool = False) -> None:
    value = options.get(key)
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"@task({key}=...) takes a number of seconds, not {value!r}")
    if value < 0 or (value == 0 and not zero) or value == float("inf"):
        raise ValueError(f"@task({key}={value}) takes {'0 or more' if zero else 'more than 0'} seconds")


def _check_consumes(consumes: Mapping[Any, Any]) -> None:
    for name, source in consumes.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"@task(consumes=...) takes names of reservoirs or colours, not {name!r}")
        if isinstance(source, str) and source:
            continue  # whether it is a parameter is seen with the function
        if not isinstance(source, (int, float)) or isinstance(source, bool):
            raise TypeError(
                f"@task(consumes=...): {name} takes the name of an argument or a volume in ul, not {source!r}"
            )
        if not 0 <= source < float("inf"):
            raise ValueError(f"@task(consumes=...): {name} takes a volume of 0 ul or more, not {source!r}")


def _one_of(options: Mapping[str, Any], key: str, words: Any) -> None:
    value = options.get(key)
    if value is not None and value not in words:
        raise ValueError(f"@task({key}={value!r}) is not one of {', '.join(words)}")


def _names(options: Mapping[str, Any], key: str) -> None:
    value = options.get(key)
    if value is None:
        return
    if isinstance(value, str) or not all(isinstance(item, str) and item for item in value):
        raise TypeError(f"@task({key}=...) takes a list of names, not {value!r}")

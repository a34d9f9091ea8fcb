"""Globs over paths: `**` any depth, `*` and `?` within a name, `[a-z]`, `[!a-z]`, `{a,b}` (nested, also with `/`).

A pattern is walked a name at a time, so a folder that no file below can match is never listed. Names that begin with
`.` or `_`, or end in `~`, `.tmp`, `.part` and the like, are left alone, unless the pattern says just that part of the
name; `_key=value` is a name like any other, as in Spark.

Why no fnmatch and no pathlib: their `*` crosses `/` or their `**` cannot be asked which folders are worth a listing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from labd.ingest.remote_refusal import Refusal

ALTERNATIVES_LIMIT = 1000
TEMPORARY = ("~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp")
_NOT_HIDDEN = r"(?!\.|_[^=]*\Z)"
_NOT_TEMPORARY = "".join(f"(?<!(?i:{re.escape(end)}))" for end in TEMPORARY)
_ORDINARY = re.compile(rf"{_NOT_HIDDEN}.*{_NOT_TEMPORARY}", re.DOTALL)
_ANY_DEPTH = "**"
_MAGIC = re.compile(r"[*?\[\\]")
States = frozenset[tuple[int, int]]


class Glob:
    """One pattern. `start` is what is known at the root, `down` what is known in a folder: empty if nothing can match.

    Args:
        pattern: As above; a trailing `**` means every file below.
        is_plain: False: wildcards also match hidden and temporary names, as exclusions want it.

    Raises:
        Refusal: source_refused; the pattern has a bad range or too many alternatives.
    """

    def __init__(self, pattern: str, *, is_plain: bool = True) -> None:
        self._is_plain = is_plain
        self._lines: list[list[str]] = []
        for line in expand(pattern):
            names = [name for name in line.split("/") if name not in ("", ".")]
            if not names or names[-1] == _ANY_DEPTH:
                names.append("*")
            self._lines.append(names)
        self._expressions = {name: self._compile(pattern, name) for line in self._lines for name in line}
        self._down: dict[tuple[States, str], States] = {}
        self._final: dict[States, re.Pattern[str] | None] = {}
        self.start = self._close((number, 0) for number in range(len(self._lines)))

    def _compile(self, pattern: str, name: str) -> re.Pattern[str]:
        text = translate(name)
        if self._is_plain and name[0] in "*?[":
            text = _NOT_HIDDEN + text
        if self._is_plain and name[-1] in "*?]" and name != _ANY_DEPTH:
            text += _NOT_TEMPORARY
        try:
            return re.compile(text, re.DOTALL)
        except re.error as fault:
            raise Refusal("source_refused", f"pattern {pattern!r}: {name!r} is no glob: {fault}") from None

    def _close(self, states: Iterable[tuple[int, int]]) -> States:
        closed = set()
        for number, index in states:
            closed.add((number, index))
            while self._lines[number][index] == _ANY_DEPTH:
                index += 1
                closed.add((number, index))
        return frozenset(closed)

    def down(self, states: States, name: str) -> States:
        """What is known in the folder `name`."""
        found = self._down.get((states, name))
        if found is not None:
            return found
        following: list[tuple[int, int]] = []
        for number, index in states:
            segment = self._lines[number][index]
            if segment == _ANY_DEPTH:
                if not self._is_plain or _ORDINARY.fullmatch(name):
                    following.append((number, index))
            elif index + 1 < len(self._lines[number]) and self._expressions[segment].fullmatch(name):
                following.append((number, index + 1))
        if len(self._down) > 10_000:
            self._down.clear()
        closed = self._down[states, name] = self._close(following)
        return closed

    def names(self, states: States) -> re.Pattern[str] | None:
        """What names of files here match in full; None if none can."""
        if states not in self._final:
            last = {self._lines[n][i] for n, i in states if i + 1 == len(self._lines[n])}
            joined = "|".join(f"(?:{self._expressions[name].pattern})" for name in sorted(last))
            self._final[states] = re.compile(joined, re.DOTALL) if last else None
        return self._final[states]

    def is_deep(self, states: States) -> bool:
        """Whether every folder below is worth a look."""
        return any(self._lines[number][index] == _ANY_DEPTH for number, index in states)

    def folders(self, states: States) -> list[str] | None:
        """The only folders worth a look, sorted; None where only a listing can tell."""
        following = [self._lines[n][i] for n, i in states if i + 1 < len(self._lines[n])]
        if any(_MAGIC.search(name) for name in following):
            return None
        return sorted(set(following))

    def beginning(self, states: States) -> str:
        """What all matching names of files here begin with."""
        last = [self._lines[n][i] for n, i in states if i + 1 == len(self._lines[n])]
        begins = [_MAGIC.split(name, maxsplit=1)[0] for name in last]
        if not begins:
            return ""
        low, high = min(begins), max(begins)
        size = next((i for i, char in enumerate(low) if i >= len(high) or high[i] != char), len(low))
        return low[:size]

    def matches(self, path: str) -> bool:
        """Whether a whole path matches."""
        *folders, name = path.split("/")
        states = self.start
        for folder in folders:
            states = self.down(states, folder)
        expression = self.names(states)
        return expression is not None and expression.fullmatch(name) is not None


class Exclusions:
    """What is left out: a pattern with `/` counts from the root, one without at any depth; a folder with all below."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._globs = [Glob(text if "/" in text else f"**/{text}", is_plain=False) for text in patterns]

    def __bool__(self) -> bool:
        return bool(self._globs)

    def leave_out(self, path: str) -> bool:
        """Whether this file or folder is excluded by its own path."""
        return any(glob.matches(path) for glob in self._globs)

    def leave_out_below(self, path: str) -> bool:
        """Whether this file is excluded by its path or by a folder above it."""
        if not self._globs:
            return False
        parts = path.split("/")
        return any(self.leave_out("/".join(parts[:size])) for size in range(1, len(parts) + 1))


def translate(name: str) -> str:
    """One name of a pattern as a regular expression.

    Why atomic groups: what stands between two stars is best matched as early as possible, and is then never tried
    again; a name of many stars would otherwise take exponential time.
    """
    parts, index = [""], 0
    while index < len(name):
        char = name[index]
        index += 1
        if char == "*":
            if parts[-1] or len(parts) == 1:
                parts.append("")
        elif char == "?":
            parts[-1] += "."
        elif char == "\\" and index < len(name):
            parts[-1] += re.escape(name[index])
            index += 1
        elif char == "[" and (end := _end_of_set(name, index)) is not None:
            inside = name[index:end]
            sign = "^" if inside[0] in "!^" else ""
            parts[-1] += "[" + sign + re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[len(sign) :]) + "]"
            index = end + 1
        else:
            parts[-1] += re.escape(char)
    if len(parts) == 1:
        return parts[0]
    first, *between, last = parts
    return first + "".join(f"(?>.*?{part})" for part in between) + ".*" + last


def _end_of_set(name: str, index: int) -> int | None:
    first = index + 1 if name[index : index + 1] in ("!", "^") else index
    end = name.find("]", first + 1)
    return end if end > first else None


def expand(pattern: str) -> list[str]:
    """A pattern with braces as the list of those without, such as `a{b,c}` as `ab` and `ac`."""
    waiting, done = [pattern], []
    while waiting:
        text = waiting.pop()
        found = _braces(text)
        if found is None:
            done.append(text)
        else:
            start, end, parts = found
            waiting += [text[:start] + part + text[end:] for part in reversed(parts)]
        if len(waiting) + len(done) > ALTERNATIVES_LIMIT:
            raise Refusal(
                "source_refused", f"pattern {pattern!r}: its braces make more than {ALTERNATIVES_LIMIT} alternatives"
            )
    return done


def _braces(text: str) -> tuple[int, int, list[str]] | None:
    """Place and alternatives of the first braces that hold a comma."""
    begin = -1
    while (begin := text.find("{", begin + 1)) >= 0:
        depth, start, parts, index = 0, begin + 1, [], begin
        while index < len(text):
            char = text[index]
            if char == "\\":
                index += 1
            elif char == "{":
                depth += 1
            elif char == "," and depth == 1:
                parts.append(text[start:index])
                start = index + 1
            elif char == "}":
                depth -= 1
                if depth == 0:
                    parts.append(text[start:index])
                    break
            index += 1
        if depth == 0 and len(parts) > 1:
            return begin, index + 1, parts
    return None

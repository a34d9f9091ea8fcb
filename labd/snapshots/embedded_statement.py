"""Which statements may reach the embedded store: those that only read the graph. Pure.

Why this is asked before ladybug is: a database opened for reading refuses to be written, but `LOAD FROM` still reads
any file of the host, `COPY ... TO` writes one, `INSTALL` fetches code. So what a statement may begin with and what it
may hold is a list, and everything else is refused by name.

Why comments are taken out: what ladybug parses is then what was looked at here. Why an unknown escape in a text is
refused: two readers that disagree about the end of a text disagree about everything behind it.
"""

from __future__ import annotations

import re

from labd.errors import GraphRefused

BEGINNINGS = frozenset({"MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN", "CALL"})
EXPLAINING = frozenset({"EXPLAIN", "PROFILE", "LOGICAL"})
CHANGING = frozenset({"CREATE", "MERGE", "SET", "DELETE", "DETACH", "REMOVE", "DROP", "ALTER", "INSERT"})
OUTSIDE = frozenset({"LOAD", "COPY", "EXPORT", "IMPORT", "INSTALL", "ATTACH", "USE"})
CALLS = frozenset({"SHOW_TABLES", "TABLE_INFO", "SHOW_CONNECTION", "SHOW_INDEXES", "SHOW_FUNCTIONS", "DB_VERSION"})
LENGTH_LIMIT = 100_000
_TOKEN = re.compile(
    r"""
    (?P<space> \s+ )
  | (?P<comment> //[^\r\n]* | /\*(?:(?!\*/|/\*).)*\*/ )
  | (?P<text> '(?:[^'\\]|\\[\\'"bfnrtBFNRT])*' | "(?:[^"\\]|\\[\\'"bfnrtBFNRT])*" )
  | (?P<quoted> `(?:[^`]|``)*` )
  | (?P<word> [^\W\d]\w* )
  | (?P<other> [0-9]\w* | [^\w\s'"`\\/] | /(?![*/]) )
    """,
    re.VERBOSE | re.DOTALL,
)


def reading(cypher: str) -> str:
    """The statement as it is given to the store, without comments.

    Raises:
        GraphRefused: It does more than read the graph, is several statements, or cannot be told apart.
    """
    if len(cypher) > LENGTH_LIMIT:
        raise GraphRefused(
            f"a query of {len(cypher)} characters; {LENGTH_LIMIT} are the limit, use parameters for values"
        )
    kept: list[str] = []
    tokens: list[str] = []
    place = 0
    while place < len(cypher):
        match = _TOKEN.match(cypher, place)
        if match is None:
            raise GraphRefused(
                f"the query cannot be read from {cypher[place : place + 20]!r} on (character {place + 1})"
            )
        kind = match.lastgroup
        kept.append(" " if kind == "comment" else match[0])
        if kind not in ("space", "comment"):
            tokens.append(match[0] if kind in ("word", "other") else kind or "")
        place = match.end()
    while tokens and tokens[-1] == ";":
        tokens.pop()
    _check(tokens)
    return "".join(kept)


def _check(tokens: list[str]) -> None:
    words = [token.upper() for token in tokens]
    if ";" in words:
        raise GraphRefused("several statements in one query; ask them one by one")
    start = 0
    while start < len(words) and words[start] in EXPLAINING:
        start += 1
    if start >= len(words):
        raise GraphRefused("an empty query")
    if words[start] not in BEGINNINGS:
        raise GraphRefused(
            f"{tokens[start][:40]} is not allowed here: queries only read; they begin with {_listed(BEGINNINGS)}"
        )
    for place, word in enumerate(words):
        if place and words[place - 1] in (".", ":", "$"):
            continue  # a property, a label, a parameter
        if word in CHANGING:
            raise GraphRefused(
                f"{word} is not allowed here: queries only read; quote a name that is called so: `{word}`"
            )
        if word in OUTSIDE:
            raise GraphRefused(f"{word} is not allowed here: queries read the graph and nothing else of the host")
        if word == "CALL" and (words[place + 1 : place + 2] or [""])[0] not in CALLS:
            raise GraphRefused(f"CALL reaches {_listed(CALLS)} and nothing else")
        if word == "CALL" and words[place + 2 : place + 3] != ["("]:
            raise GraphRefused("CALL without brackets changes a setting, which queries may not")


def _listed(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))

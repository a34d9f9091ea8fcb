"""The time of a refusal tells nothing about a token: neither how much of it was right nor how many there are of which.

Why counts beside clocks: a clock on a busy machine shows large differences only, so that every guess is compared with
every token, whole, by a comparison of constant time, is shown by counting.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import statistics
import time
from random import Random
from typing import Any

import pytest

from labd.api import bearer
from labd.api.bearer import TokenBook, hash_of
from labd.clock import SystemClock
from labd.engine.job import INTERNAL
from tests.fakes.api_engine import MemoryEngine

TOKENS = 50
ROUNDS = 400
MOST_APART = 0.15  # of the median; a comparison that ends early is further off by this many tokens


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every pair that is compared."""
    pairs: list[tuple[str, str]] = []

    def compare(one: Any, two: Any) -> bool:
        pairs.append((one, two))
        return hmac.compare_digest(one, two)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(bearer, "hmac", Watched)
    return pairs


async def book() -> tuple[TokenBook, list[str]]:
    """Tokens, some of them revoked."""
    tokens = TokenBook(MemoryEngine(), SystemClock())  # type: ignore[arg-type]
    secrets = [(await tokens.make(f"t{number}", ("read",), "test", None))[1] for number in range(TOKENS)]
    for row in tokens.rows()[::5]:
        await tokens.revoke(row.id, INTERNAL)
    return tokens, secrets


def guesses(secret: str) -> dict[str, str]:
    """More and more right."""
    return {
        "nothing": "x",
        "another of its length": "y" * len(secret),
        "the prefix of all": "labd_" + "y" * (len(secret) - 5),
        "half of it": secret[: len(secret) // 2] + "y" * (len(secret) - len(secret) // 2),
        "all but the last letter": secret[:-1] + ("a" if secret[-1] != "a" else "b"),
        "too much": secret + "a",
        "what is stored": hash_of(secret),
        "very long": "z" * 8000,
        "no text": "\udcff\udcfe",
    }


async def test_every_guess_is_compared_with_every_token_whole(compared: list[tuple[str, str]]) -> None:
    tokens, secrets = await book()
    for place in (0, 1, TOKENS - 1):
        for name, guess in guesses(secrets[place]).items():
            compared.clear()
            assert await tokens.login(guess) is None, name
            assert len(compared) == TOKENS, name
            assert {len(text) for pair in compared for text in pair} == {64}, name
            assert not [pair for pair in compared if secrets[place] in pair], "only hashes are compared"


async def test_the_right_one_is_compared_with_the_others_too(compared: list[tuple[str, str]]) -> None:
    tokens, secrets = await book()
    for place in (1, TOKENS // 2 + 1, TOKENS - 1):
        compared.clear()
        assert await tokens.login(secrets[place]) is not None
        assert len(compared) == TOKENS


async def test_a_revoked_one_takes_as_long_as_an_unknown_one(compared: list[tuple[str, str]]) -> None:
    tokens, secrets = await book()
    assert await tokens.login(secrets[0]) is None
    revoked = len(compared)
    compared.clear()
    assert await tokens.login("labd_unknown") is None
    assert len(compared) == revoked


def test_the_clock_cannot_tell_guesses_apart() -> None:
    """Guesses take turns in an order of chance, so that whatever else the machine does hits all of them."""
    apart = [_apart(seed) for seed in range(3)]
    assert min(apart) < MOST_APART, f"medians of guesses lie {apart} apart"


def test_the_clock_would_tell_a_comparison_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with a search that ends at the token it finds, the place of a token shows."""

    async def hasty(self: TokenBook, offered: str) -> Any:
        for row in self._rows:
            if row.hash == offered:
                return None
        return None

    monkeypatch.setattr(TokenBook, "login_by_hash", hasty)
    assert max(_apart(seed, of_first=True) for seed in range(3)) > MOST_APART


def _apart(seed: int, of_first: bool = False) -> float:
    """How far the slowest kind of guess lies from the quickest, as a part of the median of all."""

    async def measure() -> dict[str, list[int]]:
        tokens, secrets = await book()
        length = len(secrets[0])
        tried = {name: text for name, text in guesses(secrets[0]).items() if len(text) == length}
        if of_first:
            tried["a revoked one"] = secrets[0]
        found: dict[str, list[int]] = {name: [] for name in tried}
        order = list(tried) * ROUNDS
        Random(seed).shuffle(order)
        for name in order:
            began = time.perf_counter_ns()
            await tokens.login(tried[name])
            found[name].append(time.perf_counter_ns() - began)
        return found

    gc.disable()
    try:
        found = asyncio.run(measure())
    finally:
        gc.enable()
    medians = [statistics.median(taken) for taken in found.values()]
    return (max(medians) - min(medians)) / statistics.median(medians)

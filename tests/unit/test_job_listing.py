"""A page of jobs that is made from stored text says the same as one that is made of jobs."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.engine import listing, rows, sql
from labd.engine.job import Hold, Job, JobError, JobState, Progress, brief_view, view
from labd.engine.views import JobFilter

SCRIPTS = sorted((Path(sql.__file__).parent / "journal").glob("*.sql"))
INSERT = f"INSERT INTO jobs ({', '.join(rows.COLUMNS)}) VALUES ({', '.join('?' * len(rows.COLUMNS))})"
TEXTS = [
    "a",
    "labd",
    "süß",
    'quo"ted',
    "back\\slash",
    "line\nend",
    "tab\tnul\0",
    "\u2028",
    "\x1f\x7f",
    "猫🐈",
    "null",
    "{}",
    " ",
]


class Dice(random.Random):
    """What a job may be made of."""

    def text(self) -> str:
        return "".join(self.choices(TEXTS, k=self.randint(1, 3)))

    def maybe(self, value: Any) -> Any:
        return value if self.random() < 0.5 else None

    def instant(self) -> float:
        """Whole microseconds, as `SystemClock` gives; now and then before 1970."""
        return self.choice([self.randint(-(10**12), 4 * 10**15), self.randint(0, 10**9) * 1_000_000]) / 1e6

    def value(self, depth: int = 2) -> Any:
        plain = [None, True, False, 0, -(2**53), 2**53 + 1, 1.5, 1e-300, 1e300, self.random(), self.text()]
        if not depth or self.random() < 0.5:
            return self.choice(plain)
        inner = [self.value(depth - 1) for _ in range(self.randint(0, 3))]
        return self.choice([inner, {self.text(): each for each in inner}])

    def args(self) -> dict[str, Any]:
        return {self.text(): self.value() for _ in range(self.randint(0, 3))}


def store(jobs: list[Job]) -> sqlite3.Connection:
    opened = sqlite3.connect(":memory:")
    for script in SCRIPTS:
        opened.executescript(script.read_text())
    opened.executemany(INSERT, [rows.to_row(job) for job in jobs])
    return opened


def shown(opened: sqlite3.Connection, brief: bool, **which: Any) -> tuple[list[Any], listing.JobListing]:
    text = opened.execute(*listing.statement(JobFilter(**which))).fetchone()[0]
    page = asyncio.run(listing.composed(text, brief))
    return msgspec.json.decode(page.text), page


def expected(jobs: list[Job], brief: bool) -> list[Any]:
    views = [brief_view(job) if brief else view(job) for job in reversed(jobs)]
    return list(msgspec.json.decode(msgspec.json.encode(views)))


def job(dice: Dice, job_id: int) -> Job:
    failed = dice.random() < 0.5
    error = JobError(dice.text(), dice.text(), dice.maybe("Fault") or "", dice.args(), dice.maybe(dice.text()) or "")
    hold = dice.maybe(Hold(dice.text(), dice.text(), dice.instant()))
    return Job(
        job_id, dice.text(), dice.args(), dice.text(), dice.randint(0, 9),
        JobState.FAILED if failed else JobState.QUEUED, dice.randint(0, 5), dice.randint(1, 5), 1.5, dice.instant(),
        dice.instant(), dice.text(), dice.choice(["repeatable", "physical"]),
        tuple(dice.text() for _ in range(dice.randint(0, 2))), dice.maybe(dice.uniform(0.5, 1e6)),
        dice.maybe(dice.instant()), dice.instant() if failed else None, dice.maybe(dice.instant()),
        dice.maybe(f"{dice.text()}{job_id}"), dice.value(), error if failed else None,
        dice.maybe(Progress(dice.random(), dice.maybe(1.0), dice.text())), None if failed else hold,
        tuple(dice.choices(["a", "b.c", "x/y", "@1"], k=dice.randint(0, 3))), dice.maybe(dice.randint(1, 9)),
        dice.maybe(0), dice.maybe(dice.text()), dice.random() < 0.5, 0, dice.randint(1, 2**53), None,
        dice.maybe({"file": dice.text()}), dice.maybe({"what": dice.text()}), dice.maybe(7), dice.maybe({"red": 20.5}),
        dice.maybe(dice.text()),
    )  # fmt: skip


@pytest.mark.parametrize("brief", [False, True])
def test_every_sort_of_job_is_shown_as_by_its_view(brief: bool) -> None:
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    dice = Dice(seed)
    jobs = [job(dice, number) for number in range(1, 301)]
    found, page = shown(store(jobs), brief, limit=1000)
    for mine, theirs in zip(found, expected(jobs, brief), strict=True):
        assert mine == theirs
    assert list(found[0]) == [field.encode_name for field in msgspec.structs.fields(view(jobs[0]))]
    assert (page.jobs, page.lowest_id) == (300, 1)


@pytest.mark.parametrize("microseconds", [0, 1, -1, 999_999, -999_999, 1_700_000_000_999_999, 1_700_000_000_000_001])
def test_an_instant_is_shown_to_the_microsecond(microseconds: int) -> None:
    instant = microseconds / 1e6
    plain = Job(1, "test.noop", {}, "standard", 2, JobState.QUEUED, 0, 1, 2.0, instant, instant, "anna", "repeatable")
    assert shown(store([plain]), False)[0] == expected([plain], False)


def test_a_page_ends_where_its_filter_says_and_an_empty_one_is_empty() -> None:
    jobs = [
        Job(number, "test.noop", {}, "standard", 2, JobState.QUEUED, 0, 1, 2.0, 1.0, 1.0, "anna", "repeatable")
        for number in range(1, 30)
    ]
    opened = store(jobs)
    found, page = shown(opened, False, before_id=20, limit=5)
    assert [each["id"] for each in found] == [19, 18, 17, 16, 15]
    assert (page.jobs, page.lowest_id) == (5, 15)
    assert shown(opened, True, task="test.other") == ([], (b"[]", 0, None))

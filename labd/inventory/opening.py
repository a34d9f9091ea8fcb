"""What a starting daemon makes of the books that the last one left, and the proof that they add up."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.engine.job import FINAL, GOING, JobState
from labd.errors import Refused
from labd.inventory.book import Book
from labd.inventory.claims import Claim, JobClaims
from labd.inventory.reservoir import ReservoirSpec
from labd.inventory.shelf import Shelf

REPLAY_BATCH = 5000
ACTOR = "labd"


async def open_book(book: Book, configured: list[ReservoirSpec]) -> dict[str, Any]:
    """Read the books, apply changed settings, release claims whose job is gone, write evaporation of the time away.

    Nothing is on disk before the caller commits.

    Raises:
        Refused: The books are of simulated stock and this wing counts real stock, or the other way round.
    """
    saved = await book.journal.read("inventory.clock")
    if saved and bool(saved[0][2]) is not book.simulated:
        kinds = ("real", "simulated")
        raise Refused(
            f"inventory: the ledger in this state folder counts {kinds[bool(saved[0][2])]} stock, the settings say "
            f"{kinds[book.simulated]}; set [inventory] simulated back, or use another state_dir"
        )
    away_s = await _load(book, saved)
    _configure(book, configured)
    released = _release_orphans(book, await _load_claims(book))
    act = book.act(ACTOR)
    for shelf in book.there():
        act.settle(shelf)
    settled = len(act.stage())
    book.save_clock()
    return {"away_s": round(away_s, 1), "evaporated": settled, "released": released}


async def _load(book: Book, saved: list[tuple[Any, ...]]) -> float:
    book.shelves.clear()
    for key, place, body, configured, initialized, removed_at, settled_s in await book.journal.read(
        "inventory.reservoirs"
    ):
        spec = msgspec.json.decode(body, type=ReservoirSpec)
        book.shelves[key] = Shelf(
            spec, place, bool(initialized), settled_s=settled_s, configured=configured, removed_at=removed_at
        )
    for key, ordinal, level_pl, reserved_pl, at, ledger_s in await book.journal.read("inventory.balances"):
        shelf = book.shelves[key]
        shelf.ordinal, shelf.level_pl, shelf.reserved_pl, shelf.updated_at = ordinal, level_pl, reserved_pl, at
        shelf.settled_s = max(shelf.settled_s, ledger_s or 0.0)
    last_id, at, ledger_s, measured = (await book.journal.read("inventory.last_movement"))[0]
    book.last_id, book.last_measurement_id = last_id or 0, measured or 0
    book.drift_pl = dict(await book.journal.read("inventory.latest_measurements"))
    known = [(row[0], row[1]) for row in saved] + ([(ledger_s, at)] if last_id else [])
    return book.clock.go_on(*max(known)) if known else 0.0


def _configure(book: Book, configured: list[ReservoirSpec]) -> None:
    """The reservoirs of the settings file: a new one is added, changed keys are taken over.

    Why only what changed in the file: a lid or a lot that a person set by hand stays until the file says otherwise.
    """
    for place, spec in enumerate(configured):
        body = msgspec.json.encode(spec).decode()
        shelf = book.shelves.get(spec.key)
        if shelf is None:
            shelf = book.shelves[spec.key] = Shelf(spec, place, configured=body)
            shelf.settled_s = book.clock.now_s()
        elif shelf.configured != body or shelf.place != place:
            old = msgspec.json.decode(shelf.configured or "{}")
            fresh = {key: value for key, value in msgspec.to_builtins(spec).items() if old.get(key, ...) != value}
            if shelf.configured != body:
                shelf.removed_at = None
            shelf.spec = msgspec.structs.replace(shelf.spec, **fresh)
            shelf.configured, shelf.place = body, place
        else:
            continue
        book.put_shelf(shelf)


async def _load_claims(book: Book) -> dict[int, str | None]:
    """The claims, and the state of each job that has some."""
    book.claims.clear()
    states: dict[int, str | None] = {}
    for job_id, key, needed_pl, remaining_pl, overridden, told, life, state in await book.journal.read(
        "inventory.claims"
    ):
        states[job_id] = state
        owner = book.claims.setdefault(
            job_id, JobClaims(job_id, {}, is_overridden=bool(overridden), has_told=bool(told), life=life, is_read=True)
        )
        owner.claims[key] = Claim(key, needed_pl, remaining_pl)
        if state in GOING or state == JobState.INTERRUPTED:
            owner.is_going = True
            book.shelves[key].going_pl += remaining_pl
    for job_id, step in await book.journal.read("inventory.steps_of_claims"):
        book.claims[job_id].steps.add(step)
    return states


def _release_orphans(book: Book, states: dict[int, str | None]) -> int:
    """Claims of jobs that never came to be or have ended: the disk refused one of the two, or a backup lacks it."""
    act, count = book.act(ACTOR), 0
    for job_id, state in states.items():
        if state is not None and state not in FINAL:
            continue
        count += 1
        what = "is not there" if state is None else f"has ended as {state}"
        act.begin(f"job {job_id} {what}; found at the start of labd", job_id)
        for claim in book.claims[job_id].claims.values():
            if claim.remaining_pl:
                act.post(book.shelves[claim.reservoir], "release", reserve_pl=-claim.remaining_pl)
    act.stage()
    for job_id, state in states.items():
        if state is None or state in FINAL:
            book.drop_claims(job_id)
    return count


async def replay(book: Book) -> dict[str, Any]:
    """Replay every movement from zero and compare with the balances and the claims in memory and on disk.

    Race: jobs go on while this reads. What is compared is memory as it stood in one turn, with the movements up to
    there once they are on disk; what comes in later belongs to the next look.

    Returns:
        `{"ok", "movements", "reservoirs", "problems"}`.
    """
    problems: list[str] = []
    counted, newest = 0, book.last_id
    stood = {key: (one.ordinal, one.level_pl, one.reserved_pl) for key, one in book.shelves.items()}
    held = dict.fromkeys(stood, 0)
    for owner in book.claims.values():
        for claim in owner.claims.values():
            held[claim.reservoir] += claim.remaining_pl
    await book.journal.settle()
    claimed = dict(await book.journal.read("inventory.claimed"))
    is_still = newest == book.last_id  # claims have no numbers: those of another moment are not compared
    for key, (upto, *balance) in stood.items():
        ordinal = level_pl = reserved_pl = 0
        expected = tuple(balance)
        while True:
            rows = await book.journal.read("inventory.replay", key, ordinal, REPLAY_BATCH)
            for number, _, volume_pl, before_pl, after_pl, reserve_pl, reserved_before_pl, reserved_after_pl in rows:
                if number > upto:
                    break
                if (number, before_pl, reserved_before_pl) != (ordinal + 1, level_pl, reserved_pl):
                    problems.append(f"{key}: movement {number} does not follow the one before it")
                ordinal, level_pl, reserved_pl = number, level_pl + volume_pl, reserved_pl + reserve_pl
                counted += 1
                if (after_pl, reserved_after_pl) != (level_pl, reserved_pl):
                    problems.append(f"{key}: movement {number} leaves another balance than its sum")
            if len(rows) < REPLAY_BATCH or ordinal >= upto:
                break
        if ordinal != upto:
            problems.append(f"{key}: {upto} movements in memory, {ordinal} on disk")
        if (level_pl, reserved_pl) != expected:
            problems.append(
                f"{key}: replay gives {level_pl} pl and {reserved_pl} pl reserved, the balance says {expected[0]} pl "
                f"and {expected[1]} pl"
            )
        if held[key] != expected[1]:
            problems.append(f"{key}: claims sum to {held[key]} pl, reserved are {expected[1]} pl")
        if is_still and claimed.get(key, 0) != held[key]:
            problems.append(f"{key}: claims on disk sum to {claimed.get(key, 0)} pl, in memory to {held[key]} pl")
    return {"ok": not problems, "movements": counted, "reservoirs": len(book.shelves), "problems": problems[:100]}

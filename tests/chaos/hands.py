"""Hands that ask the daemon for things: what they all do, the hand that submits jobs, and the person who answers.

Why a hand is one thread with one connection: it keeps what it asked and was not answered, and asks that again, under
the same key, before anything new. So nothing is owed twice and nothing is forgotten, whatever dies meanwhile.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.bench.raw_http import JOBS_PATH, Caller
from tests.chaos.port import World
from tests.chaos.told import Told

LATER = (408, 429, 502, 503, 504, 507)  # a fault explains these: ask again
REFUSED = (409, 412, 423)
BACKLOG = 40
OPERATOR = "chaos"
INTERRUPTED_DECIDED = 0.5


class Hand:
    """One client.

    Args:
        name: Its keys begin with it.
    """

    every_s = 0.05

    def __init__(self, name: str, world: World, told: Told, dice: Random) -> None:
        self.name = name
        self.world = world
        self.told = told
        self.dice = dice
        self.owed: dict[str, dict[str, Any]] = {}
        self._tries: dict[str, int] = {}
        self._number = 0

    def work(self, caller: Caller) -> None:
        """Something new."""

    def wind_up(self, caller: Caller) -> bool:
        """Towards rest, when nothing new is asked any more; whether there is nothing left to do."""
        return True

    def fresh_key(self) -> str:
        """One that was never used."""
        self._number += 1
        return f"{self.name}-{self._number}"

    def submit(self, caller: Caller, wanted: dict[str, tuple[str, dict[str, Any]]]) -> None:
        """Ask for jobs, several in one list; who is not answered is owed."""
        for key, (task, args) in wanted.items():
            self.owed[key] = self.told.ask(key, task, args)
        self._send(caller, list(wanted))

    def pay(self, caller: Caller) -> None:
        """Ask again for what is owed."""
        for key in list(self.owed):
            self._send(caller, [key])

    def _send(self, caller: Caller, keys: list[str]) -> None:
        bodies = [self.owed[key] for key in keys]
        for key in keys:
            self._tries[key] = self._tries.get(key, 0) + 1
        status, answer = caller.ask("POST", JOBS_PATH, bodies if len(bodies) > 1 else bodies[0])
        if status in (200, 201):
            for job in answer["jobs"] if len(bodies) > 1 else [answer]:
                self.told.acknowledge(job["idempotency_key"], job["id"])
                self.owed.pop(job["idempotency_key"], None)
            self.told.count("acknowledged")
        elif status in REFUSED:
            for key in keys:
                self.told.refuse(key, self._tries[key] == 1)
                self.owed.pop(key, None)
            self.told.count("refused")
        elif status in LATER:
            self.told.count(f"later {status}")
        else:
            self.broken(status, answer, f"a submission of {bodies[0]['task']}")
            for key in keys:
                self.owed.pop(key, None)

    def act(self, caller: Caller, path: str, body: Any = None) -> Any:
        """A POST whose refusal is nothing special; its answer, None if it was refused or is to be asked later."""
        status, answer = caller.ask("POST", f"/api/v1/{path}", {} if body is None else body)
        if status < 300:
            return answer
        if status not in (*REFUSED, *LATER, 404):
            self.broken(status, answer, path)
        return None

    def look(self, caller: Caller, path: str) -> Any:
        """A GET; None where the daemon cannot tell now."""
        status, answer = caller.ask("GET", f"/api/v1/{path}")
        if status < 300:
            return answer
        if status not in (*LATER, 404):  # what was laid down a moment ago nobody has seen yet
            self.broken(status, answer, path)
        return None

    def broken(self, status: int, answer: Any, what: str) -> None:
        """No fault explains such an answer."""
        with self.told.lock:
            self.told.broken.append(f"{what} was answered {status}: {str(answer)[:300]}")


class Submitter(Hand):
    """Plain jobs, physical ones, draws of liquid, and series with children and questions."""

    every_s = 0.04

    def work(self, caller: Caller) -> None:
        """One job, now and then ten in one list; waits while many wait."""
        if self._number % 10 == 0 and self._crowded(caller):
            return
        count = self.dice.choice((1, 1, 1, 1, 1, 1, 1, 10))
        self.submit(caller, dict(self._one() for _ in range(count)))

    def _crowded(self, caller: Caller) -> bool:
        found = self.look(caller, "status")
        return found is None or found["jobs"]["queued"] > BACKLOG

    def _one(self) -> tuple[str, tuple[str, dict[str, Any]]]:
        key = self.fresh_key()
        task = self.dice.choices(("echo", "shake", "draw", "series"), (6, 2, 3, 1))[0]
        args: dict[str, Any] = {"key": key}
        if task == "echo":
            args["duration_s"] = self.dice.choice((0.0, 0.0, 0.05, 0.3))
        elif task == "draw":
            args |= {"red": 8.0 * self.dice.randint(1, 9), "yellow": 8.0 * self.dice.randint(0, 4)}
            args["pieces"] = self.dice.choice((1, 2, 4))
            with self.told.lock:
                self.told.draws[key] = dict(args)
        elif task == "series":
            args["count"] = self.dice.randint(1, 3)
        return key, (task, args)


class Person(Hand):
    """Answers questions, releases what is held, decides on what was interrupted, and fills paint in."""

    every_s = 0.1

    def work(self, caller: Caller) -> None:
        """All that needs somebody."""
        self._answer(caller)
        self._decide(caller)
        if self.dice.random() < 0.2:
            self._restock(caller)

    def wind_up(self, caller: Caller) -> bool:
        """The same, but no more paint."""
        return self._answer(caller) + self._decide(caller) == 0

    def _answer(self, caller: Caller) -> int:
        found = self.look(caller, "jobs?state=waiting&limit=50")
        asking = [job for job in (found or {"jobs": []})["jobs"] if job["asks"]]
        for job in asking:
            word = self.dice.choice(("yes", "no"))
            if self.act(caller, f"jobs/{job['id']}/answer", {"value": word}) is not None:
                with self.told.lock:
                    self.told.answers[job["id"]] = word
        return len(asking)

    def _decide(self, caller: Caller) -> int:
        held = (self.look(caller, "jobs?state=queued&limit=100") or {"jobs": []})["jobs"]
        held = [job for job in held if job["hold"]]
        for job in held:
            self.act(caller, f"jobs/{job['id']}/{self.dice.choice(('release', 'cancel'))}")
        for job in (self.look(caller, "jobs?state=interrupted&limit=20") or {"jobs": []})["jobs"]:
            if self.dice.random() < INTERRUPTED_DECIDED:
                self.act(caller, f"jobs/{job['id']}/cancel", {"reason": "somebody looked"})
        return len(held)

    def _restock(self, caller: Caller) -> None:
        cause = self.fresh_key()
        name, volume_ul = self.dice.choice(("red", "yellow")), 16.0 * self.dice.randint(1, 20)
        with self.told.lock:
            self.told.restocks[cause] = {"reservoir": name, "volume_ul": volume_ul, "told": False}
        body = {"volumes_ul": {name: volume_ul}, "operator": OPERATOR, "cause": cause}
        if self.act(caller, "inventory/restock", body) is not None:
            with self.told.lock:
                self.told.restocks[cause]["told"] = True

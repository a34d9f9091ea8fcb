"""How `labctl snapshot` follows a load: each step as it ends, the step under way with its rows, rate and time left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl import exits, render, snapshot_words, summaries, terminal
from labctl.commands.verbs import Watch
from labctl.invocation import Invocation
from labd.errors import NotFound

Json = dict[str, Any]
STEPS_OF = "snapshots.process_snapshot"


class SnapshotWatch(Watch):
    """Of one verb."""

    def __init__(self, call: Invocation) -> None:
        super().__init__()
        self._call = call
        self._told: set[int] = set()

    def text(self, job: Json) -> str:
        """The step under way, or what it waits for; steps that have ended are told on lines of their own."""
        child = self._steps(job)
        shown = job if child is None else self._call.client.job(child)
        if shown["state"] != "queued" or shown.get("attempt"):
            return render.progress_text(shown)
        causes = self._call.client.why(shown["id"]).get("causes") or []
        waits = "; ".join(str(cause.get("message") or cause.get("code")) for cause in causes)
        return f"{render.progress_text(shown)}{f', {waits}' if waits else ''}"

    def _steps(self, job: Mapping[str, Any]) -> int | None:
        """Tell the steps that have ended; the job of the one under way."""
        if job["task"] != STEPS_OF:
            return None
        for step in self._call.client.steps(job["id"]):
            if step.get("kind") != "call":
                continue
            if not step.get("done"):
                return step.get("job_id")
            if step["ordinal"] not in self._told and not step.get("error"):
                self._told.add(step["ordinal"])
                self.progress.clear()
                terminal.tell(render.printable(f"  {snapshot_words.step(step['what'], step.get('result'))}"))
        return None

    def ended(self, job: Json, seconds: float) -> str:
        """What came of it, and who serves now."""
        self._steps(job)
        now = self._serving(job["args"].get("customer"))
        if job["state"] != "succeeded" or not isinstance(job["result"], Mapping):
            told = "" if now is None else f"\n{snapshot_words.serves(now)}"
            return summaries.ended(job, seconds) + told
        return snapshot_words.ended(job, seconds, now)

    def _serving(self, customer: str | None) -> Json | None:
        try:
            return None if customer is None else self._call.client.snapshot_customer(customer)
        except NotFound:
            return None

    def code(self, job: Json) -> int:
        """A snapshot that is held, or that differs, wants a person."""
        code = exits.of_job(job)
        result = job.get("result")
        differs = job["task"] == "snapshots.verify_database" and isinstance(result, Mapping) and result["differences"]
        return exits.ATTENTION if code == exits.DONE and (snapshot_words.held(result) or differs) else code


class CleanupWatch(Watch):
    """Of a cleanup."""

    def ended(self, job: Json, seconds: float) -> str:
        """Every database, and what became of it."""
        if job["state"] != "succeeded":
            return summaries.ended(job, seconds)
        return snapshot_words.cleanup(job["result"], dry_run=False)

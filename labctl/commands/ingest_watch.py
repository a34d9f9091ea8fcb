"""How `labctl ingest` follows a run: each step as it ends, the step under way, and how the run ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl import exits, ingest_words, render, summaries, terminal
from labctl.commands.verbs import Watch
from labctl.invocation import Invocation

Json = dict[str, Any]
RUN = "ingest.run"


class JobWatch(Watch):
    """Of a refresh or a drop: the result in lines."""


class RunWatch(Watch):
    """Of a run."""

    def __init__(self, call: Invocation) -> None:
        super().__init__()
        self._call = call
        self._told: set[int] = set()

    def text(self, job: Json) -> str:
        """The step under way; steps that have ended are told on lines of their own."""
        child = self._steps(job)
        return render.progress_text(job if child is None else self._call.client.job(child))

    def _steps(self, job: Mapping[str, Any]) -> int | None:
        """Tell the steps that have ended; the job of the one under way."""
        if job["task"] != RUN or job["state"] == "queued":
            return None
        for step in self._call.client.steps(job["id"]):
            if step.get("kind") != "call":
                continue
            if not step.get("done"):
                return step.get("job_id")
            if step["ordinal"] not in self._told and not step.get("error"):
                self._told.add(step["ordinal"])
                told = ingest_words.step(step["what"], step.get("result"))
                if not step["what"].endswith(("create_run", "complete_run")):
                    self.progress.clear()
                    terminal.tell(render.printable(f"  {told}"))
        return None

    def ended(self, job: Json, seconds: float) -> str:
        """Files, rows, and what is bad."""
        self._steps(job)
        if job["state"] != "succeeded" or not isinstance(job["result"], Mapping):
            return summaries.ended(job, seconds)
        return ingest_words.ended(job, seconds)

    def code(self, job: Json) -> int:
        """A run with bad files wants a person."""
        code, result = exits.of_job(job), job.get("result")
        partial = isinstance(result, Mapping) and result.get("state") == "partial"
        return exits.ATTENTION if code == exits.DONE and partial else code

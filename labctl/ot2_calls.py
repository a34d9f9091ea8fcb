"""The OT-2 robot in the blocking client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl import ot2_requests as ot2
from labctl.routes import SUBMIT_ANSWER_S, Request, post, submission

Json = dict[str, Any]


class OT2Calls:
    """What a client asks of a robot; `device` names one and may be left out where there is one.

    Raises:
        NotConnected, DeviceBusy, StopLatched, Refused, UnknownDevice: Nothing was done.
    """

    @abstractmethod
    def _object(self, request: Request, timeout_s: float | None = None) -> Json: ...

    @abstractmethod
    def wait(self, job_id: int, timeout_s: float | None = None) -> Json:
        """The job when it has ended, or as it is when the time is over."""
        ...

    def ot2_analyze(
        self,
        protocol: str | Path,
        parameters: Mapping[str, Any] | None = None,
        labware: Sequence[str | Path] = (),
        device: str | None = None,
        timeout_s: float | None = None,
    ) -> Json:
        """What a protocol file would do, in opentrons' simulator: tips, volumes by well, duration, errors.

        A faulty protocol is an answer whose `ok` is false.

        Raises:
            BadRequest: A file cannot be read.
            TimeoutError: It took longer than `timeout_s`; the job goes on.
            LabdError: The error of an analysis that had no result.
        """
        kept = self._object(ot2.keep(protocol, labware))
        args = ot2.arguments(kept, parameters, device)
        job = self._object(post("/jobs", submission("ot2.analyze_protocol", args, {})))
        return ot2.found_in(self.wait(int(job["id"]), timeout_s))

    def ot2_run(
        self,
        protocol: str | Path,
        parameters: Mapping[str, Any] | None = None,
        labware: Sequence[str | Path] = (),
        device: str | None = None,
        **options: Any,
    ) -> Json:
        """Ask for a run of a protocol file: the job, which is on disk; `wait` follows it to its end.

        Options are the fields of a submission, such as `idempotency_key` or `override`.
        """
        kept = self._object(ot2.keep(protocol, labware))
        return self._object(ot2.run(ot2.arguments(kept, parameters, device), options), SUBMIT_ANSWER_S)

    def ot2_home(self, device: str | None = None, **options: Any) -> Json:
        """Ask for all axes to home: the job; refused while a run has the robot."""
        args = {} if device is None else {"device": device}
        return self._object(post("/jobs", submission("ot2.home", args, options)))

    def ot2_status(self, device: str | None = None) -> Json:
        """State of a robot, the run on it and what is allowed now."""
        return self._object(ot2.status(device))

    def ot2_pause(self, device: str | None = None) -> Json:
        """Pause labd's own run; the command under way ends first."""
        return self._object(ot2.change("pause", device))

    def ot2_resume(self, device: str | None = None) -> Json:
        """Go on after a pause, a closed door, or an error that was put right."""
        return self._object(ot2.change("resume", device))

    def ot2_stop(self, device: str | None = None, reason: str | None = None, timeout_s: float | None = None) -> Json:
        """Stop labd's own run now, of all robots if none is named; latched until a reset, `confirmed` if read back."""
        return self._object(ot2.stop(device, reason), timeout_s or ot2.STOP_ANSWER_S)

    def ot2_reset(self, by: str, reason: str, device: str | None = None) -> Json:
        """Lift the latch of a stop; says who and why."""
        return self._object(ot2.reset(by, reason, device))

    def ot2_lights(self, on: bool | None = None, device: str | None = None) -> Json:
        """Switch the lights, or ask whether they are on: `{"device", "lights_on"}`."""
        return self._object(ot2.lights(on, device))

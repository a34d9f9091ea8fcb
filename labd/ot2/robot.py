"""The port to a robot: what every driver does, and the values they speak in. No knowledge of jobs.

The obligations of a driver:
- An answer that never came is `DeviceLost` or `DeviceTimeout`; it says nothing about whether the robot did it.
- Nothing is sent twice by the driver itself; who lost an answer asks for the run.
- `act` takes the id of a run and acts on that run or on none.
- A robot whose software is still starting is `RobotStarting`, not a lost one.

Source of the words: facts of the Opentrons robot server 8.x, its HTTP API version 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from labd.errors import NotConnected

Action = Literal["play", "pause", "stop", "resume-from-recovery"]


class RunStatus(StrEnum):
    """Where a run stands, in the robot's own words."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    BLOCKED_BY_OPEN_DOOR = "blocked-by-open-door"
    STOP_REQUESTED = "stop-requested"
    FINISHING = "finishing"
    AWAITING_RECOVERY = "awaiting-recovery"
    AWAITING_RECOVERY_PAUSED = "awaiting-recovery-paused"
    AWAITING_RECOVERY_BLOCKED_BY_OPEN_DOOR = "awaiting-recovery-blocked-by-open-door"
    STOPPED = "stopped"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


R = RunStatus
ENDED = frozenset({R.STOPPED, R.FAILED, R.SUCCEEDED})
RECOVERING = frozenset({R.AWAITING_RECOVERY, R.AWAITING_RECOVERY_PAUSED, R.AWAITING_RECOVERY_BLOCKED_BY_OPEN_DOOR})
AT_REST = ENDED | RECOVERING | {R.IDLE, R.PAUSED, R.BLOCKED_BY_OPEN_DOOR}


class RobotStarting(NotConnected):
    """The robot is there, its software is not ready yet."""


@dataclass(frozen=True, slots=True)
class Document:
    """A protocol file or a custom labware definition; the text as it was given."""

    name: str
    text: str


VIRTUAL_SERIAL = "simulated"  # what `labd simulate ot2` calls itself; a real robot has its number there, or nothing


@dataclass(frozen=True, slots=True)
class RobotHealth:
    """Who the robot is."""

    name: str
    model: str
    serial: str | None
    software: str
    firmware: str
    api_level_low: str
    api_level_high: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as the robot tells it.

    Args:
        actions: What was asked of it so far, oldest first.
        errors: `errorType` and `detail` of each.
    """

    run_id: str
    status: RunStatus
    current: bool
    protocol_id: str | None = None
    actions: tuple[str, ...] = ()
    errors: tuple[Mapping[str, Any], ...] = ()
    started_at: str | None = None
    completed_at: str | None = None

    @property
    def ended(self) -> bool:
        """Nothing of it will move any more."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Upload:
    """A protocol on the robot and what the robot's own analysis says of it."""

    protocol_id: str
    ok: bool
    errors: tuple[str, ...] = ()
    command_count: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a run; `result` is told of one command, a page of them may leave it out."""

    command_id: str
    kind: str
    status: str
    params: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """A page of a run's commands; `first` is the number of the first one in it, `total` of all there are so far."""

    first: int
    total: int
    entries: tuple[Step, ...]


class Robot(Protocol):
    """One robot."""

    async def health(self) -> RobotHealth:
        """Who it is; also the sign of life.

        Raises:
            RobotStarting: Its software is not ready.
            DeviceLost, DeviceTimeout: No answer.
        """
        ...

    async def upload(self, documents: Sequence[Document], parameters: Mapping[str, Any]) -> Upload:
        """Bring a protocol (the first document) and its labware to the robot and wait for its analysis there.

        Raises:
            ProtocolRefused: It is no protocol that this robot can read.
        """
        ...

    async def create_run(self, protocol_id: str, parameters: Mapping[str, Any]) -> RunView:
        """A run that does not move yet.

        Raises:
            DeviceBusy: Another run is active.
        """
        ...

    async def run(self, run_id: str) -> RunView | None:
        """One run; None if the robot does not know it (any more)."""
        ...

    async def current_run(self) -> RunView | None:
        """The run that has the robot, whoever made it."""
        ...

    async def maintenance_run(self) -> str | None:
        """Id of a maintenance run, such as a calibration at the robot."""
        ...

    async def act(self, run_id: str, action: Action) -> None:
        """Ask a run to play, pause, stop or resume; play and stop may be asked again.

        Raises:
            DeviceBusy: The robot does not allow it in the run's state.
        """
        ...

    async def steps(self, run_id: str, first: int, count: int) -> Steps:
        """Commands of a run from number `first`."""
        ...

    async def step(self, run_id: str, command_id: str) -> Step:
        """One command with its result."""
        ...

    async def door_open(self) -> bool:
        """Whether the door stands open."""
        ...

    async def lights(self, on: bool | None = None) -> bool:
        """Whether the lights are on, after setting them if asked."""
        ...

    async def home(self) -> None:
        """All axes home; returns when there. The robot allows it in mid-run: the caller must not."""
        ...

    async def close(self) -> None:
        """Let go of the connection; a second call does nothing."""
        ...

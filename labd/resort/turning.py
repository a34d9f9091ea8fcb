"""One turn of a carousel for a job: the goal, the log, the progress, and where it came to rest.

Why a turn that ended badly holds what waits behind it: something blocks the carousel, or the motor is not well. The
next goal in the queue would press against the same thing, without anybody having looked. What is asked for afterwards
is somebody's new decision and runs.
"""

from __future__ import annotations

from typing import Any

from labd.engine.registry import JobContext
from labd.errors import DeviceError
from labd.resort.angles import STEPS_PER_TURN, Geometry, Goal
from labd.resort.device import ResortDevice
from labd.resort.drive.carousel import MoveProgress


async def turn(device: ResortDevice, angle_deg: float, ctx: JobContext, hotel: str | None = None) -> dict[str, Any]:
    """Turn the carousel to an angle by the shortest way and say where it came to rest.

    Raises:
        GoalRefused: No goal for that angle.
        DeviceError: The move did not end well; the driver's own errors.
    """
    geometry = device.geometry
    state = await device.seen.guarded(device.carousel.read_state())
    goal = geometry.goal(angle_deg, state.position_steps)
    ctx.log(_intention(geometry, goal, hotel, state.position_steps))
    total_deg = abs(goal.travel_deg)

    def tell(progress: MoveProgress) -> None:
        done_deg = abs(_deg(progress.position_steps - progress.start_steps))
        here_deg = geometry.carousel_deg(progress.position_steps)
        ctx.progress(round(min(done_deg, total_deg), 1), round(total_deg, 1), f"at {here_deg:.1f} degrees")

    device.seen.activity()
    try:
        result = await device.seen.guarded(device.carousel.move_to(goal.steps, on_progress=tell))
    except DeviceError as fault:
        device.hold_queued(fault.code, f"the move of job {ctx.job.id} ended with {fault.code} while this waited")
        raise
    device.seen.activity()
    device.attention.clear()  # it moves freely again
    return {
        "device": device.name,
        "hotel": geometry.hotel_at(result.end_steps),
        "position_deg": round(geometry.carousel_deg(result.end_steps), 2),
        "position_steps": result.end_steps,
        "goal_deg": round(goal.angle_deg, 2),
        "travelled_deg": round(_deg(result.end_steps - result.start_steps), 2),
        "duration_s": round(result.duration_s, 3),
    }


def _intention(geometry: Geometry, goal: Goal, hotel: str | None, present_steps: int) -> str:
    place = f"hotel {hotel} at {goal.angle_deg:.2f} degrees" if hotel else f"{goal.angle_deg:.2f} degrees"
    here_deg = geometry.carousel_deg(present_steps)
    detour = ""
    if goal.folded and geometry.multi_turn:
        detour = "; by another turn, because the nearest goal is beyond +-256 turns or cannot be sent safely"
    elif goal.folded:
        detour = '; the long way, because mode = "position" stays within one turn of the motor'
    return f"from {here_deg:.2f} degrees to {place}: {goal.travel_deg:+.2f} degrees of the motor{detour}"


def _deg(steps: int) -> float:
    return steps * 360.0 / STEPS_PER_TURN

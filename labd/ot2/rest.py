"""Brings a run to rest, confirmed by reading back."""

from __future__ import annotations

from typing import Literal

from labd.clock import Clock
from labd.errors import DeviceBusy, DeviceError, NotConnected
from labd.ot2.robot import AT_REST, ENDED, Robot, RunStatus, RunView

AGAIN_S = 0.25
LONGEST_S = 2.0


async def bring_to_rest(robot: Robot, run_id: str, action: Literal["pause", "stop"], clock: Clock) -> RunView | None:
    """Send the action, then ask until the robot says so; tries for ever, the caller sets the limit.

    The action goes out first, before anything is asked. It is sent again only while the run still moves and has not
    taken it: a robot homes after a stop, and tells `stop-requested` meanwhile.

    Returns:
        The run at rest, or as it is if it is not the current one: nobody can act on it then. None if the robot does
        not know it any more.
    """
    goal = ENDED if action == "stop" else AT_REST
    taken = {RunStatus.STOP_REQUESTED, RunStatus.FINISHING}
    delay_s = AGAIN_S
    send = True
    while True:
        try:
            if send:
                await robot.act(run_id, action)
            view = await robot.run(run_id)
            if view is None or view.status in goal or not view.current:
                return view
            send = view.status not in taken
            delay_s = AGAIN_S
        except DeviceBusy:  # it is not allowed in this state: the state decides
            view = await _seen(robot, run_id)
            if view is not None and (view.status in goal or not view.current):
                return view
        except (DeviceError, NotConnected):
            send = True
            delay_s = min(2 * delay_s, LONGEST_S)
        await clock.sleep(delay_s)


async def _seen(robot: Robot, run_id: str) -> RunView | None:
    try:
        return await robot.run(run_id)
    except (DeviceError, NotConnected):
        return None

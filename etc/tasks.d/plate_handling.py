"""A flow over the carousel and a person: turns a hotel to the front, and waits until somebody took the plate.

Why it is repeatable although something turns: what moves is a child job, physical and never repeated by itself. The
flow runs from its top after the answer, also when labd was restarted meanwhile, and gets what is recorded.
"""

from __future__ import annotations

from typing import Any

from labd import ask, call, flow, log


@flow
def load_plate(hotel: str = "C") -> dict[str, Any]:
    """Bring a hotel to the front, and ask whether its plate is on the robot."""
    call("resort.activate_hotel", hotel=hotel)
    log(f"hotel {hotel} is at the front")
    loaded = ask(f"Is the plate of hotel {hotel} on the robot?", choices=["yes", "no"])
    return {"hotel": hotel, "loaded": loaded == "yes"}

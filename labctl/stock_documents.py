"""Exports of the inventory as labctl reads them before it asks for anything: do the movements make the levels?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labd.errors import BadRequest

TELLS_APART_UL = 0.01  # ten times what the rounding of two figures to 0.001 ul can make


def checked(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The document without its movements, which have been followed from zero to the level of each reservoir.

    Why they stay here: the daemon takes over levels only, and a history may be larger than any request it takes.

    Raises:
        BadRequest: A movement does not follow the one before it, or they do not make the level.
    """
    balances: dict[str, float] = {}
    try:
        for one in sorted(document.get("movements") or [], key=lambda one: int(one["id"])):
            key, balance = str(one["reservoir"]), balances.get(str(one["reservoir"]), 0.0)
            if abs(one["before_ul"] - balance) > TELLS_APART_UL:
                raise BadRequest(
                    f"{name}: movement {one['id']} of {key} begins at {one['before_ul']:g} ul, the one before it "
                    f"ends at {balance:g} ul"
                )
            balances[key] = float(one["after_ul"])
        for one in document.get("reservoirs") or []:
            key, level = str(one["key"]), one["level_ul"]
            if (
                document.get("movements")
                and one["initialized"]
                and abs(level - balances.get(key, 0.0)) > TELLS_APART_UL
            ):
                raise BadRequest(
                    f"{name}: the movements of {key} end at {balances.get(key, 0.0):g} ul and do not make the level of "
                    f"{level:g} ul"
                )
    except (KeyError, TypeError, ValueError) as fault:
        raise BadRequest(f"{name}: no export of an inventory ({fault!r})") from None
    return {key: value for key, value in document.items() if key != "movements"}

"""Why a file cannot be used."""

from __future__ import annotations


class FileFault(Exception):
    """Nothing of a file can be used. `place` is such as `line 7` or `row group 2`."""

    def __init__(self, code: str, message: str, place: str = "") -> None:
        super().__init__(f"{message} ({place})" if place else message)
        self.code = code
        self.message = message
        self.place = place

    def to_wire(self) -> dict[str, str]:
        """In the shape of `FileFault` in port.py."""
        return {"code": self.code, "message": self.message, "place": self.place}

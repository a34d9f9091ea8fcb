"""Volumes as people type them: `15`, `15ml`, `15000ul`; millilitres where no unit is said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from labd.errors import BadVolume

_NUMBER = r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|infinity|inf)"
_VOLUME = re.compile(rf"({_NUMBER})\s*([^\d\s].*)?", re.IGNORECASE)
_UNIT_UL = {"ul": 1.0, "µl": 1.0, "μl": 1.0, "ml": 1000.0}  # both signs for micro: U+00B5 and U+03BC
MOST_UL = 1e9  # a cubic metre; what a reservoir really holds is the daemon's to say


def microlitres(text: str, subject: str = "volume") -> float:
    """Microlitres of one word; a sign is kept, whether it may stand is the daemon's to say.

    Raises:
        BadVolume: No number, no finite one, or a unit other than ul and ml.
    """
    found = _VOLUME.fullmatch(text.strip())
    if found is None:
        raise BadVolume(f"{subject} {text!r}: not a volume; write 15, 15ml or 15000ul", value=text)
    unit = (found[2] or "ml").strip()
    value = float(found[1])
    if not math.isfinite(value):
        raise BadVolume(f"{subject} {text}: must be a finite number, at most {MOST_UL / 1000:g} ml", value=text)
    if unit.lower() not in _UNIT_UL:
        raise BadVolume(f"{subject} {text}: unit {unit!r} is not known; units are ul and ml", value=text, unit=unit)
    volume_ul = value * _UNIT_UL[unit.lower()]
    if abs(volume_ul) > MOST_UL:
        raise BadVolume(f"{subject} {text}: {abs(volume_ul) / 1000:g} ml; at most {MOST_UL / 1000:g} ml", value=text)
    return round(volume_ul, 6)


def named(words: Sequence[str], order: Sequence[str]) -> dict[str, float]:
    """Microlitres by reservoir, from `15 15 15` in the configured order or from `red=15 blue=15000ul`.

    Raises:
        BadVolume: A mixture of both, more or fewer bare volumes than reservoirs, or a name said twice.
    """
    pairs = [word for word in words if "=" in word]
    if pairs and len(pairs) != len(words):
        raise BadVolume(
            f"{' '.join(words)}: say all volumes by name (red=15) or all in the order {' '.join(order)}, not both"
        )
    if not pairs:
        if len(words) != len(order):
            raise BadVolume(
                f"{len(words)} volumes for {len(order)} reservoirs ({' '.join(order)}); give all, or name them: red=15",
                given=len(words),
                wanted=len(order),
            )
        return {name: microlitres(word, name) for name, word in zip(order, words, strict=True)}
    found: dict[str, float] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        if not name:
            raise BadVolume(f"{pair}: a volume is written NAME=VOLUME, such as red=15")
        if name in found:
            raise BadVolume(f"{name} is given twice; give it once")
        found[name] = microlitres(text, name)
    return found


def is_volume(text: str) -> bool:
    """Whether a word is meant as a volume and not as a name: it begins with a number."""
    return "=" in text or _VOLUME.fullmatch(text.strip()) is not None


def shown(volume_ul: float | None) -> str:
    """A volume for people: microlitres below 1 ml, millilitres above."""
    if volume_ul is None:
        return ""
    if abs(volume_ul) < 1000.0:
        return f"{volume_ul:.1f} ul"
    return f"{volume_ul / 1000:.2f} ml"

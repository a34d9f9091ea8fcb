"""What a screenshot shows, measured in the browser itself: is anything drawn, and does it run over the edge?

Why in a blank page of its own: the dashboard's content policy forbids what this takes, and that is to stay so.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

MEASURE = """async ({png, main, stop}) => {
    const bytes = Uint8Array.from(atob(png), (char) => char.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
    const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const take = (x, y, width, height) => new Uint32Array(pen.getImageData(x, y, width, height).data.buffer);
    const [left, top, right, bottom] = [main.x, main.y, main.x + main.width, main.y + main.height].map(Math.round);
    const ground = take(left + 2, top + 4, 1, 1)[0];
    const band = 8, bands = Math.floor((bottom - top) / band);
    let inked = 0, drawn = 0;
    const colours = new Set();
    for (let at = 0; at < bands; at += 1) {
        const row = take(left + 2, top + at * band, right - left - 4, band);
        let ink = 0;
        for (const pixel of row) { if (pixel !== ground) ink += 1; if (colours.size < 500) colours.add(pixel); }
        drawn += ink;
        inked += ink > 0;
    }
    const edge = (x) => take(x, top + 1, 4, bottom - top - 2).reduce((sum, pixel) => sum + (pixel !== ground), 0);
    const [red, green, blue] = pen.getImageData(stop.x + stop.width - 8, stop.y + stop.height / 2, 1, 1).data;
    return {ink: drawn / ((right - left) * bands * band), bands: inked / bands, colours: colours.size,
        edge: edge(right - 5), stop: [red, green, blue]};
}"""
INK_AT_LEAST, BANDS_AT_LEAST, COLOURS_AT_LEAST = 0.02, 0.08, 30


@dataclass(frozen=True)
class Look:
    """Parts of the page's place that are drawn on, and what is drawn where nothing may be."""

    ink: float
    bands: float
    colours: int
    edge: int
    stop: list[int]

    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = []
        if self.ink < INK_AT_LEAST or self.bands < BANDS_AT_LEAST or self.colours < COLOURS_AT_LEAST:
            found.append(f"almost empty: {self}")
        if self.edge:
            found.append(f"{self.edge} pixels are drawn in the margin at the right edge")
        red, green, blue = self.stop
        if red < 150 or max(green, blue) > 90:
            found.append(f"STOP is not red but rgb{tuple(self.stop)}")
        return found


class Eye:
    """Looks at screenshots; `blank` is a page that shows nothing."""

    def __init__(self, blank: Any) -> None:
        self._blank = blank

    def look(self, page: Any, png: bytes) -> Look:
        """Measure a screenshot of this page as it is now."""
        boxes = {name: page.locator(f"#{name}").bounding_box() for name in ("main", "stop")}
        return Look(**self._blank.evaluate(MEASURE, {"png": base64.b64encode(png).decode(), **boxes}))

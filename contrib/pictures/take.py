"""Pictures of the dashboard for the README, of a real daemon on virtual devices: `python contrib/pictures/take.py`.

Needs Chromium and playwright, as the browser tests do. The pictures have 255 colours, found in the browser: a quarter
of the bytes, and nobody sees it.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from labctl import Client
from labd.demo import Tour, config_path
from labd.demo_daemon import DemoDaemon, module_command

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = {"bench": "/", "resort": "/resort"}
THEMES = ("light", "dark")
WIDTH, HEIGHT = 1280, 800
BYTES_MOST = 300_000  # all of them together
REDUCE = """async (png) => {
    const bytes = Uint8Array.from(atob(png), (char) => char.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
    const canvas = new OffscreenCanvas(image.width, image.height), pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    const pixels = new Uint32Array(pen.getImageData(0, 0, image.width, image.height).data.buffer);
    const counts = new Map();
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
    const parts = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    const near = ([r, g, b], [red, green, blue]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
    const palette = [], known = [];
    for (const [pixel] of [...counts].sort((a, b) => b[1] - a[1])) {
        const colour = parts(pixel);
        // A shade of what is there already must not take the place of a small green light.
        if (palette.length === 255 || known.some((other) => near(colour, other) < 60)) continue;
        palette.push(pixel);
        known.push(colour);
    }
    const nearest = new Map(palette.map((pixel, index) => [pixel, index]));
    const indexes = new Uint8Array(pixels.length);
    pixels.forEach((pixel, at) => {
        let index = nearest.get(pixel);
        if (index === undefined) {
            const far = known.map((colour) => near(colour, parts(pixel)));
            index = far.indexOf(Math.min(...far));
            nearest.set(pixel, index);
        }
        indexes[at] = index;
    });
    let text = "";
    for (let at = 0; at < indexes.length; at += 8192) text += String.fromCharCode(...indexes.subarray(at, at + 8192));
    return {palette: known.flat(), indexes: btoa(text), width: image.width, height: image.height};
}"""


def png(palette: list[int], indexes: bytes, width: int, height: int) -> bytes:
    """A picture of at most 256 colours."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + indexes[at : at + width] for at in range(0, len(indexes), width))
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"PLTE", bytes(palette)), chunk(b"IDAT", zlib.compress(rows, 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@contextmanager
def demo() -> Iterator[DemoDaemon]:
    """The daemon of `labd demo` after its tour."""
    folder = Path(tempfile.mkdtemp(prefix="labd-pictures-"))
    daemon = DemoDaemon(folder, config_path(), ROOT / "etc" / "tasks.d")
    try:
        if not daemon.start():
            sys.exit(daemon.log())
        tour = Tour(daemon)
        tour.take()
        if tour.failed:
            sys.exit(f"the tour of the demo failed: {tour.failed}")
        yield daemon
    finally:
        daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


def set_the_scene(daemon: DemoDaemon) -> None:
    """A question that waits for a person, a slow move, one behind it, and a queue that somebody has paused."""
    for line in (
        "resort speed 40", "task run load_plate hotel=A --no-wait", "resort activate A", "resort speed 1",
        "queue pause low-priority --reason cleaning", "resort activate C --no-wait", "resort activate B --no-wait",
    ):  # fmt: skip
        subprocess.run(
            [*module_command("labctl"), *line.split()], env={**os.environ, "LABD_HOST": daemon.host}, check=True
        )


def take(browser: Any, daemon: DemoDaemon, theme: str, folder: Path) -> int:
    """Every page of `PAGES` in this theme; the bytes of all of them."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme, base_url=daemon.url, locale="en-GB"
    )
    token = Client(daemon.host).create_token(f"pictures-{theme}", ["read", "operate", "admin"])["token"]
    context.request.post("/api/v1/session", data={"token": token}, headers={"Origin": daemon.url.rstrip("/")})
    page, blank = context.new_page(), context.new_page()
    size_bytes = 0
    for name, path in PAGES.items():
        page.goto(f"/#{path}")
        page.locator("main .badge", has_text="moving").first.wait_for()
        page.wait_for_timeout(1000)  # drawings come to rest; the carousel turns on
        reduced = blank.evaluate(REDUCE, base64.b64encode(page.screenshot()).decode())
        indexes = base64.b64decode(reduced["indexes"])
        picture = png(reduced["palette"], indexes, reduced["width"], reduced["height"])
        (folder / f"{name}-{theme}.png").write_bytes(picture)
        sys.stdout.write(f"{name}-{theme}.png: {len(picture)} bytes\n")
        size_bytes += len(picture)
    context.close()
    return size_bytes


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent)
    folder = parser.parse_args().folder
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with demo() as daemon, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        set_the_scene(daemon)
        size_bytes = sum(take(browser, daemon, theme, folder) for theme in THEMES)
        browser.close()
    if size_bytes > BYTES_MOST:
        sys.exit(f"the pictures have {size_bytes} bytes, more than {BYTES_MOST}")


if __name__ == "__main__":
    main()

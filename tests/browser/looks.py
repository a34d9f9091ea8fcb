"""What every page owes everybody: it fits each screen, in both themes, and axe-core finds nothing serious."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import OUTPUT, SIZES
from tests.fakes import axe_core

FITS = """() => {
    const main = document.querySelector("main");
    const edge = main.getBoundingClientRect().right + 1, box = (node) => node.getBoundingClientRect();
    const wide = [...main.querySelectorAll("*")].filter((node) => !node.closest(".scroll, pre, .vtable, .track, svg")
        && box(node).right > edge && box(node).width);
    return {page: document.documentElement.scrollWidth - innerWidth, main: main.scrollWidth - main.clientWidth,
        wide: wide.slice(0, 3).map((node) => node.className + ": " + node.textContent.slice(0, 60))};
}"""


def faults(page: Any, name: str, only: tuple[str, ...] = ()) -> list[str]:
    """What keeps people from using the page, as axe-core finds it; only what is serious."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(only)} if only else {})}
    report = page.evaluate("(options) => axe.run(document, options)", options)
    bad = [fault for fault in report["violations"] if fault["impact"] in ("serious", "critical")]
    return [
        f"{name}: {one['id']}: {(node := one['nodes'][0])['html'][:160]} {node['failureSummary'][:300]}" for one in bad
    ]


def assert_usable(page: Any, name: str) -> None:
    """A page as it stands, on every screen in both themes; its pictures are kept as `name-full-...`."""
    page.evaluate(axe_core.script())
    OUTPUT.mkdir(parents=True, exist_ok=True)
    found = []
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function("(theme) => document.documentElement.dataset.theme === theme", arg=theme)
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            fits = page.evaluate(FITS)
            if fits["page"] > 0 or fits["main"] > 0 or fits["wide"]:
                found.append(f"{size} {theme}: too wide: {fits}")
            if size != "wall":  # whose pictures are four times as large, of the same page
                page.screenshot(path=OUTPUT / f"{name}-full-{size}-{theme}.png")
            if size == "desk":
                found += faults(page, f"{size} {theme}")
    assert not found, "\n".join(found)

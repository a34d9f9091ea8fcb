"""A real Chromium over a real daemon whose wings are simulated; screenshots go to test-output/browser.

Every page that a test opens must end without a script error, without a violation of the content policy and without a
word on the console above `info`; what a test expects there it says itself (`seen.expected`).
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from labctl import Client
from tests.acceptance.processes import FAST, ROOT, Daemon, toml
from tests.conftest import requires

OUTPUT = ROOT / "test-output" / "browser"
TASKS = Path(__file__).parent / "tasks"
SIZES = {"desk": (1360, 860), "phone": (390, 844), "wall": (2560, 1440)}
WATCH = """
window.labdViolations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.labdViolations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}`));
"""


def chromium_path() -> str | None:
    """The one on PATH, else the one that Playwright has fetched (an empty string), else None."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is not None:
        return found
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return "" if any(folder.glob("chromium*")) else None


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """One browser for all tests of this folder; each test has a context of its own.

    Why not for the session: playwright's event loop runs in this thread as long as it is open, and the asynchronous
    tests of other folders want one of their own.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        requires("playwright", False, "pip install playwright")
    path = chromium_path()
    requires("chromium", path is not None, "apt-get install chromium, or `playwright install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path or None, args=["--no-sandbox"])
        yield browser
        browser.close()


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Lab:
    """A daemon with a door for browsers and a token for each scope."""

    daemon: Daemon
    origin: str
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> Client:
        """Asks the daemon from this process."""
        return self.daemon.client

    def token(self, scope: str) -> str:
        """A token that has this scope."""
        if scope not in self.tokens:
            self.tokens[scope] = self.daemon.client.create_token(f"browser-{scope}", [scope])["token"]
        return self.tokens[scope]

    def submit(self, task: str, **args: Any) -> int:
        """The number of a new job."""
        return int(self.daemon.client.submit(task, args)["id"])


def settings(port: int, **resort: Any) -> str:
    """All wings on their simulators."""
    return "".join([
        toml("host", name="bench"),
        toml("api", listen=f"127.0.0.1:{port}"),
        toml("resort", driver="simulated", **{**FAST, **resort}),
        toml("ot2", driver="simulated", preflight="robot"),
        toml("ot2.simulated", time_scale=20.0),
        toml("inventory", simulated=True),
        toml("snapshots", allow_simulate=True),
        toml("tasks", folders=[str(TASKS)]),
        toml("env.default", simulated=True),
    ])  # fmt: skip


def _lab(folder: Path, **resort: Any) -> Lab:
    port = free_port()
    return Lab(Daemon(folder, settings(port, **resort), test_wing=True), f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One daemon for the tests of a module, whose `RESORT` says what of the carousel is not as elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    lab = _lab(folder, **getattr(request.module, "RESORT", {}))
    try:
        lab.daemon.start().ready()
        yield lab
    finally:
        lab.daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_lab(state_dir: Path) -> Iterator[Lab]:
    """One daemon for a test that ends it or starts it again."""
    lab = _lab(state_dir)
    try:
        lab.daemon.start().ready()
        yield lab
    finally:
        lab.daemon.end()


class Seen:
    """One browser: its pages, and what they said that they should not."""

    def __init__(self, context: Any, lab: Lab) -> None:
        self.context = context
        self.lab = lab
        self.said: list[str] = []
        self.expected: tuple[str, ...] = ()
        context.add_init_script(WATCH)

    def log_in(self, scope: str = "admin") -> Seen:
        """A session by token, as the form makes one."""
        answer = self.context.request.post(
            "/api/v1/session", data={"token": self.lab.token(scope)}, headers={"Origin": self.lab.origin}
        )
        assert answer.ok, answer.text()
        return self

    def open(self, path: str = "/") -> Any:
        """A new page at this path of the dashboard, when its menu is there."""
        page = self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda fault: self.said.append(f"script: {fault} {fault.stack}"))
        page.set_default_timeout(15_000)
        page.goto(f"/#{path}")
        page.locator("#nav a, #token").first.wait_for(state="attached")
        return page

    def blank(self) -> Any:
        """A page that shows nothing, to measure in."""
        return self.context.new_page()

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"console: {message.text}")

    def check(self) -> None:
        """Nothing went wrong out of sight."""
        for page in self.context.pages:
            if page.url == "about:blank":
                continue
            self.said += [f"policy: {line}" for line in page.evaluate("() => window.labdViolations")]
        left = [line for line in self.said if not any(word in line for word in self.expected)]
        assert not left, "\n".join(left)


@pytest.fixture
def own_seen(chromium: Any, own_lab: Lab) -> Iterator[Seen]:
    """The browser of a person at a daemon of the test's own."""
    context = chromium.new_context(viewport={"width": 1360, "height": 860}, base_url=own_lab.origin)
    seen = Seen(context, own_lab).log_in()
    try:
        yield seen
        seen.check()
    finally:
        context.close()


@pytest.fixture
def browsers(chromium: Any, lab: Lab) -> Iterator[Callable[..., Seen]]:
    """Makes browsers of people; each has its own cookies."""
    made: list[Seen] = []

    def make(size: str = "desk", theme: str = "light") -> Seen:
        width, height = SIZES[size]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, base_url=lab.origin, locale="en-GB"
        )
        made.append(Seen(context, lab))
        return made[-1]

    try:
        yield make
        for seen in made:
            seen.check()
    finally:
        for seen in made:
            seen.context.close()


@pytest.fixture
def seen(browsers: Callable[..., Seen]) -> Seen:
    """The browser of a person who may do everything."""
    return browsers().log_in()

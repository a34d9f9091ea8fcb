"""`labctl top` and `labctl bundle` as an operator types them, the first on a real terminal as well."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.processes import ROOT, SLOW, Daemon, script, toml

RESORT = toml("resort", driver="simulated", **SLOW)
CANARY = "c4n4ry-77aa"
HOOK = toml("notify.ops", kind="webhook", url="http://127.0.0.1:9/hook", secret="env:HOOK_SECRET")


def test_top_shows_devices_queues_and_what_runs(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT).start().ready()
    daemon.labctl.ok("resort", "activate", "B", "--no-wait")
    code, out, err = daemon.labctl("top", "--once")
    assert code == 0, err
    assert "resort:main" in out
    assert "resort.activate_hotel" in out
    assert "1 of 4" in out
    both = daemon.labctl.json("top", "--once")
    assert both["status"]["host"]
    assert [job["task"] for job in both["jobs"]] == ["resort.activate_hotel"]


def test_top_lives_on_a_terminal_and_says_when_it_hears_nothing(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT).start().ready()
    ours, theirs = pty.openpty()
    env = {**daemon.labctl.env, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(
        [*script("labctl"), "top", "--every", "0.2"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=ROOT
    ) as process:
        os.close(theirs)
        try:
            assert "resort:main" in _read_until(ours, "resort:main")
            daemon.kill()
            assert "last heard" in _read_until(ours, "last heard")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()
            os.close(ours)


def _read_until(number: int, words: str) -> str:
    """What the terminal shows until it shows `words`, or 20 s are over."""
    shown, deadline = "", time.monotonic() + 20.0
    while words not in shown and time.monotonic() < deadline:
        if select.select([number], [], [], 0.5)[0]:
            shown += os.read(number, 65536).decode(errors="replace")
    return shown


def test_a_bundle_holds_what_helps_and_no_secret(daemons: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = daemons(RESORT + HOOK)
    daemon.env["HOOK_SECRET"] = CANARY
    daemon.start().ready()
    code, _, _ = daemon.labctl("job", "submit", "resort.get_position", "--tag", f"password={CANARY}")
    target = tmp_path / "bundle.tar.gz"
    assert f"{target}: " in daemon.labctl.ok("bundle", target)
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        contents = {entry.name: tar.extractfile(entry).read().decode() for entry in tar}  # type: ignore[union-attr]
    assert {"status.json", "doctor.json", "settings.json", "events.json", "jobs.json", "audit.json"} <= {
        Path(name).name for name in contents
    }
    assert not [name for name, text in contents.items() if CANARY in text], code
    settings = json.loads(contents["labd-bundle/settings.json"])
    assert {"key": "notify.ops.secret", "value": "env:HOOK_SECRET", "origin": str(daemon.config)} in settings
    assert json.loads(contents["labd-bundle/doctor.json"])["findings"]


def test_a_bundle_of_a_daemon_that_is_away_leaves_no_file(daemons: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = daemons(RESORT)
    code, _, err = daemon.labctl("bundle", tmp_path / "bundle.tar.gz")
    assert code == 3, err
    assert list(tmp_path.iterdir()) == []

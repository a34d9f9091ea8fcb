"""`labctl doctor` as an operator types it."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.processes import FAST, Daemon, toml

RESORT = toml("resort", driver="simulated", **FAST)
UNMADE = toml("env.analysis", requires=["wheel"])


def test_a_healthy_daemon_ends_with_0_and_a_fault_with_6_and_its_remedy(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT).start().ready()
    out = daemon.labctl.ok("doctor")
    for line in ("labd.db is whole", "logbook.db is whole", "entries is whole", "resort:main is ready (simulated)"):
        assert line in out
    assert "doctor: no fault in " in out

    daemon.labctl.ok("schedule", "add", "nightly", "resort.get_motor_health", "--every", "3600")
    daemon.configure(RESORT + UNMADE)
    daemon.end()
    daemon.start().ready()
    code, out, _ = daemon.labctl("doctor", "--faults")
    assert code == 6, out
    assert "analysis is missing" in out
    assert "next: `labctl env sync analysis`" in out
    assert "labd.db is whole" not in out
    report = daemon.labctl("--json", "doctor")[1]
    assert '"ok": false' in report or '"ok":false' in report
    assert "nightly: next at" in report

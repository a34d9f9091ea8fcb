"""TCP with tokens and TLS, the audit, backup and restore: as an operator meets them."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sqlite3
import ssl
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.acceptance.processes import FAST, ROOT, Bus, Daemon, Labctl, script, toml
from tests.acceptance.waiting import eventually

RESORT = toml("resort", driver="simulated", **FAST)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def labd(daemon: Daemon, *words: object) -> tuple[int, str, str]:
    """Another command of `labd`."""
    done = subprocess.run(
        [*script("labd"), *map(str, words)], cwd=ROOT, env=daemon.env, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


class TlsDoor:
    """A daemon with a TLS listener, its tokens, and plain requests to it."""

    def __init__(self, daemons: Callable[..., Daemon], folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.ca_file, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        issued.private_key_pem.write_to_path(key)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(cert, append=number > 0)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        api = toml("api", listen=f"127.0.0.1:{self.port}", tls_cert=str(cert), tls_key=str(key))
        self.daemon = daemons(api + RESORT).start().ready()
        self.folder = folder

    def token(self, *scopes: str) -> str:
        """A new token with these scopes, as an admin makes it on the socket."""
        words = [word for scope in scopes for word in ("--scope", scope)]
        token: str = self.daemon.labctl.json("token", "create", "-".join(scopes), *words)["token"]
        return token

    def ask(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        """One request over TLS: status, and the object of the answer."""
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        line = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=trust)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        try:
            line.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            line.close()

    def labctl(self, token: str) -> Labctl:
        """`labctl` as on another host: an address, a certificate's issuer and a token."""
        labctl = Labctl(self.folder, self.url)
        del labctl.env["LABD_HOST"]
        code, out, err = labctl(
            "host", "add", "lab", self.url, "--ca", self.ca_file, "--token-stdin", stdin=token + "\n"
        )
        assert code == 0, err
        assert token not in out + err
        return labctl


@pytest.fixture
def door(daemons: Callable[..., Daemon], state_dir: Path) -> TlsDoor:
    return TlsDoor(daemons, state_dir)


def test_tcp_wants_a_right_token_and_its_scope(door: TlsDoor) -> None:
    read, operate = door.token("read"), door.token("operate")
    job = {"task": "resort.go_home"}
    assert door.ask("GET", "/api/v1/status")[0] == 401
    assert door.ask("GET", "/api/v1/status", "wrong")[0] == 401
    assert door.ask("GET", "/api/v1/status", read)[0] == 200
    status, refused = door.ask("POST", "/api/v1/jobs", read, job)
    assert (status, refused["code"]) == (403, "scope_missing")
    assert door.ask("POST", "/api/v1/resort/stop", read, {})[0] == 403
    assert door.daemon.resort()["stop_latched"] is False
    assert door.ask("POST", "/api/v1/jobs", operate, job)[0] == 201
    status, stopped = door.ask("POST", "/api/v1/resort/stop", operate, {"reason": "over TLS"})
    assert status == 200 and stopped["confirmed"] and stopped["latched"]
    assert door.ask("GET", "/api/v1/tokens", operate)[0] == 403


def test_plain_http_gets_nothing_from_the_tls_port(door: TlsDoor) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)) as plain:
        plain.request("GET", "/healthz")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()


def test_labctl_works_over_tls_with_a_kept_token_until_it_is_revoked(door: TlsDoor) -> None:
    labctl = door.labctl(door.token("operate"))
    assert labctl.json("status")["pid"] == door.daemon.pid
    assert labctl.json("resort", "activate", "B")["submitted_by"] == "token:operate"
    assert labctl("token", "list")[0] == 4
    labctl.ok("resort", "stop", "--reason", "from afar")
    token = door.daemon.labctl.json("token", "list")["tokens"][0]
    assert "token" not in token and token["last_used_at"]
    door.daemon.labctl.ok("token", "revoke", token["id"])
    code, _, err = labctl("status")
    assert code == 4 and "token" in err
    assert labctl("status", LABD_TOKEN="nonsense")[0] == 4


def test_a_listener_beyond_loopback_without_tls_is_a_fault_of_the_settings(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("api", listen="0.0.0.0:0"))
    daemon.spawn()
    assert daemon.wait() == 78
    assert "without TLS" in daemon.text() and "api.listen" in daemon.text()


def test_a_tampered_audit_is_found_by_both_commands(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT).start()
    for _ in range(3):
        daemon.labctl.ok("queue", "pause", "standard")
        daemon.labctl.ok("queue", "resume", "standard")
    assert "whole" in daemon.labctl.ok("audit", "verify")
    daemon.end()
    assert labd(daemon, "audit", "verify", "--state", daemon.state)[0] == 0
    opened = sqlite3.connect(daemon.state / "labd.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        opened.execute("UPDATE audit SET actor = 'unix:nobody' WHERE action = 'queue.pause'")
    for (trigger,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        opened.execute(f'DROP TRIGGER "{trigger}"')
    changed = opened.execute("UPDATE audit SET actor = 'unix:nobody' WHERE action = 'queue.pause'").rowcount
    opened.commit()
    opened.close()
    assert changed == 3
    code, out, _ = labd(daemon, "audit", "verify", "--state", daemon.state)
    assert code == 6 and json.loads(out)["ok"] is False
    daemon.start()
    code, out, _ = daemon.labctl("--json", "audit", "verify")
    report = json.loads(out)
    assert code == 6 and report["ok"] is False and report["broken_at"] and report["problem"]
    assert "BROKEN at entry" in daemon.labctl("audit", "verify")[1]


def test_a_backup_of_a_running_daemon_restored_elsewhere_holds_physical_jobs(
    daemons: Callable[..., Daemon], bus: Bus, state_dir: Path
) -> None:
    daemon = daemons(bus.settings()).start().ready()
    done = daemon.labctl.json("resort", "activate", "B")
    daemon.labctl.ok("queue", "pause", "standard")
    waiting = daemon.client.submit("resort.activate_hotel", {"hotel": "C"})
    archive = state_dir / "backup.tar"
    code, out, err = labd(daemon, "backup", archive, "--config", daemon.config, "--socket", daemon.socket)
    assert code == 0 and "from the daemon" in out, err
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        assert {"labd.db", "logbook.db"} <= set(tar.getnames())
    assert daemon.client.health().strip() == "ok"
    code, _, err = labd(daemon, "restore", archive, "--state", daemon.state)
    assert code == 1 and f"pid {daemon.pid}" in err  # never under a running daemon
    daemon.end()

    daemon.state = state_dir / "other"
    code, out, err = labd(daemon, "restore", archive, "--state", daemon.state)
    assert code == 0 and "holds queued physical jobs" in out, err
    known = bus.lines()[-1]["mono"]
    daemon.start().ready()
    assert daemon.job(done["id"])["state"] == "succeeded"
    daemon.labctl.ok("queue", "resume", "standard")
    held = daemon.job(waiting["id"])
    assert held["state"] == "queued" and held["hold"], held
    assert f"labctl job release {waiting['id']}" in daemon.labctl.ok("job", "why", waiting["id"])
    assert bus.lines("move_started", after=known) == []
    daemon.labctl.ok("job", "release", waiting["id"])
    assert daemon.ended(waiting["id"])["state"] == "succeeded"
    assert "whole" in daemon.labctl.ok("audit", "verify")


def test_an_old_database_in_the_way_of_a_restore_is_kept(daemons: Callable[..., Daemon], state_dir: Path) -> None:
    daemon = daemons(RESORT).start()
    archive = state_dir / "backup.tar"
    assert labd(daemon, "backup", archive, "--config", daemon.config, "--socket", daemon.socket)[0] == 0
    later = daemon.client.submit("resort.get_motor_health")
    daemon.ended(later["id"])
    daemon.end()
    code, _, err = labd(daemon, "restore", archive, "--state", daemon.state)
    assert code == 1 and "--force" in err
    code, out, _ = labd(daemon, "restore", archive, "--state", daemon.state, "--force")
    assert code == 0 and "the old one is kept as" in out
    assert [path.name for path in daemon.state.glob("labd.db.before-restore-*")]
    daemon.start()
    assert daemon.labctl("job", "show", later["id"])[0] == 4


def test_a_torn_file_is_no_backup(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT)
    broken = daemon.folder / "broken.tar"
    broken.write_bytes(b"not a tar" * 100)
    code, _, err = labd(daemon, "restore", broken, "--state", daemon.folder / "fresh")
    assert code == 1 and str(broken) in err
    assert not (daemon.folder / "fresh" / "labd.db").exists()


def test_a_schedule_of_the_settings_file_fires_and_follows_a_reload(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("schedule.pulse", task="test.noop", interval_s=1, tags=["pulse"]), test_wing=True).start()
    eventually(lambda: daemon.client.jobs(tag="pulse", state=["succeeded"])["jobs"], 5.0, "a job of the schedule")
    daemon.configure("")
    daemon.send(signal.SIGHUP)
    eventually(lambda: daemon.client.schedules() == [], 5.0, "the end of the schedule")

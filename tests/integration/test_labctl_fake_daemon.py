"""labctl against a daemon that answers recorded JSON."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labctl import AsyncClient, Client, orchestrator
from labctl import stop as stopping
from labctl.__main__ import answer
from labctl.invocation import Invocation
from labctl.shell import Shell, words_of
from labd.errors import DaemonUnreachable, StopLatched, UnknownJob
from tests.fakes.fake_daemon import RESORT, STATUS, FakeDaemon

Json = dict[str, Any]
LATCHED = {"code": "stop_latched", "message": "resort: stopped by bob", "details": {}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("LABD_HOST", "LABD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def daemon(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    with FakeDaemon(home / "labd.sock") as running:
        monkeypatch.setenv("LABD_HOST", running.url)
        yield running
    orchestrator.close()


def labctl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = answer(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def labctl_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code, out, _ = labctl(capsys, "--json", *words)
    assert code == 0
    return json.loads(out)


def test_json_answers_are_the_api_objects_unchanged(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert labctl_json(capsys, "status") == STATUS
    assert labctl_json(capsys, "resort", "status") == RESORT
    assert labctl_json(capsys, "resort", "position")["position_deg"] == 90.0
    assert labctl_json(capsys, "job", "submit", "t")["task"] == "t"
    assert labctl_json(capsys, "job", "show", "1")["id"] == 1
    assert labctl_json(capsys, "job", "list")["jobs"][0]["id"] == 1


def test_json_may_stand_behind_the_command(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = labctl(capsys, "job", "submit", "t", "--json")
    assert (code, json.loads(out)["id"]) == (0, 1)


def test_activate_submits_a_job_and_waits_with_visible_progress(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = labctl(capsys, "resort", "activate", "B")
    assert code == 0
    assert out.startswith("job 1 resort.activate_hotel: succeeded after ")
    assert err == "job 1 resort.activate_hotel: queued\njob 1 resort.activate_hotel: running\n"
    method, path, _, body, _ = daemon.requests[0]
    assert (method, path) == ("POST", "/api/v1/jobs")
    assert body == {"task": "resort.activate_hotel", "args": {"hotel": "B"}}


@pytest.mark.parametrize(
    ("words", "task", "args"),
    [
        (["connect"], "resort.connect", {}),
        (["connect", "--configure", "--device", "left"], "resort.connect", {"device": "left", "configure": True}),
        (["disconnect"], "resort.disconnect", {}),
        (["move", "-12.5"], "resort.move_to_angle", {"degrees": -12.5}),
        (["home"], "resort.go_home", {}),
        (["speed", "30"], "resort.set_speed", {"speed": 30}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_verbs_are_jobs(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str], task: str, args: Json
) -> None:
    assert labctl(capsys, "resort", *words, "--no-wait")[0] == 0
    assert daemon.requests[0][3] == {"task": task, "args": args}


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"state": "failed", "error": {"code": "move_stalled", "message": "stuck at 12 deg"}}, 1),
        ({"state": "cancelled"}, 1),
        ({"state": "interrupted"}, 6),
        ({"state": "queued", "hold": {"code": "stop", "reason": "older than the stop"}}, 6),
    ],
)
def test_the_exit_code_is_the_job_s(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], step: Json, code: int
) -> None:
    daemon.steps = [step]
    assert labctl(capsys, "resort", "home")[0] == code


def test_a_wait_that_ends_before_the_job_is_exit_code_5(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.steps = [{"state": "running"}]
    code, out, _ = labctl(capsys, "resort", "home", "--timeout", "0.05")
    assert code == 5
    assert "still going, `labctl job wait 1`" in out


def test_a_refusal_is_two_lines_and_exit_code_4(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.errors["POST /api/v1/jobs"] = (412, LATCHED)
    code, out, err = labctl(capsys, "resort", "activate", "B")
    assert (code, out) == (4, "")
    assert err == "labctl: resort: stopped by bob\n  next: labctl resort reset --by NAME --reason TEXT\n"


def test_an_unreachable_daemon_is_one_line_and_exit_code_3(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = labctl(capsys, "--host", f"unix:{home}/nobody.sock", "status")
    assert (code, out) == (3, "")
    assert err == (
        f"labctl: no daemon answers at unix:{home}/nobody.sock (no such socket);"
        " start it (`labd run`, `systemctl start labd`) or name another with --host or LABD_HOST\n"
    )


@pytest.mark.parametrize(
    "words",
    [["bogus"], ["job", "show", "x"], ["queue", "set", "q"], ["job", "list", "--state", "done"], ["job", "submit"]],
    ids=" ".join,
)
def test_wrong_usage_is_two_lines_and_exit_code_2(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code, out, err = labctl(capsys, *words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 2
    assert "next: labctl" in err


def test_job_list_sends_its_filters_and_writes_csv(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    labctl(capsys, "job", "submit", "t", "a=x,y", "--tag", "night")
    words = ["--state", "queued,running", "--state", "failed", "--tag", "night", "--text", "x", "--queue", "standard"]
    words += ["--task", "t", "--since", "2026-01-31T08:00:00Z", "--by", "unix:alice", "--limit", "7"]
    code, out, _ = labctl(capsys, "job", "list", *words, "--format", "csv")
    assert code == 0
    assert daemon.requests[-1][2] == {
        "state": "queued,running,failed",
        "task": "t",
        "queue": "standard",
        "tag": "night",
        "text": "x",
        "since": "2026-01-31T08:00:00Z",
        "submitted_by": "unix:alice",
        "limit": "7",
    }
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["id"], row["args"], row["tags"]) == ("1", "a=x,y", "night")


def test_job_list_reads_pages_up_to_its_limit(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    with Client(daemon.url) as client:
        client.submit_many([{"task": "t"}] * 1200)
    found = labctl_json(capsys, "job", "list", "--limit", "1100")
    assert [job["id"] for job in found["jobs"]] == list(range(1200, 100, -1))
    assert found["next"] == 101


def test_why_prints_every_cause_as_a_sentence(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    labctl(capsys, "job", "submit", "t")
    daemon.causes = [
        {"code": "queue_paused", "message": "queue standard is paused by unix:alice: maintenance", "details": {}},
        {"code": "resource_held", "message": "resource resort is held by job 4", "details": {}},
    ]
    assert labctl(capsys, "job", "why", "1")[1] == (
        "job 1 is queued:\n"
        "- Queue standard is paused by unix:alice: maintenance.\n"
        "- Resource resort is held by job 4.\n"
    )


def test_logs_are_followed_to_the_end_of_the_job(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    labctl(capsys, "job", "submit", "t")
    daemon.logs = [{"id": 1, "at": "2026-01-31T08:00:00.5Z", "attempt": 1, "level": "warning", "text": "slow\x07"}]
    assert labctl(capsys, "job", "logs", "1", "--follow")[1] == "2026-01-31 08:00:00Z [1] warning: slow \n"


def test_schedule_edit_keeps_what_is_not_said(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    labctl(capsys, "schedule", "add", "night", "resort.go_home", "--cron", "0 3 * * *", "--misfire", "skip")
    labctl(capsys, "schedule", "edit", "night", "--every", "10m")
    kept = daemon.requests[-1][3]
    assert kept == {
        "name": "night",
        "task": "resort.go_home",
        "args": {},
        "paused": False,
        "misfire": "skip",
        "cron": None,
        "interval_s": 600.0,
    }
    assert labctl(capsys, "schedule", "preview", "night", "--count", "1")[1] == "2026-02-01 03:00:00Z\n"
    assert labctl_json(capsys, "schedule", "pause", "night")["paused"] is True


def test_a_broken_audit_is_exit_code_6(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert labctl(capsys, "audit", "verify")[0] == 0
    daemon.audit_report = {"ok": False, "entries": 9, "head": "x", "broken_at": 4, "problem": "hash differs"}
    assert labctl(capsys, "audit", "verify")[:2] == (6, "audit: BROKEN at entry 4 of 9: hash differs\n")


def test_the_secret_of_a_token_is_the_only_word_on_standard_output(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = labctl(capsys, "token", "create", "dash", "--scope", "read", "--expires", "30d")
    assert (code, out) == (0, "labd_secret\n")
    assert daemon.requests[-1][3] == {"name": "dash", "scopes": ["read"], "expires_in_s": 2_592_000.0}
    assert "not shown again" in err


def test_past_events_end_and_followed_ones_resume(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.feed = [
        {"seq": seq, "at": "2026-01-31T08:00:00Z", "kind": "job.started", "job_id": seq, "data": {}}
        for seq in (1, 2, 3)
    ]
    code, out, _ = labctl(capsys, "events", "--last", "2")
    assert code == 0
    assert out == "2 2026-01-31 08:00:00Z job.started job 2\n3 2026-01-31 08:00:00Z job.started job 3\n"
    daemon.holds_streams = False
    with Client(daemon.url, pause=lambda _: None) as client:
        found = []
        for event in client.events(after=0):
            found.append(event["seq"])
            if event["seq"] == 3:
                daemon.feed.append({**event, "seq": 4})
            if event["seq"] == 4:
                break
    assert found == [1, 2, 3, 4]


def test_a_stop_says_what_it_did(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = labctl(capsys, "resort", "stop", "--reason", "smoke")
    assert code == 0
    assert out.startswith("main: STOPPED, torque is off (read back), 1.5 ms to the wire\ncancelled: jobs 3, 4\n")
    assert daemon.requests[-1][3] == {"reason": "smoke"}


def test_a_stop_that_is_not_confirmed_is_exit_code_6(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.stopped["confirmed"] = False
    assert labctl(capsys, "resort", "stop")[0] == 6


def test_a_stop_says_within_a_second_that_the_daemon_hangs(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stopping.FIRST_WORD_S + stopping.ALIVE_WITHIN_S <= 0.65  # the rest is the start of the interpreter
    labctl(capsys, "resort", "status")
    daemon.hangs = {"/api/v1/resort/stop", "/healthz"}
    started = time.monotonic()
    code, out, err = labctl(capsys, "resort", "stop")
    assert time.monotonic() - started < 2.0  # 0.66 s on an idle machine
    assert (code, out) == (3, "")
    assert err == (
        f"labctl: NOT STOPPED BY LABD: {daemon.url}: labd hangs, no answer\n"
        "  if labd is dead, the motor's own watchdog ends a move within 0.4 s; CUT POWER if anything moves\n"
        "  next: cut power, or `labctl resort stop --direct` opens the port from this host\n"
    )


def test_a_stop_without_a_daemon_runs_the_direct_way_where_asked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def direct() -> int:
        asked.append("direct")
        return 0

    call = Invocation(f"unix:{home}/nobody.sock")
    assert stopping.stop(call, direct=direct) == 0
    assert asked == ["direct"]
    assert "NOT STOPPED BY LABD: no daemon answers" in capsys.readouterr().err


def test_a_stop_that_takes_long_is_not_called_dead_while_the_daemon_lives(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "FIRST_WORD_S", 0.01)
    monkeypatch.setattr(stopping, "ALIVE_WITHIN_S", 5.0)
    daemon.slow = {"/api/v1/resort/stop": 0.1}
    code, out, err = labctl(capsys, "resort", "stop")
    assert code == 0
    assert "STOPPED" in out
    assert err == "labd is alive and still confirming the stop; if anything moves, cut power\n"


def test_ctrl_c_in_a_script_leaves_the_job_running(daemon: FakeDaemon) -> None:
    daemon.steps = []
    words = [sys.executable, "-m", "labctl", "resort", "home"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == b"job 1 resort.go_home: queued\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert err == b"job 1 goes on; `labctl job wait 1` waits for it, `labctl job cancel` ends it\n"
    assert daemon.jobs[1]["state"] == "queued"


def test_ctrl_c_cancels_where_that_was_said(daemon: FakeDaemon) -> None:
    daemon.steps = []
    words = [sys.executable, "-m", "labctl", "resort", "home", "--on-interrupt", "cancel"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        child.stderr.readline()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (130, b"job 1: cancelled\n")


def test_a_reader_that_goes_away_is_no_error(daemon: FakeDaemon) -> None:
    words = f"{sys.executable} -m labctl job list --limit 1 | true; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_the_shell_knows_the_short_words_and_every_command(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = iter(["connect", "activate B", "position", "stop", "job list", "'open", "", "help", "exit", "never"])

    def read(prompt: str) -> str:
        assert prompt == "labctl> "
        return next(lines)

    call = Invocation()
    code = Shell(call, read).run()
    call.close()
    out, err = capsys.readouterr()
    assert code == 0
    assert "job 1 resort.connect: succeeded" in out
    assert "job 2 resort.activate_hotel: succeeded" in out
    assert "90.00 deg (hotel B)" in out
    assert "main: STOPPED" in out
    assert "connect | activate <A|B|C|D> | position | stop | disconnect | help | exit" in out
    assert "No closing quotation" in err
    assert next(lines) == "never"


def test_the_shell_goes_on_after_an_error_and_reports_it_to_scripts(
    daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.errors["POST /api/v1/jobs"] = (412, LATCHED)
    lines = iter(["activate B", "position"])

    def read(_: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    call = Invocation()
    assert Shell(call, read).run() == 4
    call.close()
    out, err = capsys.readouterr()
    assert "resort: stopped by bob" in err
    assert "90.00 deg" in out


def test_completion_offers_groups_commands_and_hotels() -> None:
    from labctl.commands.root import cli

    words = words_of(cli, ["A", "B"])  # type: ignore[arg-type]
    assert set(words["activate"]) == {"A", "B"}
    assert "why" in words["job"]
    assert {"connect", "position", "stop", "disconnect", "help", "exit", "status"} <= set(words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(home: Path, capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, _ = labctl(capsys, "completion", shell)
    assert code == 0
    assert "_LABCTL_COMPLETE" in out


def test_completion_answers_a_shell(home: Path) -> None:
    environ = {**os.environ, "_LABCTL_COMPLETE": "bash_complete", "COMP_WORDS": "labctl resort ac", "COMP_CWORD": "2"}
    words = [sys.executable, "-m", "labctl"]
    ended = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "plain,activate\n"


def test_a_kept_host_brings_its_token_over_tcp(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon() as daemon:
        assert labctl(capsys, "host", "add", "pi", daemon.url, "--token", "secret")[0] == 0
        assert "secret" not in labctl(capsys, "host", "list")[1]
        assert labctl(capsys, "status")[0] == 0
        assert daemon.requests[-1][4]["Authorization"] == "Bearer secret"
        assert labctl(capsys, "host", "use", "--none")[0] == 0
        assert labctl(capsys, "--host", "pi", "status")[0] == 0
    assert stat.S_IMODE((home / "labd" / "hosts.json").stat().st_mode) == 0o600


def test_no_token_is_sent_over_the_unix_socket(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABD_TOKEN", "secret")
    with Client() as client:
        client.status()
    assert "Authorization" not in daemon.requests[-1][4]


def test_the_client_raises_the_error_of_the_code(daemon: FakeDaemon) -> None:
    daemon.errors["POST /api/v1/jobs"] = (412, LATCHED)
    with Client() as client:
        with pytest.raises(StopLatched):
            client.submit("resort.go_home")
        with pytest.raises(UnknownJob):
            client.job(99)


def test_the_client_says_that_a_lost_submission_may_have_been_accepted(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.hangs = {"/api/v1/jobs"}
    monkeypatch.setattr("labctl.routes.SUBMIT_ANSWER_S", 0.05)
    with Client() as client, pytest.raises(DaemonUnreachable, match="it may have been accepted"):
        client.submit("resort.go_home")


def test_a_kept_connection_that_the_daemon_closed_is_opened_again(home: Path) -> None:
    path = home / "labd.sock"
    with Client(f"unix:{path}") as client:
        with FakeDaemon(path):
            client.status()
        path.unlink()
        with FakeDaemon(path) as second:
            assert client.submit("t")["id"] == 1
            assert len(second.jobs) == 1


async def test_the_asynchronous_client_does_the_same(daemon: FakeDaemon) -> None:
    async with AsyncClient() as client:
        first, second = await asyncio.gather(client.submit("t", {"a": 1}), client.submit("t", {"a": 2}))
        assert {first["id"], second["id"]} == {1, 2}
        assert (await client.wait(1))["state"] == "succeeded"
        assert (await client.resort_status())["active_hotel"] == "B"
        daemon.errors["POST /api/v1/jobs"] = (412, LATCHED)
        with pytest.raises(StopLatched):
            await client.submit("t")
        daemon.feed = [{"seq": 1, "at": "x", "kind": "job.started", "job_id": 1, "data": {}}]
        assert await client.last_event() == 1
        async for event in client.events(after=0):
            assert event["seq"] == 1
            break


async def test_the_asynchronous_client_says_who_is_not_there(home: Path) -> None:
    async with AsyncClient(f"unix:{home}/nobody.sock") as client:
        with pytest.raises(DaemonUnreachable, match=r"no daemon answers at unix:.*nobody\.sock"):
            await client.status()


def test_the_seed_s_sequence_runs_through_the_orchestrator(daemon: FakeDaemon) -> None:
    orchestrator.use(None)
    for hotel in ("A", "D"):
        run = orchestrator.activate_hotel(hotel)
        state = orchestrator.wait(run)
        assert (state.type, state.name) == ("COMPLETED", "Completed")
    assert [job["args"] for job in daemon.jobs.values()] == [{"hotel": "A"}, {"hotel": "D"}]
    assert orchestrator.wait(orchestrator.connect()).result() == {"hotel": "B"}
    assert orchestrator.wait(3).is_completed()


def test_the_orchestrator_s_stop_has_already_happened(daemon: FakeDaemon) -> None:
    run = orchestrator.emergency_stop()
    assert daemon.jobs == {}
    assert orchestrator.wait(run).type == "COMPLETED"
    daemon.stopped["confirmed"] = False
    assert orchestrator.wait(orchestrator.emergency_stop()).type == "FAILED"


def test_execute_task_returns_the_result(daemon: FakeDaemon) -> None:
    with orchestrator.OrchestratorClient(daemon.url) as client:
        assert client.execute_task("mix_color", R=120) == {"hotel": "B"}
    assert daemon.jobs[1]["args"] == {"R": 120}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_verified_against_the_kept_certificate(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate, key = home / "cert.pem", home / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with FakeDaemon(tls=(certificate, key)) as daemon:
        code, _, err = labctl(capsys, "--host", daemon.url, "status")
        assert code == 3
        assert "certificate" in err
        labctl(capsys, "host", "add", "pi", daemon.url, "--ca", str(certificate), "--token", "secret")
        assert labctl(capsys, "status")[0] == 0
        assert daemon.requests[-1][4]["Authorization"] == "Bearer secret"


def test_a_refused_stop_is_not_taken_for_a_stop(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    refused = {"code": "scope_missing", "message": "token:dash may not operate", "details": {}}
    daemon.errors["POST /api/v1/resort/stop"] = (403, refused)
    code, out, err = labctl(capsys, "resort", "stop")
    assert (code, out) == (4, "")
    assert err.startswith("labctl: NOT STOPPED BY LABD, which refused; CUT POWER if anything moves\n")


def test_held_jobs_show_why_in_the_list(daemon: FakeDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    labctl(capsys, "job", "submit", "t")
    assert "hold" not in labctl(capsys, "job", "list")[1]
    daemon.jobs[1]["hold"] = {"code": "stopped", "reason": "older than the stop", "since": "2026-01-31T08:00:00Z"}
    assert labctl(capsys, "job", "list")[1].splitlines()[1].split()[2:4] == ["queued", "stopped"]

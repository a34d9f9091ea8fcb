"""`labctl` against a daemon that serves, shared by the tests of this file: exit codes, answers, filters."""

from __future__ import annotations

import csv
import io
import json
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.processes import Daemon, Labctl
from tests.acceptance.waiting import eventually

JOB_KEYS = [
    *("id", "task", "state", "args", "attempt", "max_attempts", "queue", "priority", "result", "error"),
    *("submitted_by", "created_at", "started_at", "finished_at", "simulated"),
]


def ran(daemon: Daemon, task: str, args: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A job that has ended."""
    return daemon.ended(daemon.client.submit(task, args or {}, **options)["id"])


# -- exit codes


def test_exit_code_0_for_a_job_that_succeeded(served: Daemon) -> None:
    code, out, _ = served.labctl("resort", "activate", "A")
    assert code == 0 and "succeeded" in out and "hotel: A" in out


def test_exit_code_1_for_a_job_that_failed(served: Daemon) -> None:
    code, out, err = served.labctl("task", "run", "test.fail", "retryable=false")
    assert code == 1 and "test_fault" in out + err


@pytest.mark.parametrize(
    "words",
    [
        ("resort", "fly"),
        ("job", "submit"),
        ("resort", "activate", "Z"),
        ("job", "submit", "test.noop", "odd=1"),
        ("resort", "move", "far"),
        ("job", "list", "--state", "odd"),
        ("nonsense",),
    ],
)
def test_exit_code_2_for_a_command_line_that_cannot_be(served: Daemon, words: tuple[str, ...]) -> None:
    code, out, err = served.labctl(*words)
    assert (code, out) == (2, "") and err


def test_exit_code_3_where_no_daemon_answers(state_dir: Path) -> None:
    labctl = Labctl(state_dir, f"unix:{state_dir}/nobody.sock")
    for words in (["status"], ["job", "list"], ["resort", "activate", "A"], ["resort", "position"]):
        code, out, err = labctl(*words)
        assert (code, out) == (3, "") and "nobody.sock" in err


def test_exit_code_4_for_what_is_refused(served: Daemon) -> None:
    ended = ran(served, "test.noop")["id"]
    for words in (
        ["job", "show", "999999"], ["job", "cancel", ended], ["job", "submit", "no.such_task"],
        ["queue", "pause", "nix"],
        ["resort", "reset", "--by", "a", "--reason", "b"], ["resort", "activate", "A", "--device", "nix"],
    ):  # fmt: skip
        code, _, err = served.labctl(*words)
        assert code == 4 and err, words


def test_exit_code_5_when_the_wait_ended_before_the_job(served: Daemon) -> None:
    code, out, _ = served.labctl("task", "run", "test.sleep", "duration_s=1.5", "--timeout", "0.2")
    assert code == 5 and "still going" in out
    job_id = served.labctl.json("job", "list", "--task", "test.sleep", "--limit", "1")["jobs"][0]["id"]
    assert served.labctl("job", "wait", job_id)[0] == 0


def test_exit_code_6_for_an_interrupted_job_of_a_killed_daemon(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(test_wing=True).start()
    job = daemon.client.submit("test.physical", {"duration_s": 30.0})
    eventually(lambda: daemon.job(job["id"])["state"] == "running", 5.0)
    daemon.kill()
    daemon.start()
    assert daemon.labctl("job", "wait", job["id"])[0] == 6


@pytest.mark.parametrize(("choice", "state"), [("leave", "running"), ("cancel", "cancelled"), ("ask", "running")])
def test_exit_code_130_after_ctrl_c_and_the_job_as_chosen(served: Daemon, choice: str, state: str) -> None:
    with served.labctl.running("task", "run", "test.slow", "duration_s=20", "--on-interrupt", choice) as command:
        job = eventually(lambda: served.client.jobs(task="test.slow", state=["running"])["jobs"], 10.0)[0]
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=10)
    assert command.returncode == 130, err
    assert served.job(job["id"])["state"] == state
    if state == "running":
        served.labctl.ok("job", "cancel", job["id"], "--reason", "end of the test")
        assert served.ended(job["id"])["state"] == "cancelled"


# -- answers


def test_a_job_in_json_has_the_keys_of_the_contract(served: Daemon) -> None:
    job = served.labctl.json("resort", "activate", "B")
    assert [key for key in JOB_KEYS if key not in job] == []
    assert (job["task"], job["state"], job["args"], job["simulated"]) == (
        "resort.activate_hotel", "succeeded", {"hotel": "B"}, True,
    )  # fmt: skip
    assert job == served.labctl.json("job", "show", job["id"])
    refused = json.loads(served.labctl("--json", "task", "run", "test.fail", "retryable=false")[1])
    assert refused["error"]["code"] == "test_fault" and refused["attempt"] == 1


def test_every_listing_answers_in_json(served: Daemon) -> None:
    for words, key in (
        (["queue", "list"], "queues"), (["schedule", "list"], "schedules"), (["task", "list"], "tasks"),
        (["token", "list"], "tokens"), (["audit", "list"], "entries"), (["events", "--last", "3"], "events"),
        (["job", "list"], "jobs"), (["host", "list"], "hosts"),
    ):  # fmt: skip
        assert isinstance(served.labctl.json(*words)[key], list), words
    status = served.labctl.json("status")
    assert (status["state"], status["simulated"], status["pid"]) == ("serving", True, served.pid)


def test_job_list_filters_by_state_task_queue_tag_time_and_text(served: Daemon) -> None:
    tag, word = f"tag-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    first = ran(served, "test.noop", tags=[tag])
    second = ran(served, "test.fail", {"retryable": False, "message": word}, tags=[tag], queue="low-priority")

    def found(*words: str) -> list[int]:
        return [job["id"] for job in served.labctl.json("job", "list", *words)["jobs"]]

    assert found("--tag", tag) == [second["id"], first["id"]]
    assert found("--tag", tag, "--state", "failed") == [second["id"]]
    assert found("--tag", tag, "--state", "failed,succeeded") == [second["id"], first["id"]]
    assert found("--tag", tag, "--task", "test.noop") == [first["id"]]
    assert found("--tag", tag, "--queue", "low-priority") == [second["id"]]
    assert found("--text", word) == [second["id"]]
    assert found("--tag", tag, "--since", "10m") == [second["id"], first["id"]]
    assert found("--tag", tag, "--until", "10m") == []
    assert found("--tag", tag, "--since", second["created_at"]) == [second["id"]]
    assert found("--tag", tag, "--limit", "1") == [second["id"]]
    assert found("--tag", tag, "--by", first["submitted_by"]) == [second["id"], first["id"]]


def test_job_list_writes_csv_and_a_table(served: Daemon) -> None:
    tag = f"tag-{uuid.uuid4().hex[:8]}"
    text = 'with "quotes", a comma and\na line'
    job = ran(served, "test.fail", {"times": 0, "message": text}, tags=[tag])
    rows = list(csv.DictReader(io.StringIO(served.labctl.ok("job", "list", "--tag", tag, "--format", "csv"))))
    assert [(row["id"], row["task"], row["state"]) for row in rows] == [(str(job["id"]), "test.fail", "succeeded")]
    assert 'with "quotes", a comma and' in rows[0]["args"]
    table = served.labctl.ok("job", "list", "--tag", tag)
    assert "test.fail" in table and str(job["id"]) in table


def test_logs_and_attempts_of_a_job_that_was_retried(served: Daemon) -> None:
    code, out, _ = served.labctl("--json", "task", "run", "test.fail", "times=2")
    job = json.loads(out)
    assert (code, job["attempt"], job["result"]) == (0, 3, 3)
    lines = served.labctl.json("job", "logs", job["id"])["lines"]
    assert [(line["attempt"], line["text"]) for line in lines if line["level"] == "warning"] == [
        (1, "attempt 1"), (2, "attempt 2"), (3, "attempt 3"),
    ]  # fmt: skip
    assert "attempt 3" in served.labctl.ok("job", "logs", job["id"], "--follow")


def test_the_same_idempotency_key_gives_one_job(served: Daemon) -> None:
    key = uuid.uuid4().hex
    first = served.labctl.json("job", "submit", "test.noop", "--key", key)
    second = served.labctl.json("job", "submit", "test.noop", "--key", key)
    assert first["id"] == second["id"]
    assert served.labctl("job", "submit", "test.sleep", "--key", key)[0] == 4  # the key is of another task


def test_a_list_of_submissions_comes_from_standard_input(served: Daemon) -> None:
    many = json.dumps([{"task": "test.noop"}, {"task": "test.noop", "tags": ["x"]}])
    code, out, err = served.labctl("--json", "job", "submit", "--file", "-", stdin=many)
    assert code == 0, err
    jobs = json.loads(out)["jobs"]
    assert [served.ended(job["id"])["state"] for job in jobs] == ["succeeded", "succeeded"]


def test_why_names_the_paused_queue_and_who_paused_it(served: Daemon) -> None:
    served.labctl.ok("queue", "pause", "low-priority", "--reason", "floor is wet")
    job = served.client.submit("test.noop", queue="low-priority")
    told = served.labctl.ok("job", "why", job["id"])
    assert "low-priority" in told and "floor is wet" in told and "unix:" in told
    served.labctl.ok("queue", "resume", "low-priority")
    assert served.ended(job["id"])["state"] == "succeeded"
    assert served.labctl.json("queue", "set", "low-priority", "--concurrency", "3")["concurrency"] == 3


def test_a_delayed_job_waits_and_says_until_when(served: Daemon) -> None:
    job = served.labctl.json("job", "submit", "test.noop", "--at", "1h")
    assert job["state"] == "queued" and job["run_at"] in json.dumps(served.labctl.json("job", "why", job["id"]))
    assert served.labctl.json("job", "cancel", job["id"])["state"] == "cancelled"


def test_events_follow_and_resume_where_they_were(served: Daemon) -> None:
    seq = served.client.last_event()
    with served.labctl.running("--json", "events", "--follow", "--after", seq, "--kind", "job.") as follow:
        assert follow.stdout is not None
        ran(served, "test.noop")
        last = ran(served, "test.noop")
        seen = [json.loads(follow.stdout.readline())]
        while not (seen[-1]["kind"] == "job.succeeded" and seen[-1]["job_id"] == last["id"]):
            seen.append(json.loads(follow.stdout.readline()))
        follow.send_signal(signal.SIGINT)
        follow.communicate(timeout=5)
    assert follow.returncode == 130
    assert all(event["kind"].startswith("job.") for event in seen)
    again = served.labctl.json("events", "--after", seen[0]["seq"], "--kind", "job.")["events"]
    assert again[: len(seen) - 1] == seen[1:]


def test_events_followed_over_a_kill_and_a_restart_miss_nothing(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(test_wing=True).start()
    seq = daemon.client.last_event()
    with daemon.labctl.running("--json", "events", "--follow", "--after", seq) as follow:
        assert follow.stdout is not None
        ran(daemon, "test.noop")
        seen = [json.loads(follow.stdout.readline())]
        daemon.kill()
        daemon.start()
        last = ran(daemon, "test.noop")
        while not (seen[-1]["kind"] == "job.succeeded" and seen[-1]["job_id"] == last["id"]):
            seen.append(json.loads(follow.stdout.readline()))
    there = [event["seq"] for event in daemon.client.events(after=seq, quiet_s=0.5)]
    assert [event["seq"] for event in seen] == there[: len(seen)]
    assert "daemon.started" in {event["kind"] for event in seen}


# -- schedules


def test_a_schedule_is_made_previewed_paused_and_fires(served: Daemon) -> None:
    made = served.labctl.json("schedule", "add", "tick", "test.noop", "--every", "1s", "--tag", "ticked")
    assert made["interval_s"] == 1.0
    runs = served.labctl.json("schedule", "preview", "tick", "--count", "3")["runs"]
    assert len(runs) == 3 and runs == sorted(runs)
    fired = eventually(lambda: served.client.jobs(tag="ticked", state=["succeeded"])["jobs"], 5.0, "a job of it")
    assert fired[0]["schedule"] == "tick"
    assert served.labctl.json("schedule", "pause", "tick")["paused"] is True
    assert "tick" in served.labctl.ok("schedule", "list")
    served.labctl.ok("schedule", "delete", "tick")
    assert served.labctl("schedule", "show", "tick")[0] == 4


def test_a_cron_schedule_previews_across_the_end_of_daylight_saving(served: Daemon) -> None:
    rule = ("--cron", "0 3 1 * *", "--timezone", "Europe/Vienna")
    served.labctl.ok("schedule", "add", "night", "test.noop", *rule, "--paused")
    runs = served.labctl.json("schedule", "preview", "night", "--count", "12")["runs"]
    served.labctl.ok("schedule", "delete", "night")
    assert {run[11:16] for run in runs} == {"01:00", "02:00"}  # summer and winter
    assert [run[8:10] for run in runs] == ["01"] * 12
    code, _, err = served.labctl("schedule", "add", "bad", "test.noop", "--cron", "61 3 * * *")
    assert code == 2 and err


# -- what labctl keeps


def test_a_host_is_kept_by_name_in_a_file_for_the_user_alone(served: Daemon, state_dir: Path) -> None:
    labctl = Labctl(state_dir, "")
    del labctl.env["LABD_HOST"]
    labctl.ok("host", "add", "bench", served.host)
    assert labctl.json("status")["pid"] == served.pid
    kept = state_dir / "home" / ".config" / "labd" / "hosts.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    labctl.ok("host", "use", "--none")
    assert labctl("status")[0] == 3
    assert labctl.json("--host", "bench", "status")["pid"] == served.pid


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_labctl(served: Daemon, shell: str) -> None:
    assert "_LABCTL_COMPLETE" in served.labctl.ok("completion", shell)


def test_status_and_position_start_without_heavy_packages(served: Daemon) -> None:
    best_s = min((served.labctl.ok("status"), served.labctl.took_s)[1] for _ in range(3))
    assert best_s < 0.6, "labctl status takes long: is a heavy package on its path?"

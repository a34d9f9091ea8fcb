"""Alerts from their cause to a real web server: each once, whoever was away or killed meanwhile."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trustme

from labd.engine.alerts import AlertBook
from labd.engine.group import Batch
from labd.engine.job import Submission
from labd.errors import Conflict, NotFound
from tests.fakes.alert_house import ALICE, AlertHouse, Hook, hurried, turns
from tests.fakes.broker import until

LOW = {"code": "low_stock", "subject": "yellow", "message": "yellow: 45.0 ul are left", "state": "low"}
STOP = {"code": "stop_latched", "subject": "resort:main", "message": "resort main: stopped by bob"}


@pytest.fixture(autouse=True)
async def in_a_hurry() -> AsyncIterator[None]:
    async with hurried():
        yield


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = await Hook().start()
    yield hook
    await hook.stop()


@pytest.fixture
async def house(state_dir: Path, hook: Hook) -> AsyncIterator[AlertHouse]:
    house = await AlertHouse(state_dir, ops={"kind": "webhook", "url": hook.url}).open()
    yield house
    await house.close()


async def test_what_stands_is_told_once_and_not_again_for_other_figures(house: AlertHouse, hook: Hook) -> None:
    house.standing = [LOW]
    await until(lambda: hook.got)
    house.standing = [{**LOW, "message": "yellow: 44.2 ul are left"}]
    await until(lambda: house.book.find("low_stock:yellow").message.startswith("yellow: 44.2"))
    await turns(house)
    (told,) = hook.got
    assert (told["id"], told["key"], told["severity"], told["host"]) == (1, "low_stock:yellow", "warning", "pi")
    house.standing = [{**LOW, "state": "empty", "message": "yellow: 0.0 ul are left"}]
    await until(lambda: len(hook.got) == 2)
    assert (hook.got[1]["id"], hook.got[1]["message"]) == (2, "yellow: 0.0 ul are left")


async def test_a_stop_is_not_called_unconfirmed_while_it_is_being_confirmed(house: AlertHouse, hook: Hook) -> None:
    unconfirmed = {"code": "stop_unconfirmed", "subject": "resort:main", "message": "it turns"}
    house.standing = [STOP, unconfirmed]
    await until(lambda: hook.got)
    house.standing = [STOP]
    await turns(house)
    house.clock.ahead_s += 3.0
    house.standing = [STOP, unconfirmed]  # another one: it has not stood since the first
    await turns(house)
    assert hook.keys() == ["stop_latched:resort:main"]
    house.clock.ahead_s += 3.0
    await until(lambda: len(hook.got) == 2)
    assert hook.keys()[1] == "stop_unconfirmed:resort:main"


async def test_it_is_cleared_when_its_cause_is_gone_and_raised_when_it_is_back(house: AlertHouse, hook: Hook) -> None:
    house.standing = [LOW]
    await until(lambda: hook.got)
    house.standing = []
    await turns(house)
    assert house.book.find("low_stock:yellow").is_open  # gone for a moment is not gone
    house.clock.ahead_s += 11.0
    await until(lambda: not house.book.find("low_stock:yellow").is_open)
    house.standing = [LOW]
    await until(lambda: len(hook.got) == 2)
    assert [message["id"] for message in hook.got] == [1, 2]


async def test_a_restart_tells_nothing_twice_and_loses_nothing(house: AlertHouse, hook: Hook) -> None:
    house.standing = [LOW, STOP]
    await until(lambda: len(hook.got) == 2)
    await until(
        lambda: house.book.told("ops", "stop_latched:resort:main") or house.book.told("ops", "low_stock:yellow")
    )
    await house.close()
    house.standing = []  # wings that have just started show nothing yet
    await house.open()
    await turns(house)
    assert house.book.find("stop_latched:resort:main").is_open
    house.standing = [LOW, STOP]
    await turns(house)
    assert len(hook.got) == 2
    await house.close()
    hook.status = 500
    await house.open()
    house.standing = [LOW, STOP, {"code": "deficit", "subject": "red", "message": "red: -12 ul"}]
    await until(lambda: hook.refused)
    await house.close()
    hook.status = 204
    await house.open()
    await until(lambda: len(hook.got) == 3)
    assert hook.keys()[2] == "deficit:red"


async def test_a_server_that_fails_first_gets_it_when_it_answers(house: AlertHouse, hook: Hook) -> None:
    hook.answers = [500, 404, 302, 503]
    house.standing = [STOP]
    await until(lambda: hook.got)
    assert hook.refused == 4
    assert hook.keys() == ["stop_latched:resort:main"]
    await turns(house)
    assert len(hook.got) == 1


async def test_an_outlet_that_was_away_gets_what_is_still_true_each_once(house: AlertHouse, hook: Hook) -> None:
    await hook.stop()
    house.standing = [LOW, STOP]
    await until(lambda: house.notifier.attention())
    (problem,) = house.notifier.attention()
    assert problem["code"] == "outlet_away"
    assert "cannot connect to 127.0.0.1" in problem["message"]
    assert "s3cret" not in problem["message"]
    house.standing = [LOW]
    await until(lambda: not house.book.find("stop_latched:resort:main").is_open)
    await hook.start()
    await until(lambda: hook.got)
    await until(lambda: not house.notifier.attention())
    await turns(house, 5)
    assert hook.keys() == ["low_stock:yellow"]  # the stop is over, and the outlet's own absence is not its news


async def test_what_is_acknowledged_is_told_no_more_until_it_changes(house: AlertHouse, hook: Hook) -> None:
    hook.status = 503
    house.standing = [LOW]
    await until(lambda: hook.refused)
    alert = await house.book.acknowledge("low_stock:yellow", ALICE, note="ordered")
    assert (alert.acked_by, alert.acked_note) == ("alice", "ordered")
    hook.status = 204
    await turns(house, 5)
    assert hook.got == []
    assert (await house.book.acknowledge("low_stock:yellow", ALICE, by="bob")).acked_by == "alice"
    assert [entry.action for entry in await house.engine.audit_page(None, 10)] == ["alert.acknowledge"]
    house.standing = [{**LOW, "state": "empty"}]
    await until(lambda: hook.got)
    assert house.book.find("low_stock:yellow").acked_by is None


async def test_an_acknowledgement_outlives_the_daemon(house: AlertHouse, hook: Hook) -> None:
    house.standing = [LOW]
    await until(lambda: hook.got)
    await house.book.acknowledge("low_stock:yellow", ALICE, by="bob")
    await house.cut_off()
    await house.open()
    await turns(house)
    assert house.book.find("low_stock:yellow").acked_by == "bob"
    assert len(hook.got) == 1


async def test_nothing_is_acknowledged_that_is_not_there(house: AlertHouse) -> None:
    with pytest.raises(NotFound, match="no alert has the key low_stock:green"):
        await house.book.acknowledge("low_stock:green", ALICE)
    await house.fail()
    await until(lambda: "job_failed:test.fail" in house.book.by_key)
    await house.book.acknowledge("job_failed:test.fail", ALICE)
    with pytest.raises(Conflict, match="is over since"):
        await house.book.acknowledge("job_failed:test.fail", ALICE)


async def test_a_thousand_failing_jobs_are_one_message(house: AlertHouse, hook: Hook) -> None:
    await house.fail(1000)
    await until(lambda: house.book.by_key and house.book.find("job_failed:test.fail").count == 1000)
    await turns(house)
    assert len(hook.got) == 1
    assert hook.got[0]["code"] == "job_failed"
    alert = house.book.find("job_failed:test.fail")
    assert alert.message.startswith("1000 jobs of test.fail have failed; the last, job ")
    assert len(alert.jobs) == 100
    await house.fail(1, "device_timeout")
    await until(lambda: len(hook.got) == 2)
    assert hook.got[1]["count"] == 1001


async def test_failed_jobs_are_over_when_each_was_retried(house: AlertHouse, hook: Hook) -> None:
    (job,) = await house.fail()
    await until(lambda: hook.got)
    await house.engine.retry(job.id, ALICE)
    await house.engine.wait(job.id, 15.0)
    await until(lambda: len(hook.got) == 2)  # it failed once more: that is news
    assert hook.got[1]["count"] == 1


async def test_a_failure_that_nobody_saw_is_seen_by_the_next_daemon_once(house: AlertHouse, hook: Hook) -> None:
    for task in house.watch._tasks:
        task.cancel()  # the watch is gone before the job fails, and nothing of it is stored
    await house.fail(3)
    await house.cut_off()
    await house.open()
    await until(lambda: hook.got)
    assert house.book.find("job_failed:test.fail").count == 3
    await house.cut_off()
    await house.open()
    await turns(house)
    assert (len(hook.got), house.book.find("job_failed:test.fail").count) == (1, 3)


async def test_a_new_book_begins_with_no_history(state_dir: Path, hook: Hook) -> None:
    house = await AlertHouse(state_dir).open()
    await house.fail(2)
    house.engine.journal.put_fact("alerts.cursor", None)
    await house.watch.stop()
    house.engine.journal.execute("delete_alert", "job_failed:test.fail")
    house.engine.journal.put_fact("alerts.cursor", None)
    await house.close()
    await house.open()
    await turns(house)
    assert house.book.all() == []
    await house.close()


async def test_a_kill_between_delivery_and_note_repeats_the_same_id(
    house: AlertHouse, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*anything: Any) -> None:
        await until(lambda: False)

    with monkeypatch.context() as patch:
        patch.setattr(AlertBook, "record_told", killed)
        house.standing = [STOP]
        await until(lambda: hook.got)
        await house.cut_off()
    await house.open()
    await until(lambda: len(hook.got) == 2)
    assert [(message["id"], message["key"]) for message in hook.got] == [(1, "stop_latched:resort:main")] * 2
    await turns(house)
    assert len(hook.got) == 2


async def test_a_list_that_cannot_be_read_stops_no_alert_of_a_job(house: AlertHouse, hook: Hook) -> None:
    def broken() -> list[dict[str, Any]]:
        raise ZeroDivisionError("a wing's status")

    house.watch._attention = broken
    await house.fail()
    await until(lambda: "job_failed:test.fail" in house.book.by_key)
    house.watch._attention = house.attention
    house.standing = [LOW]
    await until(lambda: len(hook.got) == 2)


async def test_outlets_get_what_they_want_and_no_more(state_dir: Path, hook: Hook) -> None:
    other = await Hook().start()
    house = await AlertHouse(
        state_dir, stock={"kind": "webhook", "url": hook.url, "only": ("low_stock",)},
        grave={"kind": "webhook", "url": other.url, "min_severity": "critical"},
    ).open()  # fmt: skip
    house.standing = [LOW, STOP, {"code": "hold_unconfirmed", "subject": "resort:main", "message": "it turns"}]
    await until(lambda: hook.got and other.got)
    await turns(house, 5)
    assert (hook.keys(), other.keys()) == (["low_stock:yellow"], ["hold_unconfirmed:resort:main"])
    await house.close()
    await other.stop()


async def test_webhooks_are_signed(state_dir: Path, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "wonder")
    house = await AlertHouse(
        state_dir, ops={"kind": "webhook", "url": hook.url, "secret": "env:HOOK_SECRET"}
    ).open()  # fmt: skip
    (result,) = await house.notifier.test("ops")
    assert result.delivered
    assert result.place == "http://127.0.0.1"
    signed = hook.headers[0]["X-Labd-Timestamp"].encode() + b"." + hook.bodies[0]
    assert hook.headers[0]["X-Labd-Signature"] == "sha256=" + hmac.new(b"wonder", signed, hashlib.sha256).hexdigest()
    monkeypatch.delenv("HOOK_SECRET")
    (result,) = await house.notifier.test()
    assert result.problem == "env:HOOK_SECRET: the environment variable HOOK_SECRET is not set or empty"
    with pytest.raises(NotFound, match="no outlet pos; outlets: ops"):
        await house.notifier.test("pos")
    await house.close()


async def test_a_redirect_and_a_silent_server_are_told(state_dir: Path, hook: Hook) -> None:
    house = await AlertHouse(state_dir, ops={"kind": "webhook", "url": hook.url, "timeout_s": 0.2}).open()
    hook.answers = [307]
    (result,) = await house.notifier.test()
    assert result.problem == "it answered 307, a redirect, which is refused; name the final URL"
    hook.answers = [400]
    (result,) = await house.notifier.test()
    assert result.problem == "it answered 400: 'not now'"
    hook.go_on.clear()
    (result,) = await house.notifier.test()
    assert result.problem == "no answer within 0.2 s"
    hook.go_on.set()
    await hook.stop()
    (result,) = await house.notifier.test()
    assert str(result.problem).startswith("cannot connect to 127.0.0.1:")
    await house.close()


async def test_tls_is_spoken_and_an_unknown_authority_is_refused(state_dir: Path) -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    known = state_dir / "ca.pem"
    authority.cert_pem.write_to_path(known)
    hook = await Hook().start(server_tls)
    url = f"https://{hook.address}/hook"
    house = await AlertHouse(
        state_dir, ops={"kind": "webhook", "url": url, "ca_file": str(known)}, blind={"kind": "webhook", "url": url}
    ).open()
    refused, taken = sorted(await house.notifier.test(), key=lambda result: result.outlet)
    assert (taken.delivered, refused.delivered) == (True, False)
    assert len(hook.got) == 1
    await house.close()
    await hook.stop()


async def test_one_alert_that_a_server_never_takes_does_not_hold_up_the_others(house: AlertHouse, hook: Hook) -> None:
    hook.never = "low_stock:yellow"
    house.standing = [LOW]
    await until(lambda: hook.refused)
    house.standing = [LOW, STOP]
    await until(lambda: hook.got)
    assert hook.keys() == ["stop_latched:resort:main"]
    hook.never = ""
    await until(lambda: len(hook.got) == 2)
    assert hook.keys()[1] == "low_stock:yellow"


async def test_an_interrupted_job_is_one_message_after_the_restart_that_finds_it(house: AlertHouse, hook: Hook) -> None:
    (job,) = await house.engine.submit([Submission("test.move")], ALICE)
    await until(lambda: house.engine.counts()["running"] == 1)
    await house.cut_off()
    await house.open()
    await until(lambda: hook.got)
    await turns(house)
    (told,) = hook.got
    assert (told["key"], told["severity"]) == ("interrupted:jobs", "error")
    assert told["message"].startswith(f"job {job.id} (test.move) was cut off: ")
    await house.engine.cancel(job.id, ALICE, "looked at it")
    await until(lambda: house.book.find("interrupted:jobs").count == 0)
    house.clock.ahead_s += 31.0
    await until(lambda: not house.book.find("interrupted:jobs").is_open)


async def test_a_full_disk_is_told_though_it_cannot_be_written_down(
    house: AlertHouse, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "write", full)
        house.engine.publish("test.happened", {})
        await until(lambda: hook.got)
        assert hook.keys() == ["store_full:store"]
    await until(lambda: not house.engine.store_full)
    await turns(house)  # gone is counted from when it was seen to be gone
    house.clock.ahead_s += 11.0
    await until(lambda: not house.book.find("store_full:store").is_open)


async def test_the_book_stays_small(house: AlertHouse, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labd.engine.alerts.CLEARED_KEPT", 3)
    house.standing = [{**LOW, "subject": f"tube {number}"} for number in range(9)]
    await until(lambda: len(hook.got) == 9)
    await until(lambda: house.book.told("ops", "low_stock:tube-8"))
    house.standing = []
    await turns(house)
    house.clock.ahead_s += 11.0
    await until(lambda: len(house.book.all()) == 3)
    await house.cut_off()
    await house.open()
    assert [alert.key for alert in house.book.all()] == [f"low_stock:tube-{number}" for number in (8, 7, 6)]
    assert [house.book.told("ops", f"low_stock:tube-{number}") is None for number in (5, 8)] == [True, False]


@pytest.mark.parametrize("seed", [secrets.randbelow(1 << 32) for _ in range(3)])
async def test_whatever_happens_nothing_is_lost_doubled_or_forgotten(house: AlertHouse, hook: Hook, seed: int) -> None:
    print(f"seed {seed}")
    random, failed, kills = Random(seed), 0, 0
    for _ in range(25):
        match random.choice(["stand", "fall", "fail", "fail", "kill", "restart", "away", "back", "wait"]):
            case "stand":
                house.standing = [*house.standing, {**LOW, "subject": f"tube {random.randrange(9)}"}]
            case "fall":
                house.standing = house.standing[1:]
                house.clock.ahead_s += random.choice([0.0, 11.0, 40.0])
            case "fail":
                times = random.randrange(1, 5)
                await house.fail(times)
                failed += times
            case "kill":
                await house.cut_off()
                kills += 1
                await house.open()
            case "restart":
                await house.close()
                await house.open()
            case "away":
                hook.status = 503
            case "back":
                hook.status = 204
            case _:
                await turns(house, random.randrange(1, 4))
    hook.status = 204
    await turns(house)
    await until(lambda: all(told(house, alert.key) for alert in house.book.tellable()))
    await until(lambda: failed == 0 or house.book.find("job_failed:test.fail").count == failed)
    names = [(message["id"], message["key"]) for message in hook.got]
    assert len({number for number, _ in set(names)}) == len(set(names))  # no id has two alerts
    assert len(names) - len(set(names)) <= kills  # each kill can come between one message and its note
    assert {item["subject"] for item in house.standing} <= {alert.subject for alert in house.book.tellable()}
    assert len([key for _, key in names if key == "job_failed:test.fail"]) <= 1 + kills


def told(house: AlertHouse, key: str) -> bool:
    if key == "outlet_away:notify-ops" or house.watch.is_missing(key):
        return True  # not for this outlet, or about to be over
    last = house.book.told("ops", key)
    return last is not None and last.alert_id == house.book.find(key).id

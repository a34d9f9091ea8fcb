"""kill -9 of a daemon that is asked over MQTT: every request is done as one job and answered, whenever it came."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from labctl import MQTTOrchestratorClient
from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually
from tests.fakes.broker import PASSWORDS, Broker

ASKERS = 4
REQUESTS = 8
KILLS = 3


def test_every_request_is_one_job_and_is_answered_however_often_the_daemon_is_killed(state_dir: Path) -> None:
    broker = asyncio.run(Broker(state_dir / "broker").start())
    daemon = Daemon(state_dir, toml("mqtt", **_keys(broker)) + "[mqtt.users]\nalice = ['operate']\n", test_wing=True)
    daemon.env["LABD_TEST_MQTT_PASSWORD"] = PASSWORDS["labd"]
    answered: list[int] = []
    faults: list[BaseException] = []

    def ask(lab: MQTTOrchestratorClient) -> None:
        try:
            for _ in range(REQUESTS):
                lab.execute("test.sleep", {"duration_s": 0.05})
                answered.append(1)
        except BaseException as fault:
            faults.append(fault)

    try:
        daemon.start()
        with MQTTOrchestratorClient(
            f"127.0.0.1:{broker.port}", "bench", username="alice", password=PASSWORDS["alice"], resend_s=0.2,
            timeout_s=40.0,
        ) as lab:  # fmt: skip
            threads = [threading.Thread(target=ask, args=(lab,)) for _ in range(ASKERS)]
            for thread in threads:
                thread.start()
            for kill in range(1, KILLS + 1):
                wanted = kill * ASKERS * REQUESTS // (KILLS + 1)
                eventually(lambda wanted=wanted: len(answered) >= wanted, 30.0, f"{wanted} answers")
                daemon.kill()
                daemon.start()
            for thread in threads:
                thread.join(45.0)
        assert faults == []
        assert len(answered) == ASKERS * REQUESTS
        jobs = daemon.client.jobs(task="test.sleep", limit=500)["jobs"]
        assert len(jobs) == ASKERS * REQUESTS
        assert {job["state"] for job in jobs} == {"succeeded"}
        eventually(lambda: daemon.client.status()["mqtt"]["answers_owed"] == 0, 10.0, "no answer owed")
    finally:
        daemon.end()
        broker.stop()


def _keys(broker: Broker) -> dict[str, object]:
    return {key: value for key, value in broker.settings().items() if key != "users"}

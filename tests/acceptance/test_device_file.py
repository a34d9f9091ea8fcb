"""`python device_file.py` serves that file through labd, over HTTP and over MQTT; the code is the migration guide's."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labctl import Client, MQTTOrchestratorClient, OrchestratorClient
from labd.errors import InvalidArguments
from tests.acceptance.processes import END_S, ROOT, environment
from tests.acceptance.waiting import eventually
from tests.fakes.broker import PASSWORDS, Broker

TASKS = """
from labd import SERVER, DECORATOR
import beside  # a file next to this one

@DECORATOR
def mix_colors(r: int, g: int, b: int):
    return f"Mixed RGB({r},{g},{b}) {beside.WORD}"

"""
# As in the guide: no `if __name__ == "__main__"`; a worker that imports the file must not serve it again.
HTTP = (
    TASKS.replace("SERVER", "DeviceServer").replace("DECORATOR", "task")
    + """
server = DeviceServer(port=PORT)
server.run()
"""
)
MQTT = (
    TASKS.replace("SERVER", "MQTTDeviceServer").replace("DECORATOR", "mqtt_task")
    + """
server = MQTTDeviceServer("127.0.0.1:PORT", device_id="ot2-001", username="labd", users=["alice"])
server.start()
"""
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(folder: Path, text: str, **env: str) -> Iterator[Path]:
    """The device file as a process that serves; ended by SIGTERM, as by a service manager. Gives its state folder."""
    (folder / "beside.py").write_text('WORD = "by hand"\n')
    file = folder / "device_file.py"
    file.write_text(text)
    log = folder / "log"
    variables = environment(folder, XDG_STATE_HOME=str(folder / "s"), PYTHONPATH=str(ROOT), **env)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, str(file)], cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        eventually(
            lambda: "labd serves device_file.py at" in log.read_text(), 30.0, f"a device file that serves ({log})"
        )
        (state,) = (folder / "s" / "labd" / "devices").iterdir()
        yield state
    except BaseException:
        print(log.read_text()[-4000:])
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(END_S)
    assert code == 0, log.read_text()[-3000:]


def test_a_device_file_is_served_over_http(state_dir: Path) -> None:
    port = free_port()
    with serving(state_dir, HTTP.replace("PORT", str(port))) as state:
        assert stat.S_IMODE((state / "token").stat().st_mode) == 0o600
        token = (state / "token").read_text().strip()
        with OrchestratorClient(f"http://127.0.0.1:{port}", token=token) as client:
            assert client.execute_task("mix_colors", r=1, g=2, b=3) == "Mixed RGB(1,2,3) by hand"
            with pytest.raises(InvalidArguments):
                client.execute_task("mix_colors", r="red", g=2, b=3)
        local = Client(f"unix:{state / 'run' / 'labd.sock'}")
        assert [task["name"] for task in local.tasks() if not task["wing"]] == ["mix_colors"]
        local.close()


def test_a_device_file_that_is_edited_while_it_serves_is_taken_up(state_dir: Path) -> None:
    port = free_port()
    text = HTTP.replace("PORT", str(port))
    with serving(state_dir, text) as state:
        token = (state / "token").read_text().strip()
        with OrchestratorClient(f"http://127.0.0.1:{port}", token=token) as client:

            def mixed() -> str:
                return str(client.execute_task("mix_colors", r=1, g=2, b=3))

            assert mixed() == "Mixed RGB(1,2,3) by hand"
            (state_dir / "device_file.py").write_text(text.replace("Mixed RGB", "Blended RGB"))
            eventually(lambda: mixed() == "Blended RGB(1,2,3) by hand", 20.0, "the new code of the device file")
            (state_dir / "beside.py").write_text('WORD = "by the robot"\n')
            eventually(lambda: mixed() == "Blended RGB(1,2,3) by the robot", 20.0, "the new code beside it")


def test_a_device_file_is_served_over_mqtt(state_dir: Path) -> None:
    broker = asyncio.run(Broker(state_dir / "broker").start())
    try:
        with (
            serving(state_dir, MQTT.replace("PORT", str(broker.port)), MQTT_PASSWORD=PASSWORDS["labd"]),
            MQTTOrchestratorClient(
                f"127.0.0.1:{broker.port}", "ot2-001", username="alice", password=PASSWORDS["alice"], resend_s=0.2
            ) as client,
        ):
            assert client.execute_task("mix_colors", r=1, g=2, b=3) == "Mixed RGB(1,2,3) by hand"
            with pytest.raises(InvalidArguments):
                client.execute_task("mix_colors", r="red", g=2, b=3)
    finally:
        broker.stop()


def test_the_servers_are_imported_only_when_they_are_asked_for() -> None:
    code = "import sys, labd; assert 'labd.worker.device_server' not in sys.modules; labd.DeviceServer, labd.mqtt_task"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True, env={"PATH": os.environ["PATH"]})

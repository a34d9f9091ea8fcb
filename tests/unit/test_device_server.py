"""What a device file says of its door, as settings of labd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labd import DeviceServer, MQTTDeviceServer


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("127.0.0.1", {"broker": "127.0.0.1", "tls": False}),
        ("127.0.0.1:1884", {"broker": "127.0.0.1", "port": 1884, "tls": False}),
        ("mqtt://127.0.0.1:1884", {"broker": "127.0.0.1", "port": 1884, "tls": False}),
        ("mqtts://broker.lab", {"broker": "broker.lab", "tls": True}),
        ("mqtts://broker.lab:8884", {"broker": "broker.lab", "port": 8884, "tls": True}),
    ],
)
def test_a_broker_is_named_as_its_clients_name_it(broker: str, told: dict[str, Any], tmp_path: Path) -> None:
    server = MQTTDeviceServer(broker, device_id="ot2-001", file=str(tmp_path / "device.py"))
    table = server.tables()["mqtt"]
    assert {key: table[key] for key in ("broker", "port", "tls") if key in table} == told


def test_a_broker_of_another_protocol_is_refused_with_what_may_be_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="http:// is not spoken; give host, host:port or mqtts://host"):
        MQTTDeviceServer("http://broker.lab", device_id="ot2-001", file=str(tmp_path / "device.py"))


def test_users_of_the_broker_are_named_where_labd_has_a_name_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="users: name the users of the broker who may ask"):
        MQTTDeviceServer("127.0.0.1", device_id="ot2-001", username="labd", file=str(tmp_path / "device.py"))


def test_an_address_of_six_is_bracketed(tmp_path: Path) -> None:
    server = DeviceServer(host="::1", port=8001, file=str(tmp_path / "device.py"))
    assert server.tables() == {"api": {"listen": "[::1]:8001"}}

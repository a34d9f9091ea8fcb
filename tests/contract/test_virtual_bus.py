"""The virtual bus under the real, unmodified dynamixel_sdk: every transaction, every fault, and the process form."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from dynamixel_sdk import GroupBulkRead, GroupBulkWrite, GroupSyncRead, GroupSyncWrite
from serial import SerialException

from labd.resort.registers import HardwareError, Instruction, StatusError
from labd.resort.virtual import simulator
from labd.resort.virtual.bus_control import answer_line
from labd.resort.virtual.frames import InstructionPacket, StatusPacket, decode
from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.transactions import carry_out
from labd.resort.virtual.virtual_servo import VirtualServo
from tests.fakes.virtual_bus import HandClock, Host, host_on, virtual_bus

TIMEOUT, CORRUPT = -3001, -3002


def three() -> list[VirtualServo]:
    return [VirtualServo(1060, 1), VirtualServo(1020, 2, position=1000), VirtualServo(1200, 7, position=2000)]


# Every transaction of the vendor's driver.


def test_ping_tells_the_model_and_an_absent_servo_times_out() -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        assert host.packets.ping(host.port, 1) == (1060, 0, 0)
        assert host.packets.ping(host.port, 7) == (1200, 0, 0)
        assert host.packets.ping(host.port, 3) == (0, TIMEOUT, 0)


def test_broadcast_ping_finds_all() -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        found, result = host.packets.broadcastPing(host.port)
        assert result == 0
        assert found == {1: [1060, 52], 2: [1020, 52], 7: [1200, 52]}


@pytest.mark.parametrize("baud_rate", [9600, 57600, 115200, 1_000_000, 2_000_000, 3_000_000, 4_000_000])
def test_any_speed_opens_and_talks(baud_rate) -> None:
    with virtual_bus() as bus, host_on(bus, baud_rate) as host:
        assert host.port.setBaudRate(baud_rate)
        assert host.packets.ping(host.port, 1) == (1060, 0, 0)


def test_a_bus_that_checks_the_speed_is_deaf_to_another() -> None:
    with virtual_bus(check_baud=True) as bus:
        with host_on(bus, 57600) as host:
            assert host.packets.ping(host.port, 1)[1] == 0
        with host_on(bus, 1_000_000) as host:
            assert host.packets.ping(host.port, 1)[1] == TIMEOUT


def test_reads_and_writes_of_every_size_and_sign() -> None:
    with virtual_bus(VirtualServo(1060, 1)) as bus, host_on(bus) as host:
        packets, port = host.packets, host.port
        assert packets.write1ByteTxRx(port, 1, 65, 1) == (0, 0)
        assert packets.read1ByteTxRx(port, 1, 65) == (1, 0, 0)
        assert packets.write2ByteTxRx(port, 1, 84, 700) == (0, 0)
        assert packets.read2ByteTxRx(port, 1, 84) == (700, 0, 0)
        assert packets.write4ByteTxRx(port, 1, 112, 123) == (0, 0)
        assert packets.read4ByteTxRx(port, 1, 112) == (123, 0, 0)
        bus.servos[0].push(-5)
        assert packets.read4ByteTxRx(port, 1, 132) == (4294967291, 0, 0)
        assert host.read(1, 132, 4, signed=True) == -5


def test_payloads_full_of_header_bytes_come_back_whole() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        assert host.write(1, 11, 1, 4) == (0, 0)
        bus.servos[0].push(0x00FDFFFF - 2**24)
        assert host.read(1, 132, 4, signed=True) == 0x00FDFFFF - 2**24


def test_an_unstuffed_write_of_the_driver_is_taken_as_meant() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        bus.servos[0].table["operating_mode"] = 4
        value = -131_073  # bytes ff ff fd ff
        assert host.write(1, 116, 4, value) == (0, 0)
        assert bus.servos[0].register("goal_position") == value


def test_eeprom_lock_answers_access_error_while_torque_is_on() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        assert host.write(1, 64, 1, 1) == (0, 0)
        assert host.write(1, 11, 1, 4) == (0, 7)
        assert host.packets.getRxPacketError(7) == (
            "[RxPacketError] Writing or Reading is not available to target address!"
        )
        assert host.read(1, 11, 1) == 3
        assert host.write(1, 64, 1, 0) == (0, 0)
        assert host.write(1, 11, 1, 4) == (0, 0)


@pytest.mark.parametrize(
    ("address", "size", "value", "error"),
    [(132, 4, 5, 7), (300, 1, 0, 7), (65, 1, 2, 4), (116, 4, 4096, 6), (116, 2, 5, 5), (11, 1, 5, 4)],
)
def test_refused_writes_answer_their_number(address, size, value, error) -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        assert host.write(1, address, size, value) == (0, error)


def test_reading_a_current_from_a_motor_without_one_is_an_access_error() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        _, result, error = host.packets.readTxRx(host.port, 1, 102, 2)
        assert (result, error) == (0, 7)


def test_registered_write_waits_for_action() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        assert host.packets.regWriteTxRx(host.port, 1, 65, 1, [1]) == (0, 0)
        assert (host.read(1, 65, 1), host.read(1, 69, 1)) == (0, 1)
        host.packets.action(host.port, 254)
        assert (host.read(1, 65, 1), host.read(1, 69, 1)) == (1, 0)


def test_reboot_factory_reset_and_clear() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        host.write(1, 65, 1, 1)
        assert host.packets.reboot(host.port, 1) == (0, 0)
        assert host.read(1, 65, 1) == 0
        host.write(1, 36, 2, 400)
        assert host.packets.factoryReset(host.port, 1, 2) == (0, 0)
        assert host.read(1, 36, 2) == 885
        bus.servos[0].push(5000)
        assert host.packets.clearMultiTurn(host.port, 1) == (0, 0)
        assert host.read(1, 132, 4) == 904


def test_clear_fails_while_moving() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        host.write(1, 112, 4, 10)
        host.write(1, 64, 1, 1)
        host.write(1, 116, 4, 4000)
        assert host.packets.clearMultiTurn(host.port, 1) == (0, 1)


@pytest.mark.parametrize("way", ["txRxPacket", "fastSyncRead"])
def test_sync_read(way) -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        group = GroupSyncRead(host.port, host.packets, 132, 4)
        for servo_id in (1, 2, 7):
            assert group.addParam(servo_id)
        assert getattr(group, way)() == 0
        assert [group.getData(servo_id, 132, 4) for servo_id in (1, 2, 7)] == [0, 1000, 2000]


@pytest.mark.parametrize("way", ["txRxPacket", "fastBulkRead"])
def test_bulk_read(way) -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        group = GroupBulkRead(host.port, host.packets)
        assert group.addParam(2, 132, 4)
        assert group.addParam(7, 0, 2)
        assert getattr(group, way)() == 0
        assert (group.getData(2, 132, 4), group.getData(7, 0, 2)) == (1000, 1200)


def test_behind_a_missing_servo_of_a_sync_read_nobody_speaks() -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        group = GroupSyncRead(host.port, host.packets, 132, 4)
        for servo_id in (1, 3, 7):
            group.addParam(servo_id)
        assert group.txRxPacket() == TIMEOUT
        assert not group.isAvailable(7, 132, 4)


def test_sync_and_bulk_write() -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        sync = GroupSyncWrite(host.port, host.packets, 112, 4)
        for servo_id in (1, 7):
            assert sync.addParam(servo_id, [servo_id, 0, 0, 0])
        assert sync.txPacket() == 0
        bulk = GroupBulkWrite(host.port, host.packets)
        assert bulk.addParam(2, 84, 2, [5, 1])
        assert bulk.txPacket() == 0
        assert [host.read(servo_id, 112, 4) for servo_id in (1, 2, 7)] == [1, 0, 7]
        assert host.read(2, 84, 2) == 261


def test_status_return_level_keeps_the_servo_quiet_and_obedient() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        assert host.write(1, 68, 1, 1) == (0, 0), "answered under the level from before"
        assert host.write(1, 65, 1, 1) == (TIMEOUT, 0)
        assert host.read(1, 65, 1) == 1


def test_a_latched_hardware_error_raises_the_alert_bit_of_good_answers() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        host.write(1, 64, 1, 1)
        bus.servos[0].hardware_error(HardwareError.OVERHEATING)
        _, result, error = host.packets.read4ByteTxRx(host.port, 1, 132)
        assert (result, error) == (0, 0x80)
        assert host.read(1, 70, 1) == 4
        assert host.read(1, 64, 1) == 0


def test_a_move_over_the_wire_runs_by_the_clock() -> None:
    clock = HandClock()
    with virtual_bus(clock=clock) as bus, host_on(bus) as host:
        host.write(1, 112, 4, 100)
        host.write(1, 64, 1, 1)
        host.write(1, 116, 4, 1024)
        clock.forward(0.25)
        assert host.read(1, 122, 1) == 1
        assert host.read(1, 132, 4) == 391
        clock.forward(1.0)
        assert (host.read(1, 122, 1), host.read(1, 132, 4)) == (0, 1024)


def test_close_and_open_again_and_two_openers() -> None:
    with virtual_bus() as bus:
        for _ in range(3):
            with host_on(bus) as host:
                assert host.packets.ping(host.port, 1)[1] == 0


# Watchdog.


def test_any_packet_on_the_bus_feeds_every_watchdog_and_silence_trips_it() -> None:
    clock = HandClock()
    both = VirtualServo(1060, 1, clock=clock), VirtualServo(1060, 2, clock=clock)
    with virtual_bus(*both, clock=clock) as bus, host_on(bus) as host:
        host.write(1, 112, 4, 20)
        host.write(1, 64, 1, 1)
        host.write(1, 98, 1, 10)
        host.write(1, 116, 4, 4000)
        for _ in range(5):
            clock.forward(0.15)
            assert host.read(2, 132, 4) == 0, "another servo is asked"
        assert host.read(1, 98, 1) == 10
        there = host.read(1, 132, 4)
        clock.forward(5.0)
        assert host.read(1, 98, 1) == 0xFF
        assert host.read(1, 132, 4) == pytest.approx(there + 0.2 * 313, abs=2)
        assert host.write(1, 116, 4, 0) == (0, 4)
        assert (host.read(1, 108, 4), host.read(1, 112, 4), host.read(1, 64, 1)) == (0, 0, 1)
        assert host.write(1, 98, 1, 0) == (0, 0)
        assert host.write(1, 116, 4, 0) == (0, 0)


def test_a_packet_after_the_expiry_does_not_undo_the_trip() -> None:
    clock = HandClock()
    with virtual_bus(clock=clock) as bus, host_on(bus) as host:
        host.write(1, 64, 1, 1)
        host.write(1, 98, 1, 5)
        clock.forward(0.2)
        assert host.packets.ping(host.port, 1)[1] == 0
        assert host.read(1, 98, 1) == 0xFF


def test_the_bus_notices_a_trip_by_itself(tmp_path) -> None:
    record = tmp_path / "bus.jsonl"
    with virtual_bus(record=record) as bus, host_on(bus) as host:
        host.write(1, 64, 1, 1)
        tripped = _once(bus, "watchdog_tripped")
        host.write(1, 98, 1, 1)
        assert tripped(), "no watchdog trip within 5 s"
    kinds = [line["kind"] for line in _lines(record)]
    assert "watchdog_tripped" in kinds


def _once(bus: VirtualBus, kind: str):
    """Wait for an event of a servo under a deadline."""
    seen = threading.Event()
    servo = bus.servos[0]
    told = servo.on_event

    def tell(who, event, facts):
        told(who, event, facts)
        if event == kind:
            seen.set()

    servo.on_event = tell
    return lambda: seen.wait(5.0)


# Faults.


def test_a_lost_answer_is_a_timeout_and_the_write_is_done() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        bus.faults.next("lost")
        assert host.write(1, 65, 1, 1) == (TIMEOUT, 0)
        assert host.read(1, 65, 1) == 1


def test_an_unheard_instruction_is_a_timeout_and_the_write_is_not_done() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        bus.faults.next("unheard")
        assert host.write(1, 65, 1, 1) == (TIMEOUT, 0)
        assert host.read(1, 65, 1) == 0


def test_a_corrupt_answer_never_passes_as_good() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        for _ in range(10):
            bus.faults.next("corrupt")
            result = host.packets.readTxRx(host.port, 1, 132, 4)[1]
            assert result in (TIMEOUT, CORRUPT)
        assert bus.faults.counts["corrupt"] == 10
        assert host.read(1, 132, 4) == 0


def test_a_late_answer_comes_after_the_timeout() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        bus.faults.late_s = 0.4
        bus.faults.next("late")
        assert host.packets.readTxRx(host.port, 1, 132, 4)[1] == TIMEOUT
        ready, _, _ = select.select([host.port.ser.fileno()], [], [], 5.0)
        assert ready, "the late answer did come"
        assert host.read(1, 0, 2) == 1060


def test_a_duplicated_answer_leaves_a_packet_behind() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        bus.faults.next("duplicated")
        assert host.packets.ping(host.port, 1)[1] == 0
        assert select.select([host.port.ser.fileno()], [], [], 5.0)[0]
        assert host.read(1, 0, 2) == 1060


def test_a_seed_makes_the_same_faults_again() -> None:
    def results(seed: int) -> list[int]:
        with virtual_bus(seed=seed) as bus, host_on(bus) as host:
            bus.faults.chance("lost", 0.3)
            return [host.packets.readTxRx(host.port, 1, 132, 4)[1] for _ in range(12)]

    assert results(5) == results(5)
    assert TIMEOUT in results(5)


def test_unplugged_the_host_sees_a_hang_up_and_plugged_in_again_the_motor_is_where_it_was(tmp_path) -> None:
    link = tmp_path / "motor"
    with virtual_bus(VirtualServo(1060, 1, position=777), link=link) as bus:
        with host_on(bus) as host:
            assert host.read(1, 132, 4) == 777
            bus.unplug()
            assert not link.is_symlink()
            assert bus.path == ""
            with pytest.raises((SerialException, termios.error, OSError)):
                host.packets.ping(host.port, 1)
        bus.plug()
        host = Host(str(link))
        assert host.read(1, 132, 4) == 777
        host.close()


def test_a_move_goes_on_while_unplugged() -> None:
    clock = HandClock()
    with virtual_bus(clock=clock) as bus:
        with host_on(bus) as host:
            host.write(1, 112, 4, 100)
            host.write(1, 64, 1, 1)
            host.write(1, 116, 4, 1024)
            bus.unplug()
        clock.forward(5)
        assert bus.servos[0].position == 1024


def test_a_damaged_instruction_is_answered_with_crc_error() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        host.port.ser.write(bytes.fromhex("ff ff fd 00 01 03 00 01 19 4f"))
        host.port.ser.timeout = 5.0
        answer = decode(host.port.ser.read(11))
        assert answer == StatusPacket(1, StatusError.CRC_ERROR)


# The bus itself.


def test_two_servos_with_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two servos with one id on a virtual bus: \[1, 1\]"):
        VirtualBus([VirtualServo(), VirtualServo()])


def test_the_slave_is_raw_before_anybody_opens_it() -> None:
    with virtual_bus() as bus:
        file = os.open(bus.path, os.O_RDWR | os.O_NOCTTY)
        try:
            local = termios.tcgetattr(file)[3]
            assert not local & (termios.ECHO | termios.ICANON)
        finally:
            os.close(file)


def test_an_idle_bus_sleeps_without_end() -> None:
    with virtual_bus() as bus, host_on(bus) as host:
        host.write(1, 64, 1, 1)
        host.read(1, 132, 4)
        assert bus._wait_s() is None


def test_stop_closes_everything_and_a_second_stop_does_nothing() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with virtual_bus() as bus:
        pass
    bus.stop()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_the_record_proves_what_happened(tmp_path) -> None:
    record, clock = tmp_path / "bus.jsonl", HandClock()
    with virtual_bus(clock=clock, record=record) as bus, host_on(bus) as host:
        host.write(1, 64, 1, 1)
        host.write(1, 112, 4, 100)
        host.write(1, 116, 4, 1024)
        clock.forward(3)
        assert host.read(1, 132, 4) == 1024
        host.write(1, 64, 1, 0)
    lines = _lines(record)
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    writes = [w for line in lines if line["kind"] == "frame" for w in line.get("writes", [])]
    assert writes == [
        {"servo": 1, "register": "torque_enable", "value": 1},
        {"servo": 1, "register": "profile_velocity", "value": 100},
        {"servo": 1, "register": "goal_position", "value": 1024},
        {"servo": 1, "register": "torque_enable", "value": 0},
    ]
    frames = [line for line in lines if line["kind"] == "frame"]
    assert [frame["direction"] for frame in frames] == ["rx", "tx"] * 5
    assert all({"mono", "wall", "hex"} <= set(frame) for frame in frames)
    told = [(line["kind"], line.get("value", line.get("how"))) for line in lines if line["kind"] in _CHANGES]
    assert told == [("torque", 1), ("goal", 1024), ("move_started", None), ("move_ended", "arrived"), ("torque", 0)]
    ended = next(line for line in lines if line["kind"] == "move_ended")
    assert ended["mono"] == pytest.approx(1000 + 1024 / 1563.3067, abs=1e-3), "when it arrived, not when it was seen"
    state = json.loads((tmp_path / "bus.jsonl.state.json").read_text())["servos"][0]
    assert (state["position"], state["torque"], state["moves"], state["arrivals"]) == (1024, False, 1, 1)
    assert (state["goal_writes"], state["torque_writes"]) == (1, 2)


_CHANGES = {"torque", "goal", "move_started", "move_ended"}


def _lines(record: Path) -> list[dict]:
    return [json.loads(line) for line in record.read_text().splitlines()]


def test_a_full_disk_costs_lines_and_says_how_many(tmp_path) -> None:
    record = tmp_path / "bus.jsonl"
    with virtual_bus(record=record) as bus, host_on(bus) as host:
        host.read(1, 0, 2)
        with bus.lock:
            limit = resource.getrlimit(resource.RLIMIT_FSIZE)
            before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (record.stat().st_size + 5, limit[1]))
        try:
            assert host.read(1, 0, 2) == 1060
        finally:
            with bus.lock:
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
                signal.signal(signal.SIGXFSZ, before)
        host.read(1, 0, 2)
    texts = [text for text in record.read_text().splitlines() if text.endswith("}")]
    lines = [json.loads(text) for text in texts]
    assert [line["missed"] for line in lines if "missed" in line] == [2]


def test_threads_that_meddle_do_not_stop_the_bus() -> None:
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        done = threading.Event()

        def meddle() -> None:
            for number in range(200):
                bus.servo(2).surround(load=number / 200)
                bus.servo(7).push(1)
                bus.state()
            done.set()

        meddler = threading.Thread(target=meddle)
        meddler.start()
        while not done.is_set():
            assert host.read(1, 0, 2) == 1060
        meddler.join()
        assert bus.servo(7).position == 2200


def test_rubbish_on_the_line_is_survived() -> None:
    rng = random.Random(3)
    with virtual_bus(*three()) as bus, host_on(bus) as host:
        for _ in range(50):
            host.port.ser.write(rng.randbytes(rng.randrange(1, 40)))
        host.port.ser.write(b"\x00" * 1100)
        host.port.ser.flush()
        assert host.packets.ping(host.port, 1) == (1060, 0, 0)


def test_no_packet_however_odd_ends_the_bus() -> None:
    rng = random.Random(11)
    clock = HandClock()
    servos = [VirtualServo(model, number, clock=clock) for number, model in enumerate((1060, 1020, 1200), 1)]
    addresses = [item.address for item in servos[0].model.registers.values()]
    for _ in range(5000):
        instruction = rng.choice([*Instruction, 0x77])
        address = rng.choice([*addresses, rng.randrange(700)])
        params = address.to_bytes(2, "little") + rng.randbytes(rng.randrange(9))
        packet = InstructionPacket(rng.choice([1, 2, 3, 9, 254]), instruction, rng.choice([params, params[2:]]))
        clock.forward(rng.choice([0.0, 0.01, 3.0]))
        for servo in servos:
            servo.advance()
            servo.feed_watchdog(clock.monotonic())
        for answer in carry_out(packet, servos):
            assert answer.data.startswith(b"\xff\xff\xfd\x00")
        if rng.random() < 0.01:
            servos[0].hardware_error(rng.randrange(256))
            servos[1].surround(wall=rng.randrange(4096), stalled=rng.random() < 0.5, load=rng.random())
    assert all(servo.state() for servo in servos)


# Commands and the process.


def test_commands_and_their_refusals() -> None:
    with virtual_bus(*three()) as bus:

        def do(**command) -> dict:
            return json.loads(answer_line(bus, json.dumps(command).encode()))

        assert do(do="state")["servos"][1]["position"] == 1000
        assert do(do="stall", servo=1)["ok"]
        assert bus.servo(1).stall
        assert do(do="surround", servo=1, stalled=False, wall=50)["ok"]
        assert do(do="push", servo=2, steps=10) == {"ok": True, "moved": True}
        assert do(do="hardware_error", servo=2, bits=4)["hardware_error"] == 4
        assert do(do="reboot", servo=2)["hardware_error"] == 0
        assert do(do="trip_watchdog", servo=2)["watchdog"] == -1
        assert do(do="warm", servo=2, celsius=60)["temperature_celsius"] == 60
        assert do(do="fault", kind="lost", next=2)["next"] == {"lost": 2}
        assert do(do="fault", kind="late", chance=0.5, late_s=0.2)["chances"] == {"late": 0.5}
        assert do(do="no_faults")["next"] == {}
        assert do(do="unplug")["ok"]
        assert not bus.is_plugged
        assert do(do="plug")["path"] == bus.path
        assert do(do="state", servo=9)["ok"]
        assert do(do="stall")["error"] == 'several servos on this bus: say which, such as "servo": 1'
        assert do(do="stall", servo=9)["error"] == "no servo 9 on the virtual bus; there are [1, 2, 7]"
        assert do(do="fault", kind="fire")["error"].startswith("no fault 'fire'; known: unheard, lost")
        assert do(do="surround", servo=1, colour=1)["error"].startswith("cannot set colour; known: ambient_celsius")
        assert do(do="dance")["error"].startswith("no command 'dance'; known: state, plug")
        assert do(do="warm", servo=1, celsius=900)["error"].startswith("a winding has -50 to 250 degrees")
        assert do(do="surround", servo=1, load=2)["error"] == "load of a virtual servo is 0 to 1, not 2"
        assert not json.loads(answer_line(bus, b"{"))["ok"]
        assert not json.loads(answer_line(bus, b"[]"))["ok"]


@contextlib.contextmanager
def process(*options: str):
    """The simulator as its own process, killed at the end if need be; gives it and its first line."""
    command = "from labd.resort.virtual.simulator_command import simulate_resort; simulate_resort()"
    child = subprocess.Popen(
        [sys.executable, "-c", command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().rstrip()
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_obeys_and_cleans_up(state_dir, number) -> None:
    link, record, control = state_dir / "motor", state_dir / "bus.jsonl", state_dir / "control"
    options = ["--link", str(link), "--record", str(record), "--control", str(control), "--seed", "42"]
    with process(*options, "--servo-id", "1", "--servo-id", "3") as (child, line):
        assert line == f"virtual bus ready at {link} (servo 1: XL430-W250, servo 3: XL430-W250), seed 42"
        host = Host(str(link))
        assert host.packets.ping(host.port, 3) == (1060, 0, 0)
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(str(control))
            lines = door.makefile("rw")
            lines.write('{"do": "unplug"}\n{"do": "plug"}\n{"do": "state"}\n')
            lines.flush()
            answers = [json.loads(lines.readline()) for _ in range(3)]
            lines.close()
        assert [answer["ok"] for answer in answers] == [True, True, True]
        host.close()
        host = Host(str(link))
        assert host.packets.ping(host.port, 1) == (1060, 0, 0)
        host.close()
        with process("--link", str(link)) as (second, _):
            assert second.wait(10) == 1
            assert second.stderr.read() == (
                f"Error: another virtual bus (process {child.pid}) serves {link}; "
                "end it first or choose another --link\n"
            )
        child.send_signal(number)
        assert child.wait(10) == 0
        assert child.stderr.read() == ""
    assert sorted(path.name for path in state_dir.iterdir()) == ["bus.jsonl", "bus.jsonl.state.json"]
    assert _lines(record)[-1]["kind"] == "closed"


def test_after_a_kill_the_next_process_takes_link_and_control_over(state_dir) -> None:
    options = ["--link", str(state_dir / "motor"), "--control", str(state_dir / "control")]
    with process(*options) as (child, _):
        child.kill()
        child.wait(10)
        assert (state_dir / "motor").is_symlink()
        with process(*options) as (_, line):
            assert line.startswith("virtual bus ready at ")


def test_a_link_that_is_a_file_is_left_alone(state_dir) -> None:
    (state_dir / "motor").write_text("mine")
    with process("--link", str(state_dir / "motor")) as (child, _):
        assert child.wait(10) == 1
        assert "is no symbolic link; choose another --link" in child.stderr.read()
    assert (state_dir / "motor").read_text() == "mine"


def test_the_stale_rest_of_a_packet_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(simulator, "STALE_PACKET_S", 0.0)
    with virtual_bus() as bus, host_on(bus) as host:
        ping = bytes.fromhex("ff ff fd 00 01 03 00 01 19 4e")
        host.port.ser.write(ping[:-1])
        deadline = time.monotonic() + 5.0
        while not bus._reader.is_inside_packet and time.monotonic() < deadline:
            os.sched_yield()
        assert host.packets.ping(host.port, 1)[1] == 0

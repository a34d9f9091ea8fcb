"""What runs on the robot for `driver = "ssh"`: `opentrons.execute`, in one worker that keeps context and hardware.

labd lends this file to the robot's own Python (3.10); it imports the standard library, labd's `task` and, when called,
opentrons. A protocol runs in a thread of its own, so the main thread is free for the halt.

Why the robot's own server must not run: two programs that drive one motor board leave lights, modules and motion in
conflict (Opentrons/opentrons issues 9139, 7179, 16375). It is looked for at every look, not only at the first.
Why run-time parameters are slipped in: `execute()` passes none on (opentrons 9.0, its own TODO of 2024-03-18), but what
it makes inside, `RunOrchestrator.run`, takes them, as the robot's server gives them.
Why a lock file: after a lost connection the worker from before may live on for some seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import signal
import socket
import subprocess
import tempfile
import threading
import traceback
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path
from typing import Any

from labd import task
from labd.ot2.remote_run import ENDED, GOING, Run, now

Json = dict[str, Any]
SERVER_UNIT = "opentrons-robot-server"
SERVER_URL = "http://127.0.0.1:31950/health"
SERIAL = "/var/serial"
CONTEXT_LEVEL = "2.13"  # below 2.14 a context speaks to the hardware itself, and no engine of its own goes on beside
REASON_LIMIT = 1000
PARAMETERS_LEVEL = (2, 18)


class Refusal(Exception):
    """An answer that is no success: `busy`, `server`, `protocol`, `parameters` or `unknown`, and why."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class RemoteRobot:
    """The robot that this process has."""

    def __init__(self) -> None:
        self._context: Any = None
        self._is_halted = False
        self._lock_file: Any = None
        self._protocols: dict[str, list[Json]] = {}
        self._run: Run | None = None
        self._moving: threading.Thread | None = None
        self._home_problem: str | None = None

    def health(self) -> Json:
        """Who it is, once it is certain that nobody else has the hardware."""
        problem = server_problem()
        if problem:
            raise Refusal("server", problem)
        self._open()
        import opentrons
        from opentrons import protocol_api

        serial = Path(SERIAL)
        return {
            "name": socket.gethostname(), "software": str(opentrons.__version__),
            "serial": serial.read_text().strip() if serial.exists() else None,
            "low": str(protocol_api.MIN_SUPPORTED_VERSION), "high": str(protocol_api.MAX_SUPPORTED_VERSION),
        }  # fmt: skip

    def _open(self) -> None:
        if self._context is not None:
            return
        if self._lock_file is None:
            folder = Path(tempfile.gettempdir()) / f"labd-{os.getuid()}"
            folder.mkdir(mode=0o700, exist_ok=True)
            file = (folder / "ot2.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise Refusal("busy", "a worker from before has not let go of the robot yet") from None
            self._lock_file = file
        from opentrons import execute

        self._context = execute.get_protocol_api(CONTEXT_LEVEL)
        orchestrator = getattr(execute, "RunOrchestrator", None)
        if orchestrator is not None and "run_time_param_values" in inspect.signature(orchestrator.run).parameters:
            execute.RunOrchestrator = self._with_parameters(orchestrator)
        make = getattr(execute, "create_protocol_engine", None)
        if make is not None:
            execute.create_protocol_engine = self._keeping(make)

    def _keeping(self, make: Any) -> Any:
        """`execute()` gives nobody its engine, and only that ends a pause: so the maker of engines is listened to."""

        async def make_and_keep(*args: Any, **options: Any) -> Any:
            engine = await make(*args, **options)
            if self._run is not None:
                self._run.use_engine(engine)
            return engine

        return make_and_keep

    def _with_parameters(self, orchestrator: Any) -> Any:
        """Gives the parameters of the run to whoever `execute()` makes to run it."""
        remote = self

        class WithParameters(orchestrator):  # type: ignore[misc]
            async def run(self, *args: Any, run_time_param_values: Any = None, **options: Any) -> Any:
                given = run_time_param_values or (remote._run.parameters if remote._run is not None else None)
                if given:  # software that takes none is refused at the upload
                    options["run_time_param_values"] = given
                return await super().run(*args, **options)

        return WithParameters

    def _hardware(self) -> Any:
        from opentrons import execute

        return execute._get_global_hardware_controller(execute._get_robot_type()).sync

    def upload(self, documents: list[Json], parameters: Json) -> Json:
        """Keep a protocol and its labware; the protocol is read, not simulated."""
        from opentrons.protocols import parse

        name, text = documents[0]["name"], documents[0]["text"]
        try:
            found = parse.parse(text, name)
        except Exception as fault:
            raise Refusal("protocol", f"{type(fault).__name__}: {fault}"[:REASON_LIMIT]) from fault
        if parameters:
            _check_parameters(name, found)
        digest = hashlib.sha256()
        for document in documents:
            digest.update(f"{document['name']}\0{document['text']}\0".encode())
        protocol_id = digest.hexdigest()[:16]
        self._protocols[protocol_id] = documents
        return {"protocol_id": protocol_id}

    def create(self, protocol_id: str, run_id: str, parameters: Json) -> Json:
        """A run that does not move yet."""
        self._check_free()
        if protocol_id not in self._protocols:
            raise Refusal("unknown", f"protocol {protocol_id} is not here (any more); upload it again")
        self._run = Run(run_id, protocol_id, parameters)
        return self._run.view()

    def _check_free(self) -> None:
        if self._run is not None and self._run.status not in (*ENDED, "idle"):
            raise Refusal("busy", f"run {self._run.run_id} is {self._run.status}")
        if self._moving is not None and self._moving.is_alive():
            raise Refusal("busy", "the robot is moving")

    def view(self, run_id: str) -> Json | None:
        """One run, if it is the one that this process has."""
        return self._run.view() if self._run is not None and self._run.run_id == run_id else None

    def steps(self, run_id: str, first: int, count: int) -> Json:
        """Commands of a run."""
        run = self._run
        if run is None or run.run_id != run_id:
            raise Refusal("unknown", f"run {run_id} is not here")
        return run.told(first, count)

    def act(self, run_id: str, action: str) -> Json:
        """Play, pause or resume; a stop is `halt` and then the end of this process."""
        run = self._run
        if run is None or run.run_id != run_id:
            raise Refusal("busy", f"run {run_id} is not the current one")
        run.view()
        if action == "pause":
            self._pause(run)
        elif action == "play" and run.status == "idle":
            self._play(run)
        elif action == "play" and run.status in GOING:
            self._resume(run)
        else:
            raise Refusal("busy", f"run {run_id} is {run.status}, so {action} is not allowed")
        run.actions.append(action)
        return run.view()

    def _play(self, run: Run) -> None:
        problem = server_problem()
        if problem:
            raise Refusal("server", problem)
        self._open()
        self._check_free()
        run.status, run.started_at = "running", now()
        self._begin(lambda: self._perform(run))

    def _pause(self, run: Run) -> None:
        if run.status != "running":
            raise Refusal("busy", f"run {run.run_id} is {run.status}, so pause is not allowed")
        run.pause(self._hardware())
        run.status = "paused"

    def _resume(self, run: Run) -> None:
        if run.status != "running":
            run.status = "running"
            run.resume(self._hardware())

    def _perform(self, run: Run) -> None:
        from opentrons import execute

        documents = self._protocols[run.protocol_id]
        try:
            with tempfile.TemporaryDirectory(prefix="labd-ot2-") as folder:
                for document in documents[1:]:
                    (Path(folder) / Path(document["name"]).name).write_text(document["text"], encoding="utf-8")
                execute.execute(
                    BytesIO(documents[0]["text"].encode()), documents[0]["name"], emit_runlog=run.hear,
                    custom_labware_paths=[folder] if documents[1:] else None,
                )  # fmt: skip
        except BaseException as fault:  # noqa: BLE001 whatever a protocol raises ends its run
            text = f"{type(fault).__name__}: {fault}"[:REASON_LIMIT]
            where = traceback.format_exc()[-4 * REASON_LIMIT :]
            run.errors.append({"errorType": type(fault).__name__, "detail": text, "traceback": where})
            run.end("stopped" if self._is_halted else "failed")
        else:
            run.end("succeeded")

    def _begin(self, work: Any) -> None:
        self._moving = threading.Thread(target=work, name="labd-ot2", daemon=True)
        self._moving.start()

    def halt(self) -> None:
        """The motors stand still at once; called while another thread waits for a movement."""
        self._is_halted = True  # first: the protocol's thread fails at once, and that is the stop, no fault of its own
        if self._context is not None:
            self._hardware().halt()

    def home(self) -> None:
        """Begin to home."""
        self._check_free()
        if self._run is not None and self._run.status == "idle":
            self._run = None
        self._open()
        self._home_problem = None
        self._begin(self._homing)

    def _homing(self) -> None:
        try:
            self._context.home()
        except Exception as fault:  # noqa: BLE001 told by `homed`
            self._home_problem = f"{type(fault).__name__}: {fault}"[:REASON_LIMIT]

    def homed(self) -> Json:
        """Whether it has ended, and why it failed."""
        return {"done": self._moving is None or not self._moving.is_alive(), "problem": self._home_problem}

    def door_open(self) -> bool:
        """Whether the door stands open."""
        self._open()
        return not self._context.door_closed

    def lights(self, on: bool | None) -> bool:
        """Whether the lights are on, after setting them if asked."""
        self._open()
        if on is not None:
            self._context.set_rail_lights(on)
        return bool(self._context.rail_lights_on)


def _check_parameters(name: str, protocol: Any) -> None:
    """Nothing if this software can give run-time parameters to this protocol; they are never dropped in silence."""
    from opentrons import execute

    run = getattr(getattr(execute, "RunOrchestrator", None), "run", None)
    if run is None or "run_time_param_values" not in inspect.signature(run).parameters:
        text = "its software takes no run-time parameters here; write the values into the protocol"
        raise Refusal("parameters", f'{text}, or use driver = "http"')
    level = getattr(protocol, "api_level", None)
    if level is None or (level.major, level.minor) < PARAMETERS_LEVEL:
        raise Refusal(
            "protocol", f"{name} has no run-time parameters; a Python protocol has them from apiLevel 2.18 on"
        )


def server_problem() -> str:
    """Why the hardware is not free: the robot's own server; empty if it does not run."""
    hint = f'stop it there first: `systemctl stop {SERVER_UNIT}`, or use driver = "http"'
    try:
        done = subprocess.run(
            ["systemctl", "is-active", SERVER_UNIT], capture_output=True, text=True, timeout=5, check=False
        )
        state = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        state = ""
    if state in ("active", "activating", "reloading", "deactivating"):
        return f"the robot's own server ({SERVER_UNIT}) is {state}; {hint}"
    request = urllib.request.Request(SERVER_URL, headers={"Opentrons-Version": "*"})
    try:
        with urllib.request.urlopen(request, timeout=2):  # noqa: S310
            return f"a robot server answers at {SERVER_URL}; {hint}"
    except (urllib.error.URLError, OSError):
        return ""


robot = RemoteRobot()


def _halt_and_end(number: int, _frame: Any) -> None:
    """SIGTERM comes before SIGKILL when the connection is lost and when a halt was not answered."""
    try:
        robot.halt()
    finally:
        os._exit(128 + number)


signal.signal(signal.SIGTERM, _halt_and_end)


@task(name="robot")
def ask(verb: str, args: dict) -> Any:  # type: ignore[type-arg]
    """One question of the driver; every one is answered within moments."""
    try:
        return {"answer": getattr(robot, verb)(**args)}
    except Refusal as refusal:
        return {"refusal": refusal.kind, "text": str(refusal)}

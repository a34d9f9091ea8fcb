"""The virtual robot's HTTP server: answers as a robot server 8.x does, for the calls that labd's driver makes.

Two routes are its own, `GET /simulator/state` and `POST /simulator/faults`: a person or a test looks and breaks things.

Source: the answers of a real robot server 8.1 in its OT-2 simulation, driven over HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import BodyPartReader, web

from labd.ot2.robot import VIRTUAL_SERIAL, Document
from labd.ot2.virtual_robot import Faults, Protocol, Refusal, Run, VirtualRobot

VERSION_HEADER = "Opentrons-Version"
OLDEST, NEWEST = 2, 4
PAGE = 20
BODY_LIMIT_BYTES = 16 * 1024 * 1024
Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(robot: VirtualRobot) -> web.Application:
    """The server of one virtual robot."""
    app = web.Application(middlewares=[_wire_faults(robot), _answers], client_max_size=BODY_LIMIT_BYTES)
    server = VirtualRobotServer(robot)
    app.router.add_routes([
        web.get("/health", server.health),
        web.get("/robot/lights", server.lights),
        web.post("/robot/lights", server.set_lights),
        web.post("/robot/home", server.home),
        web.get("/robot/door/status", server.door),
        web.post("/protocols", server.upload),
        web.get("/protocols/{id}/analyses", server.analyses),
        web.get("/protocols/{id}/analyses/{analysis}", server.analysis),
        web.post("/runs", server.create_run),
        web.get("/runs", server.runs),
        web.get("/runs/{id}", server.run),
        web.post("/runs/{id}/actions", server.act),
        web.get("/runs/{id}/commands", server.commands),
        web.get("/runs/{id}/commands/{command}", server.command),
        web.get("/maintenance_runs/current_run", server.maintenance),
        web.get("/simulator/state", server.state),
        web.post("/simulator/faults", server.set_faults),
    ])  # fmt: skip

    async def close(_: web.Application) -> None:
        await robot.close()

    app.on_cleanup.append(close)
    return app


def _wire_faults(robot: VirtualRobot) -> Any:
    """Connections that break before the robot did anything, or after it did and before it answered."""

    @web.middleware
    async def broken(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/simulator/"):
            return await handler(request)
        if robot.faults.starting:
            return _refused(503, "ServerInitializing", "the robot server is starting")
        if robot.faults.drop_before > 0:
            robot.faults.drop_before -= 1
            return _cut(request)
        answer = await handler(request)
        if robot.faults.drop_after > 0:
            robot.faults.drop_after -= 1
            return _cut(request)
        return answer

    return broken


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere


@web.middleware
async def _answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The version header, and refusals in the robot's own form."""
    if not request.path.startswith("/simulator/"):
        version = request.headers.get(VERSION_HEADER)
        if version is None:
            text = "header.opentrons-version: field required"
            return web.json_response({"message": text, "errorCode": "4000"}, status=422)
        if version != "*" and (not version.isdigit() or int(version) < OLDEST):
            return _refused(400, "OutdatedAPIVersion", f"version {version} is older than {OLDEST}")
    try:
        answer = await handler(request)
    except Refusal as fault:
        return _refused(fault.status, fault.title, fault.detail)
    except (msgspec.ValidationError, json.JSONDecodeError, KeyError) as fault:
        return _refused(422, "InvalidRequest", str(fault))
    answer.headers[VERSION_HEADER] = str(NEWEST)
    return answer


def _refused(status: int, title: str, detail: str) -> web.Response:
    error = {"id": title, "title": title, "detail": detail, "errorCode": "4000"}
    return web.json_response({"errors": [error]}, status=status)


def _told(data: Any, status: int = 200, **more: Any) -> web.Response:
    return web.json_response({"data": data, **more}, status=status)


class VirtualRobotServer:
    """The handlers."""

    def __init__(self, robot: VirtualRobot) -> None:
        self._robot = robot

    async def health(self, _: web.Request) -> web.Response:
        """Bare, like the real one."""
        return web.json_response({
            "name": self._robot.name, "robot_model": "OT-2 Standard", "api_version": "8.1.0-simulated",
            "fw_version": "v1.1.0-25e5cea", "board_revision": "2.1", "system_version": "simulated",
            "robot_serial": VIRTUAL_SERIAL, "minimum_protocol_api_version": [2, 0],
            "maximum_protocol_api_version": [2, 28],
        })  # fmt: skip

    async def lights(self, _: web.Request) -> web.Response:
        """Bare."""
        return web.json_response({"on": self._robot.lights_on})

    async def set_lights(self, request: web.Request) -> web.Response:
        """Bare."""
        self._robot.set_lights(bool((await request.json())["on"]))
        return web.json_response({"on": self._robot.lights_on})

    async def home(self, request: web.Request) -> web.Response:
        """Answers when homed; accepted also in mid-run."""
        target = (await request.json())["target"]
        await self._robot.home()
        return web.json_response({"message": f"Homing {target}."})

    async def door(self, _: web.Request) -> web.Response:
        """Open or closed."""
        status = "open" if self._robot.faults.door_open else "closed"
        return _told({"status": status, "doorRequiredClosedForProtocol": True})

    async def upload(self, request: web.Request) -> web.Response:
        """Multipart: `files` repeated, the protocol first."""
        documents: list[Document] = []
        parameters: Json = {}
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            text = await part.text()
            if part.name == "files":
                documents.append(Document(part.filename or "protocol.py", text))
            elif part.name == "runTimeParameterValues":
                parameters = json.loads(text)
        if not documents:
            raise Refusal(422, "InvalidRequest", "body.files: field required")
        protocol, new = await self._robot.upload(documents, parameters)
        files = [
            {"name": one.name, "role": "labware" if number else "main"} for number, one in enumerate(protocol.documents)
        ]
        summary = {"id": protocol.analysis_id, "status": "completed" if protocol.analysis else "pending"}
        data = {"id": protocol.protocol_id, "files": files, "protocolType": "python", "robotType": "OT-2 Standard",
                "metadata": {}, "analyses": [], "analysisSummaries": [summary]}  # fmt: skip
        return _told(data, 201 if new else 200)

    async def analyses(self, request: web.Request) -> web.Response:
        """All analyses of a protocol."""
        return _told([_analysis(self._protocol(request))])

    async def analysis(self, request: web.Request) -> web.Response:
        """One analysis."""
        return _told(_analysis(self._protocol(request)))

    def _protocol(self, request: web.Request) -> Protocol:
        found = self._robot.protocols.get(request.match_info["id"])
        if found is None:
            raise Refusal(404, "ProtocolNotFound", f"protocol {request.match_info['id']} was not found")
        return found

    async def create_run(self, request: web.Request) -> web.Response:
        """A run becomes the current one."""
        wanted = (await request.json()).get("data") or {}
        return _told(self._run(self._robot.create_run(wanted.get("protocolId"))), 201)

    async def runs(self, _: web.Request) -> web.Response:
        """All runs; a link names the current one."""
        current = self._robot.current
        links = {"current": {"href": f"/runs/{current}"}} if current else {}
        found = [self._run(run) for run in self._robot.runs.values()]
        return _told(found, links=links, meta={"cursor": 0, "totalLength": len(found)})

    async def run(self, request: web.Request) -> web.Response:
        """One run."""
        return _told(self._run(self._robot.run(request.match_info["id"])))

    def _run(self, run: Run) -> Json:
        data: Json = {
            "id": run.run_id, "createdAt": run.created_at, "status": run.status, "ok": not run.errors,
            "current": self._robot.current == run.run_id, "actions": run.actions, "errors": run.errors,
            "hasEverEnteredErrorRecovery": False, "pipettes": [], "labware": [], "modules": [], "liquids": [],
        }  # fmt: skip
        extra = {"protocolId": run.protocol_id, "startedAt": run.started_at, "completedAt": run.completed_at}
        return data | {key: value for key, value in extra.items() if value is not None}

    async def act(self, request: web.Request) -> web.Response:
        """Play, pause, stop, resume-from-recovery."""
        action = (await request.json())["data"]["actionType"]
        return _told(await self._robot.act(request.match_info["id"], action), 201)

    async def commands(self, request: web.Request) -> web.Response:
        """A page of commands without results; near the newest one unless a cursor is given."""
        commands = self._robot.run(request.match_info["id"]).commands
        length = int(request.query.get("pageLength", PAGE))
        first = int(request.query.get("cursor", max(0, len(commands) - length)))
        meta = {"cursor": first, "totalLength": len(commands)}
        return _told(commands[first : first + length], meta=meta, links={})

    async def command(self, request: web.Request) -> web.Response:
        """One command, with its result once it has succeeded."""
        wanted = request.match_info["command"]
        run = self._robot.run(request.match_info["id"])
        for command in run.commands:
            if command["id"] == wanted:
                done = command["status"] == "succeeded"
                return _told({**command, "result": run.results.get(wanted, {})} if done else command)
        raise Refusal(404, "CommandNotFound", f"command {wanted} was not found")

    async def maintenance(self, _: web.Request) -> web.Response:
        """The maintenance run, if somebody has one."""
        if self._robot.maintenance is None:
            raise Refusal(404, "NoCurrentRunFound", "No maintenance run is currently in progress.")
        return _told({"id": self._robot.maintenance, "status": "idle", "current": True})

    async def state(self, _: web.Request) -> web.Response:
        """For people and tests: everything at once."""
        robot = self._robot
        return _told({
            "faults": {name: getattr(robot.faults, name) for name in Faults.__slots__}, "current": robot.current,
            "lights_on": robot.lights_on, "homes": robot.homes, "maintenance": robot.maintenance,
            "runs": {run.run_id: {**self._run(run), "commands": run.commands} for run in robot.runs.values()},
        })  # fmt: skip

    async def set_faults(self, request: web.Request) -> web.Response:
        """Faults that are not named go away; `foreign_run` and `maintenance_run` are made on the spot."""
        wanted = await request.json()
        if wanted.pop("foreign_run", None):
            self._robot.take_over()
        if (maintenance := wanted.pop("maintenance_run", None)) is not None:
            self._robot.maintenance = "maintenance" if maintenance else None
        await self._robot.change_faults(msgspec.convert(wanted, Faults))
        return await self.state(request)


def _analysis(protocol: Protocol) -> Json:
    found = protocol.analysis
    if found is None:
        return {"id": protocol.analysis_id, "status": "pending"}
    errors = [{"errorType": "ProtocolFault", "detail": str(one.get("message", one))} for one in found["errors"]]
    return {
        "id": protocol.analysis_id, "status": "completed", "result": "ok" if found["ok"] else "not-ok",
        "errors": errors, "commands": found.get("commands", []), "labware": [], "pipettes": [],
    }  # fmt: skip

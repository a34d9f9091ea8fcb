"""A robot through the HTTP API of its own server (port 31950, plain HTTP, no authentication).

Not for anything else than translation: no retries, no state, no knowledge of whose run it is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

from labd.clock import Clock
from labd.errors import DeviceBusy, DeviceCorrupt, DeviceFault, DeviceLost, DeviceTimeout, LabdError, ProtocolRefused
from labd.ot2.robot import Action, Document, RobotHealth, RobotStarting, RunStatus, RunView, Step, Steps, Upload

VERSION_HEADER = "Opentrons-Version"
ANALYSIS_POLL_S = 0.5
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
Json = dict[str, Any]


class HttpRobot:
    """One robot server; satisfies `labd.ot2.robot.Robot`.

    Args:
        name: Of the robot in labd, for messages.
        url: Such as `http://169.254.12.34:31950`.
        api_version: The `Opentrons-Version` header; a server clamps a larger one to its own.
        socket_path: A Unix socket instead of a TCP port: the virtual robot inside the daemon.
    """

    def __init__(
        self,
        name: str,
        url: str,
        clock: Clock,
        *,
        api_version: str = "4",
        answer_timeout_s: float = 10.0,
        home_timeout_s: float = 120.0,
        analysis_timeout_s: float = 180.0,
        socket_path: str | None = None,
    ) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._clock = clock
        self._headers = {VERSION_HEADER: api_version}
        self._answer_timeout_s = answer_timeout_s
        self._home_timeout_s = home_timeout_s
        self._analysis_timeout_s = analysis_timeout_s
        self._socket_path = socket_path
        self._make_session = aiohttp.ClientSession  # looked up here: to import the client takes a while, see `lean`
        self._session: aiohttp.ClientSession | None = None

    # Robot

    async def health(self) -> RobotHealth:
        """Who it is."""
        answer = await self._get("/health")
        low, high = answer.get("minimum_protocol_api_version"), answer.get("maximum_protocol_api_version")
        return RobotHealth(
            name=str(answer.get("name")),
            model=str(answer.get("robot_model")),
            serial=answer.get("robot_serial"),
            software=str(answer.get("api_version")),
            firmware=str(answer.get("fw_version")),
            api_level_low=_level(low),
            api_level_high=_level(high),
        )

    async def upload(self, documents: Sequence[Document], parameters: Mapping[str, Any]) -> Upload:
        """Upload, then wait for the analysis of the robot."""
        form = aiohttp.FormData()
        for document in documents:
            form.add_field("files", document.text.encode(), filename=document.name, content_type="text/plain")
        if parameters:
            form.add_field("runTimeParameterValues", json.dumps(dict(parameters)))
        try:
            answer = await self._ask("POST", "/protocols", data=form, timeout_s=self._analysis_timeout_s)
        except DeviceFault as fault:
            if fault.details.get("status") == 422:
                text = f"ot2 {self._name}: the robot cannot read {documents[0].name}: {fault.details.get('detail')}"
                raise ProtocolRefused(text, file=documents[0].name) from fault
            raise
        protocol_id = str(_data(answer, self._name)["id"])
        return await self._analysed(protocol_id)

    async def _analysed(self, protocol_id: str) -> Upload:
        deadline = self._clock.monotonic() + self._analysis_timeout_s
        while True:
            found = _listed(await self._get(f"/protocols/{protocol_id}/analyses"), self._name)
            newest = found[-1] if found else {}
            if newest.get("status") == "completed":
                full = newest
                if "commands" not in full:
                    full = _data(await self._get(f"/protocols/{protocol_id}/analyses/{newest['id']}"), self._name)
                errors = tuple(str(error.get("detail", error)) for error in full.get("errors", []))
                return Upload(protocol_id, full.get("result") == "ok", errors, len(full.get("commands", [])))
            if self._clock.monotonic() > deadline:
                text = (
                    f"ot2 {self._name}: the robot has not analysed the protocol within {self._analysis_timeout_s:g} s"
                )
                raise DeviceTimeout(text, protocol_id=protocol_id)
            await self._clock.sleep(ANALYSIS_POLL_S)

    async def create_run(self, protocol_id: str, parameters: Mapping[str, Any]) -> RunView:
        """A run that does not move yet."""
        body: Json = {"protocolId": protocol_id}
        if parameters:
            body["runTimeParameterValues"] = dict(parameters)
        return self._view(_data(await self._ask("POST", "/runs", {"data": body}), self._name))

    async def run(self, run_id: str) -> RunView | None:
        """One run."""
        try:
            return self._view(_data(await self._get(f"/runs/{run_id}"), self._name))
        except DeviceFault as fault:
            if fault.details.get("status") == 404:
                return None
            raise

    async def current_run(self) -> RunView | None:
        """The run that has the robot: a link of the list names it."""
        answer = await self._get("/runs?pageLength=1")
        link = (answer.get("links") or {}).get("current") or {}
        href = link.get("href") if isinstance(link, dict) else link
        return await self.run(str(href).rpartition("/")[2]) if href else None

    async def maintenance_run(self) -> str | None:
        """Id of a maintenance run; older servers have no such thing."""
        try:
            return str(_data(await self._get("/maintenance_runs/current_run"), self._name)["id"])
        except DeviceFault as fault:
            if fault.details.get("status") == 404:
                return None
            raise

    async def act(self, run_id: str, action: Action) -> None:
        """Play, pause, stop or resume a run."""
        await self._ask("POST", f"/runs/{run_id}/actions", {"data": {"actionType": action}})

    async def steps(self, run_id: str, first: int, count: int) -> Steps:
        """Commands of a run."""
        answer = await self._get(f"/runs/{run_id}/commands?cursor={first}&pageLength={count}")
        meta = answer.get("meta") or {}
        entries = tuple(_step(one) for one in _listed(answer, self._name))
        return Steps(int(meta.get("cursor", first)), int(meta.get("totalLength", len(entries))), entries)

    async def step(self, run_id: str, command_id: str) -> Step:
        """One command with its result, which a page of commands leaves out."""
        return _step(_data(await self._get(f"/runs/{run_id}/commands/{command_id}"), self._name))

    async def door_open(self) -> bool:
        """Whether the door stands open."""
        return _data(await self._get("/robot/door/status"), self._name).get("status") == "open"

    async def lights(self, on: bool | None = None) -> bool:
        """Whether the lights are on."""
        if on is None:
            return bool((await self._get("/robot/lights")).get("on"))
        return bool((await self._ask("POST", "/robot/lights", {"on": on})).get("on"))

    async def home(self) -> None:
        """All axes home."""
        await self._ask("POST", "/robot/home", {"target": "robot"}, timeout_s=self._home_timeout_s)

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # the wire

    async def _get(self, path: str) -> Json:
        return await self._ask("GET", path)

    async def _ask(
        self, method: str, path: str, body: Json | None = None, *, data: Any = None, timeout_s: float | None = None
    ) -> Json:
        """One request, one answer, sent once.

        Why no kept connections: a robot that was switched off leaves dead ones behind, and aiohttp would send a GET
        again on a new one; here every loss shows.
        """
        if self._session is None:
            connector: aiohttp.BaseConnector
            if self._socket_path is None:
                connector = aiohttp.TCPConnector(force_close=True)
            else:
                connector = aiohttp.UnixConnector(path=self._socket_path, force_close=True)
            self._session = self._make_session(connector=connector, headers=self._headers)
        limit_s = timeout_s or self._answer_timeout_s
        where = f"ot2 {self._name} ({self._url}): {method} {path.partition('?')[0]}"
        try:
            async with self._session.request(
                method, self._url + path, json=body, data=data, timeout=aiohttp.ClientTimeout(total=limit_s)
            ) as answer:
                raw = await answer.content.read(ANSWER_LIMIT_BYTES)
                return _checked(where, answer.status, raw)
        except TimeoutError:
            raise DeviceTimeout(f"{where}: no answer within {limit_s:g} s; is the robot on?", url=self._url) from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as fault:
            why = str(fault) or type(fault).__name__
            raise DeviceLost(f"{where}: {why}; check that the robot is on and in reach", url=self._url) from fault

    def _view(self, data: Json) -> RunView:
        try:
            return RunView(
                run_id=str(data["id"]),
                status=RunStatus(data["status"]),
                current=bool(data.get("current")),
                protocol_id=data.get("protocolId"),
                actions=tuple(str(one.get("actionType")) for one in data.get("actions", [])),
                errors=tuple(data.get("errors", [])),
                started_at=data.get("startedAt"),
                completed_at=data.get("completedAt"),
            )
        except (KeyError, ValueError) as fault:
            raise DeviceCorrupt(
                f"ot2 {self._name}: the robot tells of a run what labd does not know: {fault}"
            ) from fault


def _step(one: Json) -> Step:
    kind, status = str(one.get("commandType")), str(one.get("status"))
    return Step(str(one.get("id")), kind, status, one.get("params") or {}, one.get("result"))


def _checked(where: str, status: int, raw: bytes) -> Json:
    """The body of a good answer.

    Raises:
        RobotStarting: 503.
        DeviceBusy: 409; the robot's own reason is in the message.
        DeviceFault: Any other refusal; `details["status"]` is that of HTTP.
        DeviceCorrupt: No JSON object.
    """
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        body = None
    if status < 400 and isinstance(body, dict):
        return body
    if status < 400:
        raise DeviceCorrupt(f"{where}: {status} with {raw[:80]!r}, which is no JSON object")
    title, detail = _reason(body)
    fault: type[LabdError] = {503: RobotStarting, 409: DeviceBusy}.get(status, DeviceFault)
    raise fault(f"{where}: the robot answers {status} {title}: {detail}", status=status, title=title, detail=detail)


def _reason(body: Any) -> tuple[str, str]:
    """Title and text of a refusal; some old routes know only a message."""
    if not isinstance(body, dict):
        return "", "no reason given"
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return str(first.get("id", "")), str(first.get("detail") or first.get("title") or body.get("message") or "")


def _data(answer: Json, name: str) -> Json:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise DeviceCorrupt(f"ot2 {name}: the robot's answer has no data object, only {', '.join(answer) or 'nothing'}")
    return data


def _listed(answer: Json, name: str) -> list[Json]:
    data = answer.get("data")
    if not isinstance(data, list):
        raise DeviceCorrupt(f"ot2 {name}: the robot's answer has no data list, only {', '.join(answer) or 'nothing'}")
    return data


def _level(version: Any) -> str:
    return ".".join(map(str, version)) if isinstance(version, list) else "?"

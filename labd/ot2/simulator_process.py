"""The virtual robot served on a TCP port or a Unix socket: inside the daemon, in tests, or as a process of its own."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from labd.ot2.simulator import application
from labd.ot2.virtual_robot import VirtualRobot

SHUTDOWN_S = 2.0


class RobotServer:
    """A virtual robot behind a door.

    Args:
        port: On loopback; 0 takes a free one. Not used with `socket_path`.
        socket_path: A Unix socket instead.
    """

    def __init__(
        self, robot: VirtualRobot, *, port: int = 0, socket_path: Path | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.robot = robot
        self._host, self._port = host, port
        self._socket_path = socket_path
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Open the door; returns the URL.

        Raises:
            OSError: The port is taken, or the path too long.
        """
        self._runner = web.AppRunner(application(self.robot), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
            await web.UnixSite(self._runner, str(self._socket_path)).start()
            self._socket_path.chmod(0o600)
            return "http://localhost"
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return f"http://{self._host}:{self._port}"

    async def stop(self) -> None:
        """Close the door and end the robot; a second call does nothing. `start` opens the same door again."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)


async def serve(robot: VirtualRobot, port: int, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = RobotServer(robot, port=port)
    url = await server.start()
    say(f"virtual robot ready at {url}")
    await ended.wait()
    await server.stop()

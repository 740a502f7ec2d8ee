"""A generation as its probes see it: connections from inside its own sandbox, commands, and what it has written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tfnode.containers.life import Generation
from tfnode.containers.output import Output

Command = str | tuple[str, ...]
Execute = Callable[[Generation, Command], Awaitable[tuple[int, str]]]
"""Runs a command in a generation; (exit code, the end of its output)."""


class Patient:
    """See `readiness.Patient`.

    Args:
        generation: the one that is asked, at every question anew.
        saw: told what was last seen, for whoever waits.
    """

    def __init__(
        self,
        address: str,
        output: Output,
        execute: Execute,
        generation: Callable[[], Generation],
        saw: Callable[[str], None],
    ) -> None:
        self.address = address
        self._output = output
        self._execute = execute
        self._generation = generation
        self.saw = saw

    async def connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `readiness.Patient`."""
        socket = self._generation().sandbox.tcp_socket()
        try:
            await asyncio.get_running_loop().sock_connect(socket, (self.address, port))
        except BaseException:
            socket.close()
            raise
        return await asyncio.open_connection(sock=socket)

    async def run_quietly(self, command: Command) -> tuple[int, str]:
        """See `readiness.Patient`."""
        return await self._execute(self._generation(), command)

    def output_of_this_boot(self) -> str:
        """See `readiness.Patient`."""
        return self._output.text_of(self._generation().number)

"""One client's connection: who it is, what it asks for, and who answers. Runs in the ssh server's own loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import asyncssh

from tfcore.errors import TfError
from tfcore.wire.files import OpenFile
from tfnz.ssh.admission import Admission
from tfnz.ssh.bridge import Bridge
from tfnz.ssh.forwarding import Forwarding
from tfnz.ssh.logins import Login, login
from tfnz.ssh.sessions import CONNECTION_TROUBLE, serve
from tfnz.ssh.sftp import ContainerFiles

log = logging.getLogger(__name__)

MOST_TEXT = 1 << 20
"""Bytes of /etc/passwd that are read."""


@dataclass(frozen=True)
class Visitor:
    """Who has logged in: a user of the container, and where he begins."""

    login: Login
    workdir: str


class Client(asyncssh.SSHServer):
    """What asyncssh asks about one connection."""

    def __init__(self, bridge: Bridge, admission: Admission, default_user: str, clients: set[Client]) -> None:
        """
        Args:
            default_user: of the container's main process.
            clients: the connections that are open, this one too as long as it is.
        """
        self._bridge = bridge
        self._admission = admission
        self._default_user = default_user
        self._clients = clients
        self._visitor: asyncio.Future[Visitor] | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """A client has connected and has not shown who it is."""
        self._connection = conn
        self._forwarding = Forwarding(self._bridge, conn)
        self._clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone; everything of it ends."""
        self._forwarding.close()
        self._clients.discard(self)
        log.debug("an ssh client of %s has gone: %s", self._bridge.container.uuid, exc)

    def abort(self) -> None:
        """Cut it off."""
        self._forwarding.close()
        self._connection.abort()

    async def gone(self) -> None:
        """Wait until it has."""
        await self._connection.wait_closed()

    # who it is

    def begin_auth(self, username: str) -> bool:
        """Everybody must show something."""
        return True

    def public_key_auth_supported(self) -> bool:
        """Keys always do."""
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """A key is shown, and proved to be held afterwards."""
        return self._admission.key_admits(key)

    def password_auth_supported(self) -> bool:
        """The password, if there is one."""
        return bool(self._admission.password)

    def validate_password(self, username: str, password: str) -> bool:
        """A password is said."""
        return self._admission.password_admits(password)

    def auth_completed(self) -> None:
        """It may come in; whom it means by its name is looked up meanwhile."""
        name = str(self._connection.get_extra_info("username"))
        self._visitor = asyncio.ensure_future(self._look_up(name))
        self._visitor.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _look_up(self, name: str) -> Visitor:
        passwd, group = await self._text(b"/etc/passwd"), await self._text(b"/etc/group")
        found = login(name, passwd=passwd, group=group, default=self._default_user)
        return Visitor(found, await self._existing(found.home))

    async def _text(self, path: bytes) -> str:
        async def read() -> bytes:
            file = await self._bridge.filing.open(OpenFile(path=path))
            try:
                return await file.read(0, MOST_TEXT)
            finally:
                await file.close()

        try:
            return (await self._bridge.ask(read())).decode("utf-8", "replace")
        except TfError:  # there is none, or it is none
            return ""

    async def _existing(self, home: str) -> str:
        """Where a session begins: `/` if there is no such directory."""
        try:
            seen = await self._bridge.ask(self._bridge.filing.look(home.encode()))
        except TfError:
            return "/"
        return home if seen.status.kind == "directory" else "/"

    async def visitor(self) -> Visitor:
        """Who has logged in."""
        assert self._visitor is not None
        return await asyncio.shield(self._visitor)

    # what it asks for

    async def process(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """A command or a shell. (Of subsystems there is only sftp.)"""
        if process.subsystem is not None:
            process.exit(CONNECTION_TROUBLE)
            return
        visitor = await self.visitor()
        await serve(self._bridge, visitor.login, visitor.workdir, process)

    async def files(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        """sftp, or scp."""
        visitor = await self.visitor()
        return ContainerFiles(channel, self._bridge, visitor.login, visitor.workdir)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Coroutine[Any, Any, asyncssh.SSHTCPSession[bytes]]:
        """`-L`, `-D`, `-W`."""
        return self._forwarding.connect(dest_host, dest_port)

    def server_requested(self, listen_host: str, listen_port: int) -> Coroutine[Any, Any, asyncssh.SSHListener | bool]:
        """`-R`."""
        return self._forwarding.listen(listen_host, listen_port)

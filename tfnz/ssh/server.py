"""The ssh server of one container: a socket on this machine's loopback, and a thread for the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import asyncssh

from tfcore.errors import WrongState
from tfcore.images.description import parse_config
from tfnz import arguments
from tfnz.forks import close_in_children
from tfnz.portal import Portal
from tfnz.ssh.admission import Admission, admission
from tfnz.ssh.bridge import Bridge
from tfnz.ssh.hostkey import host_key, path_of
from tfnz.ssh.serving import Client

if TYPE_CHECKING:
    from tfnz.container import Container

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
BACKLOG = 128

KEEPALIVE = 15.0
"""Seconds of silence after which a client is asked whether it is there; the third time in vain it is gone."""

LOGIN = 30.0
"""Seconds a client has to show who it is."""

CLOSE_TIMEOUT = 3.0
"""Seconds clients have to take note of the end."""


class SshServer:
    """Made by `Container.create_ssh_server`; ends with `destroy_ssh_server`, its container or its session.

    Attributes:
        container: which it leads into.
        address: 127.0.0.1, always.
        port: where it listens.
        password: one that was made for it; empty if only keys admit.
        host_key: its public key, as a line for `known_hosts` has it after the host's name.
    """

    def __init__(
        self,
        container: Container,
        port: int,
        *,
        authorized_keys: Iterable[str | os.PathLike[str]] | None,
        password: bool | None,
    ) -> None:
        """See `Container.create_ssh_server`."""
        _quieten()
        self.container = container
        self.address = ADDRESS
        admitted = admission(authorized_keys, password)
        self.password = admitted.password
        key = host_key(path_of(container.location.name))
        self.host_key = key.export_public_key("openssh").decode().strip()
        listener = _listen(port)
        self.port: int = listener.getsockname()[1]
        self._clients: set[Client] = set()
        self._portal = Portal(f"ssh {container.uuid}")
        try:
            self._acceptor = self._portal.call(self._serve(listener, key, admitted))
        except BaseException:
            listener.close()
            self._portal.close()
            raise
        log.info("ssh into %s: %s", container.uuid, self.command)

    @property
    def command(self) -> str:
        """What to say to get a shell: `ssh -p 2222 root@127.0.0.1`."""
        return f"ssh -p {self.port} root@127.0.0.1"

    async def _serve(self, listener: socket.socket, key: asyncssh.SSHKey, admitted: Admission) -> asyncssh.SSHAcceptor:
        bridge = Bridge(self.container)
        user = self.container._spawn.wish.user or parse_config(self.container._config).user
        return await asyncssh.listen(
            sock=listener,
            config=None,
            server_factory=lambda: Client(bridge, admitted, user, self._clients),
            server_host_keys=[key],
            process_factory=_process,
            sftp_factory=_files,
            allow_scp=True,
            encoding=None,
            line_editor=False,
            gss_host=None,
            host_based_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            login_timeout=LOGIN,
            keepalive_interval=KEEPALIVE,
        )

    def close(self) -> None:
        """Stop listening, cut all clients off, and end the thread; twice is harmless."""
        with contextlib.suppress(WrongState):  # it was closed before
            self._portal.call(self._end())
        self._portal.close()

    async def _end(self) -> None:
        self._acceptor.close()
        clients = list(self._clients)
        for client in clients:
            client.abort()
        leaving = [asyncio.ensure_future(client.gone()) for client in clients]
        if leaving:
            await asyncio.wait(leaving, timeout=CLOSE_TIMEOUT)
        await self._acceptor.wait_closed()

    def __repr__(self) -> str:
        return f"<SshServer {self.address}:{self.port} -> {self.container.uuid}>"


async def _process(process: asyncssh.SSHServerProcess[bytes]) -> None:
    await _client(process.channel).process(process)


async def _files(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
    return await _client(channel).files(channel)


def _client(channel: asyncssh.SSHServerChannel[bytes]) -> Client:
    return cast(Client, channel.get_connection().get_owner())


def _listen(port: int) -> socket.socket:
    listener = close_in_children(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
    try:
        if port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, arguments.port(port) if port else 0))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        hint = "another port, or 0 for a free one"
        raise WrongState(f"an ssh server cannot listen on {ADDRESS}:{port}: {error.strerror}", hint=hint) from error
    except ValueError:
        listener.close()
        raise
    return listener


def _quieten() -> None:
    """asyncssh logs commands and names as information; who wants that says so to its logger."""
    logger = logging.getLogger("asyncssh")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def tell_password(server: SshServer) -> None:
    """Say a generated password once, to the person at the terminal; never to a log."""
    if server.password and sys.stderr.isatty():
        sys.stderr.write(f"password for {server.command}: {server.password}\n")

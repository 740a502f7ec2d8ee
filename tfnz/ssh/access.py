"""ssh into a container: mixed into `Container`, which has the rest. asyncssh is loaded when the first server is made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tfcore.errors import WrongState

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.ssh.server import SshServer


class Ssh:
    """The servers of one container."""

    _ssh_servers: list[SshServer]

    def create_ssh_server(  # type: ignore[misc]
        self: Container,
        port: int = 2222,
        *,
        authorized_keys: Iterable[str | os.PathLike[str]] | None = None,
        password: bool | None = None,
    ) -> SshServer:
        """Let ssh, sftp, scp and rsync into the container, which needs no software of its own for it (rsync needs rsync, as
        everywhere). It listens on this machine's loopback only.

        Commands and shells with a terminal, signals and exit status; files by sftp; `-L`, `-D` and `-W` connect from inside
        the container, its own localhost included; `-R` listens in it. `ssh -p 2222 NAME@127.0.0.1`: one of the container's
        users, or any other name for the one its image runs as.

        Args:
            port: the local port; 0 for a free one.
            authorized_keys: who may log in: public keys as text, or paths of files of such. None: the user's own
                `~/.ssh/*.pub`.
            password: whether a new password, `SshServer.password`, does as well. None: only if there is no key; it is then
                said once on a terminal's standard error.

        Raises:
            WrongState: the port is taken. BadRequest: something is no public key, or nobody could log in. Refused: others
                can read the host key that is kept with the account.
        """
        self._check()
        from tfnz.ssh.server import SshServer, tell_password

        server = SshServer(self, port, authorized_keys=authorized_keys, password=password)
        self._ssh_servers.append(server)
        if password is None:
            tell_password(server)
        return server

    def destroy_ssh_server(self, server: SshServer) -> None:
        """Stop listening and cut its clients off; what they had running ends.

        Raises:
            WrongState: it is not one of this container's, or destroyed already.
        """
        if server not in self._ssh_servers:
            raise WrongState(f"{server!r} is not (any more) an ssh server of this container")
        self._ssh_servers.remove(server)
        server.close()

    def all_ssh_servers(self) -> list[SshServer]:
        """The servers that are open."""
        return list(self._ssh_servers)

    def _close_ssh_servers(self) -> None:
        for server in self.all_ssh_servers():
            self.destroy_ssh_server(server)

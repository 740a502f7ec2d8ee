"""A PostgreSQL server whose data lies on a volume (B34). A thin layer over `Container`; knows nothing of the wire."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tfcore.errors import BadRequest, CommandFailed
from tfnz import ready
from tfnz.container import BOOT_TIMEOUT
from tfnz.volume import Volume

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.node import Node

PORT = 5432
DATA = "/var/lib/postgresql/data"
IMAGE = "postgres"
"""The official image, or one that takes the same variables."""

# Not by the Unix socket: while the cluster is made a server listens there that is about to go again.
READY = ready.exec(f"pg_isready -q -h 127.0.0.1 -p {PORT} -U postgres")
PSQL = "psql -q -X -A -t -v ON_ERROR_STOP=1 -U postgres -d postgres"


class Password(str):
    """A password that is both `.password` and `.password()`, and does not show itself in a traceback."""

    __slots__ = ()

    def __call__(self) -> str:
        """The password."""
        return str(self)

    def __repr__(self) -> str:
        return "'***'"


class Postgresql:
    """A server on port 5432, whose superuser is `postgres`; what is not said here is as with its container.

    A volume of the session goes back with its rollbacks, a persistent one does not.

    Args:
        node: where to spawn it: the volume's node.
        volume: holds the data; a cluster is made on one that is empty.
        password: of `postgres`; one is made up if it is None.
        log_callback: called with (container, bytes) as the server writes to its log.
        image: another than `postgres`.

    Attributes:
        ctr: the container.
        password: the superuser's; also to be called.

    Raises:
        BadRequest: no volume, or a password that is no text; and as `Node.spawn_container`.
    """

    def __init__(
        self,
        node: Node,
        volume: Volume,
        *,
        password: str | None = None,
        log_callback: Callable[[Container, bytes], object] | None = None,
        image: str | None = None,
    ) -> None:
        if not isinstance(volume, Volume):
            raise BadRequest(f"{volume!r} is not a Volume")
        if password is not None and (not isinstance(password, str) or not password):
            raise BadRequest("the password is some text, or None to have one made up")
        self.password = Password(password or secrets.token_urlsafe(16))
        self._settled = False
        self._settling = threading.Lock()
        self.ctr = node.spawn_container(
            image or IMAGE,
            env={"POSTGRES_PASSWORD": str(self.password)},
            volumes=[(volume, DATA)],
            ready=READY,
            stdout_callback=log_callback,
        )

    def wait_until_ready(self, timeout: float = BOOT_TIMEOUT) -> Postgresql:
        """Block until it answers queries and the password holds, also on a volume that was made with another one.

        Raises:
            As `Container.wait_until_ready`. CommandFailed: the server refuses the password.
        """
        self.ctr.wait_until_ready(timeout)
        with self._settling:
            if not self._settled:
                self._query(f"ALTER ROLE postgres PASSWORD {_literal(self.password)}")
                self._settled = True
        return self

    wait_truly_up = wait_until_ready
    """Gen 2's name for it."""

    def ensure_database(self, name: str) -> bool:
        """Have a database of this name, in UTF-8; returns True if it had to be created.

        Raises:
            BadRequest: that is no name. CommandFailed: the server refuses it.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise BadRequest(f"{name!r} cannot be the name of a database")
        self.wait_until_ready()
        if self._query(f"SELECT 1 FROM pg_database WHERE datname = {_literal(name)}"):
            return False
        self._query(f"CREATE DATABASE {_identifier(name)} WITH OWNER postgres ENCODING 'utf8' TEMPLATE template0")
        return True

    def _query(self, statement: str) -> bytes:
        """By the socket inside, where nobody is asked for a password; from stdin, so that no process list shows one."""
        done = self.ctr.run_process(PSQL, nolog=True, stdin=statement + ";\n")
        if done.exit_code:
            said = done.stderr.decode(errors="replace").replace(self.password, "***").strip()
            raise CommandFailed(f"PostgreSQL in {self.ctr.uuid} refuses: {said}")
        return done.stdout.strip()

    def __getattr__(self, name: str) -> Any:
        if name == "ctr":  # it could not be spawned
            raise AttributeError(name)
        return getattr(self.ctr, name)

    def __repr__(self) -> str:
        return f"<Postgresql {self.ctr.uuid} {self.ctr.ip}>"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""The real OpenSSH clients, and rsync, as a user calls them: with a key and known hosts of their own and no configuration.

None waits for ever.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.daemons import until
from tests.support.tcp_clients import outcome
from tfnz.ssh.server import SshServer

SECONDS = 60.0
"""What a command may take on a loaded machine."""


class OpenSsh:
    """A user with a key.

    Args:
        home: a directory for the known hosts, beside the key (`make_key`).
        server: which all commands go to.
    """

    def __init__(self, home: Path, server: SshServer, *, user: str = "root") -> None:
        self.server = server
        self.user = user
        self.home = home
        self.key = home.parent / "key"
        known = home / f"known_hosts.{server.port}"
        known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
        self.options = [
            "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
            "-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=none",
            "-i", str(self.key),
        ]  # fmt: skip

    @property
    def where(self) -> str:
        """The destination."""
        return f"{self.user}@127.0.0.1"

    def argv(self, *words: str, options: Sequence[str] = ()) -> list[str]:
        """`ssh … where words`."""
        return ["ssh", *self.options, "-p", str(self.server.port), *options, self.where, *words]

    def ssh(
        self, *words: str, options: Sequence[str] = (), stdin: bytes = b"", seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command there, to its end."""
        return subprocess.run(
            self.argv(*words, options=options), input=stdin, capture_output=True, timeout=seconds, check=False
        )

    def sftp(self, batch: str) -> subprocess.CompletedProcess[str]:
        """Run sftp's own commands, one a line; it ends with the first that fails."""
        argv = ["sftp", *self.options, "-P", str(self.server.port), "-b", "-", self.where]
        return subprocess.run(argv, input=batch, capture_output=True, text=True, timeout=SECONDS, check=False)

    def scp(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Copy; a path there is written `:path`."""
        named = [f"{self.where}{word}" if word.startswith(":") else word for word in words]
        argv = ["scp", *self.options, "-P", str(self.server.port), *named]
        return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)

    def rsync(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Synchronise; a path there is written `:path`."""
        shell = " ".join(["ssh", *self.options, "-p", str(self.server.port)])
        named = [f"{self.where}{word}" if word.startswith(":") else word for word in words]
        return subprocess.run(
            ["rsync", "-e", shell, *named], capture_output=True, text=True, timeout=SECONDS, check=False
        )

    @contextlib.contextmanager
    def forwarding(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """`ssh -N` with `-L`s and `-R`s, for the length of a block."""
        argv = self.argv(options=["-N", "-o", "ExitOnForwardFailure=yes", *options])
        client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield client
        finally:
            client.terminate()
            client.communicate(timeout=SECONDS)


def make_key(directory: Path) -> Path:
    """A key pair without a passphrase, at `directory`/key; the public half's path."""
    made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "key")]
    subprocess.run(made, check=True, timeout=SECONDS)
    return directory / "key.pub"


def until_answered(port: int) -> None:
    """Wait until a client's forwarded port leads to the echo of `tests.support.line`."""
    until(lambda: outcome(port) == "echo", f"port {port} to be forwarded", seconds=SECONDS)

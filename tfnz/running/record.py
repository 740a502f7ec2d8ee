"""`tf run --json FILE`: what scripts need to know of a container, in a file that lives as long as it (C6)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfcore.errors import TfError
from tfnz.commands import exits

if TYPE_CHECKING:
    from tfnz.container import Container


class Record:
    """The file, which is ours from the beginning: of two commands with the same one the second is refused at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, container: Container) -> None:
        """Say what there is: whole, or what was there before.

        Raises:
            Stopped: it cannot be written.
        """
        described = {
            "uuid": container.uuid,
            "ip": container.private_ip(),
            "pid": os.getpid(),
            "tunnels": [
                {"bind": tunnel.bind, "localport": tunnel.localport, "port": tunnel.dest_port}
                for tunnel in container.all_tunnels()
            ],
        }
        aside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            aside.write_text(json.dumps(described, indent=2) + "\n")
            aside.replace(self._path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise _stopped(exits.RECORD, f"--json {self._path}: {error.strerror}") from error


@contextmanager
def recorded(name: str | None) -> Iterator[Record | None]:
    """Claim the file for the length of a block, and remove it at the end.

    Raises:
        Stopped: it exists already, which is somebody else's; or it cannot be made.
    """
    if name is None:
        yield None
        return
    path = Path(name)
    try:
        path.open("x").close()
    except FileExistsError as error:
        raise _stopped(
            exits.RECORD_BUSY, f"--json {path}: the file exists", "another tf may be using it; if not, remove it"
        ) from error
    except OSError as error:
        raise _stopped(exits.RECORD, f"--json {path}: {error.strerror}") from error
    try:
        yield Record(path)
    finally:
        path.unlink(missing_ok=True)


def _stopped(code: int, message: str, hint: str = "") -> exits.Stopped:
    return exits.Stopped(code, TfError(message, hint=hint))

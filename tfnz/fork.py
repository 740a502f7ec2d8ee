"""Forks of a container: others that go on from the state it is in. Knows no messages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfcore.errors import BadRequest, TfError
from tfcore.undo import Undo

if TYPE_CHECKING:
    from tfnz.container import Container

log = logging.getLogger(__name__)

LIFE = 900.0
"""Seconds after which the snapshot in between goes by itself, should we not be there to forget it."""


def fork(container: Container, n: int, *, timeout: float) -> list[Container]:
    """See `Container.fork`."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise BadRequest(f"{n!r} is no number of forks")
    kept = container.keep(seconds=LIFE, labels={"fork of": container.uuid})
    try:
        with Undo() as undo:
            forks = []
            for _ in range(n):  # they boot side by side
                forks.append(container.location.resume(kept))
                undo.push(remove, forks[-1])
            for made in forks:
                made.wait_until_ready(timeout)
            undo.done()
        return forks
    finally:
        try:
            kept.forget()
        except TfError as error:
            log.warning("the snapshot %s of a fork goes by itself in %g s: %s", kept.id, LIFE, error)


def remove(container: Container) -> None:
    """Destroy a container from a kept snapshot, and the volumes that were made for it."""
    volumes = [volume for volume in container.volumes.values() if not volume.persistent]
    container.destroy()
    for volume in volumes:
        volume.destroy()

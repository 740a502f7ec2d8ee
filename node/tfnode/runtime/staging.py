"""Directories of the node on their way into a container: bound to a place of our own first, with their flags on.

crun 1.8 forgets `nosuid` and `nodev` on what it binds into a container with a user namespace (tried: only read-only
binds get them). A mount that has them already keeps them wherever it is copied to, so we make such a mount, let the
container be made from it, and take ours away again. Knows nothing of volumes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfcore.errors import BadRequest
from tfcore.undo import Undo
from tfnode.kernel.mounts import Attribute, bind, unmount
from tfnode.runtime.interface import Access, Bind

ATTRIBUTES = {
    Access.READ_WRITE: Attribute.NOSUID | Attribute.NODEV,
    Access.READ_ONLY: Attribute.NOSUID | Attribute.NODEV | Attribute.RDONLY,
}


@contextlib.contextmanager
def staged(binds: tuple[Bind, ...], directory: Path) -> Iterator[tuple[Bind, ...]]:
    """The same binds with sources that have their flags on, as long as the block runs.

    Args:
        binds: what a container shall see.
        directory: empty or missing; where to put the mounts.

    Raises:
        BadRequest: a source does not exist.
        MountFailed: the kernel refuses a mount.
    """
    if not binds:
        yield ()
        return
    directory.mkdir(exist_ok=True)
    with Undo() as mounts:  # always taken back: the container has its own copies
        yield tuple(_stage(item, directory / str(number), mounts) for number, item in enumerate(binds))


def _stage(item: Bind, place: Path, mounts: Undo) -> Bind:
    if not item.source.exists():
        raise BadRequest(f"{item.source}, to be seen as {item.target}, does not exist")
    if item.source.is_dir():
        place.mkdir()
        mounts.push(place.rmdir)
    else:
        place.touch()
        mounts.push(place.unlink)
    bind(item.source, place, ATTRIBUTES[item.access])
    mounts.push(unmount, place)
    return replace(item, source=place)

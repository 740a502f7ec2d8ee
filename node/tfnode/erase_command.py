"""`tf-node erase`: remove all that a node keeps on disk, an ordinary user's too.

An ordinary user's containers have the user's subordinate ids, so what they wrote is not the user's to delete, and `rm`
refuses. As root of the user namespace it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tfcore.errors import NotFound

LOCK = "node.lock"
"""What every directory has that a node ever served."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `erase`."""
    command = commands.add_parser(
        "erase",
        help="remove all that a node keeps on disk",
        description="Remove a node's directory with layers, snapshots and volumes. No node may be serving it.",
    )
    command.add_argument("--root", type=Path, required=True, help="the node's directory")
    command.set_defaults(run=lambda options: _erase(options.root.absolute()))


def _erase(root: Path) -> int:
    erase(root)
    print(f"{root} is gone")
    return 0


def erase(root: Path) -> None:
    """Remove the directory of a node. For a process with one thread.

    Raises:
        NotFound: it is no node's directory.
        WrongState: a node serves it.
        HostLacks: this user may not have a user namespace.
        OSError: something could not be removed.
    """
    from tfnode.process.lock import NodeLock
    from tfnode.process.userns import become_root
    from tfnode.storage.removal import remove_tree

    if not (root / LOCK).is_file():
        raise NotFound(f"{root} is no node's directory: there is no {LOCK} in it", hint="name one: --root DIRECTORY")
    with NodeLock(root):
        become_root()
        remove_tree(root)

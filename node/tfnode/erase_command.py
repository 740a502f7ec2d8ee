"""`tf-node erase`: remove what containers have made a node keep on disk, an ordinary user's too.

An ordinary user's containers have the user's subordinate ids, so what they wrote is not the user's to delete, and `rm`
refuses. As root of the user namespace it is. Keys and configuration stay: it is the same node afterwards, with nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tfcore.errors import NotFound

LOCK = "node.lock"
"""What every directory has that a node ever served."""

VOLUMES = "volumes.json"
"""Which volumes there are; of no use without them."""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `erase`."""
    command = commands.add_parser(
        "erase",
        help="remove all that containers have made a node keep",
        description="Remove a node's layers, snapshots and volumes. Key and configuration stay. No node may be serving it.",
    )
    command.add_argument("--root", type=Path, required=True, help="the node's directory")
    command.set_defaults(run=lambda options: _erase(options.root.absolute()))


def _erase(root: Path) -> int:
    erase(root)
    print(f"nothing of containers is left in {root}")
    return 0


def erase(root: Path) -> None:
    """Remove layers, snapshots and volumes below the directory of a node. For a process with one thread.

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
        for entry in root.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
        (root / VOLUMES).unlink(missing_ok=True)

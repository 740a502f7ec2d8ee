"""`tf-node storage`: make a file system for a node's data, and say what the one that is there can do."""

from __future__ import annotations

import argparse
from pathlib import Path

from tfcore.errors import NotFound

ROOT = Path("/var/lib/tf-node")
SIZE = "20G"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `storage` with its own commands."""
    storage = commands.add_parser("storage", help="make or look at the file system for a node's data")
    verbs = storage.add_subparsers(required=True, metavar="COMMAND")
    init = verbs.add_parser(
        "init",
        help="make one that shares blocks, so that snapshots cost next to nothing",
        description="Make a file system for a node's data and mount it. Undone if it fails; nothing is overwritten.",
    )
    init.add_argument(
        "--driver", choices=("xfs", "btrfs", "zfs"), default="xfs", help="its kind (default: %(default)s)"
    )
    place = init.add_mutually_exclusive_group(required=True)
    place.add_argument("--file", type=Path, help="make it in this new file, on a loop device")
    place.add_argument("--device", type=Path, help="make it on this block device")
    init.add_argument("--size", help=f"of the file, in units of 1024: 500M, 20G (default: {SIZE})")
    init.add_argument("--force", action="store_true", help="overwrite what is on the device")
    init.add_argument("--root", type=Path, default=ROOT, help="the node's directory (default: %(default)s)")
    init.set_defaults(run=_init)
    show = verbs.add_parser("show", help="say which driver, file system and powers there are, and how much room")
    show.add_argument("--root", type=Path, default=ROOT, help="the node's directory (default: %(default)s)")
    show.set_defaults(run=_show)


def _init(options: argparse.Namespace) -> int:
    from tfcore.errors import BadRequest
    from tfnode.storage import pools

    if options.device is not None and options.size is not None:
        raise BadRequest("--size is for --file: a device has the size it has")
    wish = pools.Wish(
        kind=options.driver,
        root=options.root.absolute(),
        file=options.file.absolute() if options.file else None,
        device=options.device.absolute() if options.device else None,
        size=pools.size_of(options.size or SIZE),
        overwrite=options.force,
    )
    pool = pools.make(wish)
    for sentence in pool.done:
        print(sentence)
    where = "with this command" if options.driver == "zfs" else "if you add this line to /etc/fstab"
    print(f"it is mounted again at the next boot {where}:\n{pool.at_boot}")
    print(f'the node makes the most of it with storage = "{pool.driver}" in its configuration')
    return 0


def _show(options: argparse.Namespace) -> int:
    from tfnode.storage.showing import describe

    root = options.root / "storage"
    if not options.root.is_dir():
        raise NotFound(f"there is no {options.root}", hint="tf-node storage init makes it, or --root names another")
    for about, sentence in describe(root if root.is_dir() else options.root):
        print(f"{about:<10} {sentence}")
    return 0

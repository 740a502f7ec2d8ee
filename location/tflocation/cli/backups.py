"""`tf-location backup` and `restore`: a location in one file, and back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tflocation.cli.asking import directory_of, verb
from tflocation.cli.text import day


def add_to(commands: Any) -> None:
    """Both verbs' arguments."""
    backup = verb(commands, "backup", _backup, "write all the location knows into a file, also while it runs")
    backup.add_argument("file", type=Path, help="a new file; it will hold the location's secret key")
    backup.add_argument("--images", action="store_true", help="the image cache, too; without, clients upload again")
    restore = verb(commands, "restore", _restore, "make a location from a backup")
    restore.add_argument("file", type=Path)
    restore.add_argument("--force", action="store_true", help="over a location that is there, which is moved aside")


def _backup(arguments: argparse.Namespace) -> int:
    """Keys, accounts, nodes, sessions, volumes' tags, kept snapshots and configuration as they are at this moment."""
    from tflocation.backup import back_up

    done = back_up(directory_of(arguments), arguments.file.absolute(), images=arguments.images)
    print(f"{arguments.file}: location {done.manifest.name}, {done.size / 2**20:.1f} MiB")
    print("it holds the location's secret key: whoever reads it can be this location")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    """Check a backup and make its location. Nodes and clients come back by themselves if its address is the same."""
    from tflocation.backup import restore

    directory = directory_of(arguments)
    done = restore(arguments.file.absolute(), directory, force=arguments.force)
    print(f"location {done.manifest.name} is in {directory.root}, as it was on {day(done.manifest.made)}")
    if done.aside is not None:
        print(f"what was there before is in {done.aside}")
    if not done.manifest.images:
        print("the backup has no images: clients upload them again when they are needed")
    print(f"start it: tf-location serve --dir {directory.root}")
    return 0

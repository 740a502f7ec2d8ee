"""The commands of `tf`, one file each; this page is the list of them.

A command's file says all there is to say about it, once (`command.Command`): its help, its man page and its completion are
made from that. It imports what is heavy when it runs, not before: `tf --help` reads all of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from tfnz.commands.command import Command

GROUPS: dict[str, tuple[str, ...]] = {
    "containers": ("run", "ps", "exec", "logs", "cp", "top"),
    "images and volumes": ("cache", "describe", "volumes"),
    "kept for later": ("snapshots", "resume"),
    "locations": ("locations", "resources", "account", "doctor", "completion"),
}
"""What to call a group of commands, and the names of those in it, in the order in which people meet them."""

NAMES = tuple(name for names in GROUPS.values() for name in names)

DEFAULT = "run"
"""The command that is meant where none is named: `tf nginx` is `tf run nginx`."""


SCRIPTS = {
    "tfcache": "cache",
    "tfdescribe": "describe",
    "tfvolumes": "volumes",
    "tflocations": "locations",
    "tfresources": "resources",
    "tfacctbak": "account backup",
}
"""Console scripts that are a command by themselves, as in 20ft."""


def find(name: str) -> Command:
    """The command of this name, of `NAMES`: `COMMAND` of the module that is called so."""
    command = importlib.import_module(f"tfnz.commands.{name}").COMMAND
    assert isinstance(command, Command)
    return command


def scripted(script: str) -> Command:
    """The command a console script of `SCRIPTS` is."""
    name, *verbs = SCRIPTS[script].split()
    command = find(name)
    for verb in verbs:
        command = next(below for below in command.verbs if below.name == verb)
    return command


def everything() -> Iterator[Command]:
    """All commands, in the order of `NAMES`."""
    return map(find, NAMES)

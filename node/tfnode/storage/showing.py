"""What `tf-node storage show` says of a node's storage, without opening it: a node may be serving from there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tfnode.host import file_system_of
from tfnode.storage.drivers import DRIVERS, probe_all
from tfnode.storage.filedata import shares_blocks
from tfnode.storage.interface import Capabilities
from tfnode.storage.metastore import maker_of

Line = tuple[str, str]
"""What it is about, and what there is to say."""


def describe(root: Path) -> Iterator[Line]:
    """What there is to say about the storage below `root`, an existing directory that the caller may write to."""
    probes = probe_all(root)
    maker = maker_of(root)
    name = maker or next(name for name, probe in probes.items() if probe.usable)
    yield "driver", f"{name} ({'wrote what is here' if maker else 'would be taken; nothing is here yet'})"
    yield "place", f"{root}, on {_file_system(root)}"
    powers = DRIVERS[name].powers
    powers = replace(powers, shares_blocks=powers.shares_blocks or shares_blocks(root))
    yield from _powers(powers)
    yield "space", _space(root)
    for driver, probe in probes.items():
        yield driver, ("" if probe.usable else "not here: ") + probe.sentence.removeprefix(f"{driver}: ")


def _powers(powers: Capabilities) -> Iterator[Line]:
    yield "snapshot", "takes no time" if powers.instant_snapshot else "copies what changed since the one below"
    yield "blocks", "shared with snapshots" if powers.shares_blocks else "copied: this file system cannot share them"
    yield "rollback", "keeps newer snapshots" if powers.rollback_keeps_newer else "needs newer snapshots removed"
    yield "quota", "yes" if powers.quota else "no"


def _file_system(root: Path) -> str:
    return file_system_of(Path("/proc/self/mountinfo").read_text(), root.resolve()) or "an unknown file system"


def _space(root: Path) -> str:
    usage = shutil.disk_usage(root)
    return f"{_gigabytes(usage.used)} used, {_gigabytes(usage.free)} free"


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):.1f} GB"

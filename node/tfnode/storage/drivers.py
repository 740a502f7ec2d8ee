"""Which storage drivers there are, and which one a directory gets. The only place that knows them by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfcore.errors import BadRequest, HostLacks
from tfnode.storage import btrfs, btrfs_probe, directory, overlay, overlay_probe, zfs, zfs_probe
from tfnode.storage.failures import told_as
from tfnode.storage.interface import Capabilities, Probe, Storage
from tfnode.storage.metastore import maker_of
from tfnode.storage.shelf import MODE

log = logging.getLogger(__name__)

AUTO: Final = "auto"


@dataclass(frozen=True)
class Driver:
    """How a driver is tried and opened.

    Args:
        probe: whether it works below an existing directory.
        open: opens it there.
        powers: what it can do anywhere.
    """

    probe: Callable[[Path], Probe]
    open: Callable[[Path], Storage]
    powers: Capabilities


def _always(root: Path) -> Probe:
    return Probe(True, f"directory works everywhere, {root} included; it copies")


DRIVERS: Final[Mapping[str, Driver]] = {
    "overlay": Driver(overlay_probe.probe, overlay.Overlay, overlay.POWERS),
    "btrfs": Driver(btrfs_probe.probe, btrfs.Btrfs, btrfs.POWERS),
    "zfs": Driver(zfs_probe.probe, zfs.Zfs, zfs.POWERS),
    "directory": Driver(_always, directory.Directory, directory.POWERS),
}
"""By preference: the first that works is the one `choose` takes."""


def probe_all(root: Path) -> dict[str, Probe]:
    """What each driver says about `root`, an existing directory."""
    return {name: driver.probe(root) for name, driver in DRIVERS.items()}


def choose(root: Path, wanted: str = AUTO) -> Storage:
    """Open the storage below `root` with the driver `wanted`, or with the best one that works there.

    A directory that has data already keeps its driver unless another one is wanted by name, which then refuses: what works
    best may change with an update of the kernel.

    Args:
        root: made if it is not there.
        wanted: a name in `DRIVERS`, or "auto".

    Raises:
        BadRequest: there is no such driver.
        HostLacks: the driver does not work here; the message is its sentence.
        WrongState: another process has the root open, or another driver's data are there.
        StorageFailed: the directory cannot be used.
    """
    if wanted != AUTO and wanted not in DRIVERS:
        raise BadRequest(f"there is no storage driver {wanted!r}", hint=f"one of {', '.join([AUTO, *DRIVERS])}")
    with told_as(f"making {root}", root):
        root.mkdir(mode=MODE, parents=True, exist_ok=True)
    refusals = []
    for name in _candidates(root, wanted):
        probe = DRIVERS[name].probe(root)
        if probe.usable:
            log.info("storage: %s", probe.sentence)
            return DRIVERS[name].open(root)
        refusals.append(probe.sentence)
    raise HostLacks("; ".join(refusals), hint=f"choose another storage driver: {', '.join(DRIVERS)}")


def _candidates(root: Path, wanted: str) -> Iterable[str]:
    if wanted != AUTO:
        return (wanted,)
    maker = maker_of(root) or ""
    return (maker,) if maker in DRIVERS else DRIVERS

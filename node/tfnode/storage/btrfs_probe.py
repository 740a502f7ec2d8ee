"""Finds out, by trying, whether the btrfs driver works below a directory."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from tfnode.storage import overlay_probe, subvolumes
from tfnode.storage.interface import Probe
from tfnode.storage.removal import remove_tree


def probe(root: Path) -> Probe:
    """Whether the btrfs driver works below `root`, an existing directory; it is left as it was."""
    try:
        trial = Path(tempfile.mkdtemp(prefix="probe-", dir=root))
        try:
            return _tried(root, trial)
        finally:
            for subvolume in filter(subvolumes.is_subvolume, sorted(trial.iterdir())):
                subvolumes.destroy(subvolume)
            remove_tree(trial)
    except OSError as error:
        if error.errno == errno.ENOTTY:
            return Probe(False, f"btrfs: {root} is not on a btrfs")
        return Probe(False, f"btrfs: no subvolumes can be made and removed on {root}: {error.strerror or error}")


def _tried(root: Path, trial: Path) -> Probe:
    subvolumes.create(trial / "original")
    subvolumes.snapshot(trial / "original", trial / "copy")
    overlay = overlay_probe.probe(trial / "copy")
    if not overlay.usable:
        return Probe(False, f"btrfs: {root} has subvolumes, but no overlay works on them: {overlay.sentence}")
    return Probe(True, f"btrfs works on {root}; snapshots take no time")

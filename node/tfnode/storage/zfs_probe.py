"""Finds out whether the zfs driver works below a directory. Looks only: making a dataset for a try would take a second."""

from __future__ import annotations

import os
from pathlib import Path

from tfcore.errors import HostLacks, StorageFailed
from tfnode.storage import datasets
from tfnode.storage.interface import Probe


def probe(root: Path) -> Probe:
    """Whether the zfs driver works below `root`, an existing directory."""
    try:
        dataset = datasets.containing(root)
    except HostLacks:
        return Probe(False, "zfs: there is no command zfs on this machine (package zfsutils-linux)")
    except StorageFailed as refused:
        return Probe(False, f"zfs: {root} is not on a ZFS: {refused.message}")
    if os.geteuid() != 0:
        return Probe(False, f"zfs: {root} is in {dataset}, but it takes root to make datasets")
    return Probe(True, f"zfs works on {root}, in {dataset}; snapshots take no time")

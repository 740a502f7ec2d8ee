"""What this node has free, as the location is told every second (seed 002, Resource Offers)."""

from __future__ import annotations

import os
import platform
import threading
from pathlib import Path

import msgspec

from tfcore.ids import new_id
from tfcore.wire.sessions import NodeOffer
from tfnode.load import Sampler
from tfnode.storage.interface import Storage

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


class Offers:
    """Samples the machine; safe from any thread."""

    def __init__(self, name: str, root: Path, storage: Storage, notes: tuple[str, ...]) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._sampler = Sampler(root)
        self._offer = NodeOffer(
            id=new_id("n"),
            name=name,
            cores=os.cpu_count() or 1,
            arch=_ARCHITECTURES.get(platform.machine(), platform.machine()),
            storage=type(storage).__name__.lower(),
            notes=tuple(note for note in notes if note),
        )

    def identify(self, node: str) -> None:
        """The location has said who we are."""
        with self._lock:
            self._offer = msgspec.structs.replace(self._offer, id=node)

    def now(self, containers: int) -> NodeOffer:
        """The offer of this moment."""
        with self._lock:
            sample = self._sampler.sample()
            self._offer = msgspec.structs.replace(
                self._offer,
                cpu=sample.cpu,
                memory=sample.memory,
                memory_total=sample.memory_total,
                disk=sample.disk,
                disk_total=sample.disk_total,
                io=sample.read_rate + sample.write_rate,
                paging=sample.paging,
                containers=containers,
            )
            return self._offer

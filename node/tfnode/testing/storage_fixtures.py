"""What the storage suites start from. To be overridden: `open_storage`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfnode.kernel.mounts import mount_points
from tfnode.storage.interface import Image, Storage
from tfnode.testing import play

OpenStorage = Callable[[Path], Storage]


class StorageFixtures:
    """What both suites start from."""

    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        """Opens the driver below a directory, as often as asked. To be overridden."""
        raise pytest.UsageError("override the fixture open_storage: it returns what opens your driver")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Where the driver keeps its data."""
        return tmp_path / "storage"

    @pytest.fixture
    def storage(self, open_storage: OpenStorage, root: Path) -> Iterator[Storage]:
        """The driver under test."""
        storage = open_storage(root)
        yield storage
        storage.close()

    @pytest.fixture
    def image(self, tmp_path: Path) -> Image:
        """An image of three layers."""
        return play.make_image(tmp_path / "image")

    @pytest.fixture(autouse=True)
    def _nothing_left(self, tmp_path: Path) -> Iterator[None]:
        """No mount, descriptor or thread outlives a test."""
        descriptors, threads = os.listdir("/proc/self/fd"), threading.active_count()
        yield
        assert not [point for point in mount_points() if point.is_relative_to(tmp_path)]
        assert os.listdir("/proc/self/fd") == descriptors
        assert threading.active_count() == threads

"""The btrfs driver against the storage suites, on a loop device; the image is on another file system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch_disks import loop_mounted
from tfnode.storage.btrfs import Btrfs
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root"),
    pytest.mark.leaks("module"),
]


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with loop_mounted(tmp_path_factory.mktemp("btrfs"), ["mkfs.btrfs", "-q"], size=1 << 30) as disk:
        yield disk


class TestBtrfs(StorageSuite, RollbackSuite):
    @pytest.fixture
    def root(self, disk: Path, request: pytest.FixtureRequest) -> Path:
        return disk / str(abs(hash(request.node.nodeid)))

    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Btrfs

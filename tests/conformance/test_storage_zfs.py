"""The zfs driver against the storage suites, on ZFS in user space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.zfs_fuse import zfs_pool
from tfnode.storage.interface import Image
from tfnode.storage.zfs import Zfs
from tfnode.testing import play
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root"),
    pytest.mark.leaks("module"),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with zfs_pool(tmp_path_factory.mktemp("zfs"), size=1 << 30) as pool:
        yield pool


@pytest.mark.timeout(600)  # in user space, deep trees take their time
class TestZfs(StorageSuite, RollbackSuite):
    depth = 300
    """In user space each level costs a walk down from the top; of ours nothing walks in there but to count."""

    @pytest.fixture
    def root(self, pool: Path, request: pytest.FixtureRequest) -> Path:
        return pool / str(abs(hash(request.node.nodeid)))

    @pytest.fixture
    def image(self, root: Path) -> Image:
        """On the same file system, which keeps times of whole seconds only."""
        return play.make_image(root.with_suffix(".image"))

    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Zfs

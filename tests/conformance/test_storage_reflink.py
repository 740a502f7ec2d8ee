"""Both drivers on a file system that shares blocks (xfs on a loop device), with the image on another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scratch_disks import loop_mounted
from tfnode.storage.directory import Directory
from tfnode.storage.overlay import Overlay
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root"),
    pytest.mark.leaks("module"),
]

SIZE = 600 << 20
"""xfs wants 300 MiB at least."""


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with loop_mounted(tmp_path_factory.mktemp("xfs"), ["mkfs.xfs", "-q", "-m", "reflink=1"], size=SIZE) as xfs:
        yield xfs


class OnXfs(StorageSuite, RollbackSuite):
    @pytest.fixture
    def root(self, xfs: Path) -> Iterator[Path]:
        yield xfs / "storage"
        shutil.rmtree(xfs / "storage", ignore_errors=True)


class TestOverlayOnXfs(OnXfs):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Overlay


class TestDirectoryOnXfs(OnXfs):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Directory


def test_blocks_are_really_shared(xfs: Path) -> None:
    """Or the suite's own test would have been skipped."""
    for driver in (Overlay, Directory):
        storage = driver(xfs / driver.name)
        assert storage.capabilities.shares_blocks
        storage.close()

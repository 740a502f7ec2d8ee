"""The reference driver against the storage suites; as root and as an ordinary user."""

from __future__ import annotations

import pytest

from tfnode.storage.directory import Directory
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite


class TestDirectory(StorageSuite, RollbackSuite):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Directory

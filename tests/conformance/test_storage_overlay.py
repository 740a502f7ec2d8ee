"""The default driver against the storage suites."""

from __future__ import annotations

import os

import pytest

from tfnode.storage.overlay import Overlay
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting an overlay takes root")


class TestOverlay(StorageSuite, RollbackSuite):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Overlay

"""Having no network, held to what every network promises."""

from __future__ import annotations

import pytest

from tfnode.network.none import NoNetwork
from tfnode.testing.network_suite import NetworkSuite
from tfnode.testing.switch_suite import BesideSuite
from tfnode.testing.united_suite import UnitedSuite


class TestNone(NetworkSuite, BesideSuite, UnitedSuite):
    @pytest.fixture
    def network(self) -> NoNetwork:
        return NoNetwork()

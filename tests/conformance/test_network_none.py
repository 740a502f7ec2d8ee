"""Having no network, held to what every network promises."""

from __future__ import annotations

import pytest

from tfnode.network.none import NoNetwork
from tfnode.testing.network_suite import NetworkSuite
from tfnode.testing.switch_suite import BesideSuite


class TestNone(NetworkSuite, BesideSuite):
    @pytest.fixture
    def network(self) -> NoNetwork:
        return NoNetwork()

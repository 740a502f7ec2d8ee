"""Conformance suites for those who write a driver, here or elsewhere: classes of tests with fixtures to override.

    class TestMine(StorageSuite, RollbackSuite):
        @pytest.fixture
        def open_storage(self):
            return Mine

Needs pytest. The suites' assertions are rewritten like a test module's own, whoever imports them.
"""

import pytest

for _suite in (
    "halfway_suite",
    "netns",
    "network_suite",
    "play",
    "rollback_suite",
    "runtime_guards",
    "runtime_play",
    "runtime_suite",
    "storage_fixtures",
    "storage_powers",
    "storage_retiring",
    "storage_suite",
    "storage_upkeep",
    "trees",
    "views",
):
    pytest.register_assert_rewrite(f"{__name__}.{_suite}")

"""`@pytest.mark.tf_chain` on a class: its tests build on each other. They run in the order in which they are written, start
from one baseline, and once one has failed the rest are expected to.

Loaded in every pytest run that has such a class: imports pytest only.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from pytest_tf.stash import PLACE

MARKER = "tf_chain"


def chain_of(item: pytest.Item) -> pytest.Class | None:
    """The class whose chain a test is part of, or None."""
    return item.getparent(pytest.Class) if item.get_closest_marker(MARKER) else None


def keep_order(items: list[pytest.Item]) -> None:
    """Put the tests of chains, where they stand, in the order in which they were collected, whoever has shuffled them."""
    chains: dict[pytest.Class | None, list[int]] = {}
    for index, item in enumerate(items):
        if PLACE in item.stash:
            chains.setdefault(chain_of(item), []).append(index)
    for indexes in chains.values():
        ordered = sorted((items[index] for index in indexes), key=lambda item: item.stash[PLACE])
        for index, item in zip(indexes, ordered, strict=True):
            items[index] = item


class Chains:
    """The hooks that remember which chains have broken."""

    def __init__(self) -> None:
        self._broken: dict[pytest.Class, str] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test that builds on one that failed is expected to fail."""
        chain = chain_of(item)
        culprit = self._broken.get(chain, item.nodeid) if chain else item.nodeid
        if culprit != item.nodeid:
            pytest.xfail(f"{culprit} failed, and this test builds on it")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Note the first failure; a test that passes when it is run again mends its chain."""
        report = yield
        chain = chain_of(item)
        if chain and report.failed:
            self._broken.setdefault(chain, item.nodeid)
        elif chain and report.passed and report.when == "call" and self._broken.get(chain) == item.nodeid:
            del self._broken[chain]
        return report

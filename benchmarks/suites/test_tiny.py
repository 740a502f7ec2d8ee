"""Tests that take no time themselves: each defaces nginx's page, and finds it as it was if it is isolated from the others.

TF_BENCH_TESTS     how many tests there are
TF_BENCH_ISOLATED  "yes" if each has a page that no other test has touched
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from benchmarks.ground.services import DEFACED

TESTS = int(os.environ["TF_BENCH_TESTS"])
ISOLATED = os.environ["TF_BENCH_ISOLATED"] == "yes"


@pytest.mark.parametrize("number", range(TESTS))
def test_the_page_is_mine(web: Any, number: int) -> None:
    before = web.page()
    assert not (ISOLATED and DEFACED in before)
    web.deface(DEFACED + b" %d" % number)
    assert DEFACED + b" %d" % number in web.page()

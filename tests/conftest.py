"""For all tests: nothing may be left behind, and suites that ship in the package explain their assertions."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from tests.support.leaks import *  # noqa: F403 - the hooks of the leak check

# Tests interrupt themselves and programs they start; a run in the background of a script has inherited that it ignores this.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Programs that are run within a test set up logging; what they wrote to is gone with the test."""
    before, level = logging.root.handlers[:], logging.root.level
    yield
    for handler in logging.root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:  # pytest's own are of other kinds
            logging.root.removeHandler(handler)
    logging.root.setLevel(level)

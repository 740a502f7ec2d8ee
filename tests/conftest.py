"""For all tests: nothing may be left behind, and suites that ship in the package explain their assertions."""

from __future__ import annotations

from tests.support.leaks import *  # noqa: F403 - the hooks of the leak check

pytest_plugins = ["pytester"]

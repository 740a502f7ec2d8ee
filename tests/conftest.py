"""For all tests: nothing may be left behind, and suites that ship in the package explain their assertions."""

from __future__ import annotations

import signal

from tests.support.leaks import *  # noqa: F403 - the hooks of the leak check

# Tests interrupt themselves and programs they start; a run in the background of a script has inherited that it ignores this.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]

"""Logging switches of both generations, each in a process of its own: logging is configured once."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging
from tfnz import switches
switches.set_logging(**{})
root = logging.getLogger()
print(bool(root.handlers), logging.getLogger("tfnz").getEffectiveLevel(), root.getEffectiveLevel())
"""
ALONE, INFO, DEBUG = "False 30 30", "True 20 20", "True 10 10"


@pytest.mark.parametrize(
    ("quiet", "debug_log", "expected"),
    [
        pytest.param(None, None, ALONE, id="gen 1: nothing said"),
        pytest.param(None, False, INFO, id="gen 1: False is info"),
        pytest.param(None, True, DEBUG, id="gen 1: True is debug"),
        pytest.param(True, None, ALONE, id="gen 2: quiet"),
        pytest.param(True, False, ALONE, id="gen 2: quiet, and no debugging"),
        pytest.param(False, None, INFO, id="gen 2: not quiet"),
        pytest.param(False, True, DEBUG, id="gen 2: debug_log"),
    ],
)
def test_what_the_switches_do(quiet: bool | None, debug_log: bool | None, expected: str) -> None:
    program = PROGRAM.replace("{}", repr({"quiet": quiet, "debug_log": debug_log}))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected

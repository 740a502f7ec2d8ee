"""One run of the tiny tests: a pytest process of its own, as a user starts it. Knows nothing of what is compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT = 600.0
"""Seconds one run may take."""

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLAIN = ("-q", "-p", "no:randomly", "-p", "no:asyncio", "-p", "no:rerunfailures", "-p", "no:cacheprovider")
"""Other plugins that happen to be installed stay out of it."""


@dataclass
class Suite:
    """One way to run the tests.

    Attributes:
        who: in tables.
        place: where its tests and their conftest lie.
        tests: how many of them run.
        isolated: True if no test may see what another has left; the tests look.
        options: of pytest.
        environment: more variables.
        rollbacks: what was said about rollbacks at the end of the last run.
    """

    who: str
    place: Path
    tests: int
    isolated: bool
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    rollbacks: str = ""

    def run(self) -> float:
        """Seconds of the whole run, pytest's own start included.

        Raises:
            RuntimeError: a test failed; the message has pytest's last words.
            subprocess.TimeoutExpired: it did not end.
        """
        command = [sys.executable, "-m", "pytest", *PLAIN, *self.options, str(self.place)]
        told = {"TF_BENCH_TESTS": str(self.tests), "TF_BENCH_ISOLATED": "yes" if self.isolated else "no"}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **told, **self.environment}
        begun = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.place, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        took = time.perf_counter() - begun
        if done.returncode != 0:
            words = (done.stdout + done.stderr)[-2000:]
            raise RuntimeError(f"{self.who}: pytest ended with status {done.returncode}: {words}")
        self.rollbacks = rollbacks_of(done.stdout)
        return took


def rollbacks_of(output: str) -> str:
    """How many rollbacks the plugin's summary counts, and how they were done; "" if it says nothing about any."""
    found = re.search(r"\b(\d+) rollbacks? \(([^)]*)\)", output)
    if found is None:
        return ""
    number, ways = found.groups()
    return ways if ways[:1].isdecimal() else f"{number} {ways}"


def copied(name: str, directory: Path) -> Path:
    """The tests with one of the conftests, in a directory where no other pytest.ini reaches them."""
    place = directory / name
    shutil.copytree(HERE / name, place, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "test_tiny.py", place)
    (place / "pytest.ini").write_text("[pytest]\n")
    return place

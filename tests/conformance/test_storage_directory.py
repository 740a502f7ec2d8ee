"""The reference driver against the storage suites; as root and as an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfnode.storage.directory import Directory
from tfnode.testing.rollback_suite import RollbackSuite
from tfnode.testing.storage_fixtures import OpenStorage
from tfnode.testing.storage_suite import StorageSuite

NOBODY = 65534
PART = "exact or whole_life or everything_back or sweep or dies or while_mounted or keeps_the_old"
"""Enough of the suites to see that nothing needs root; all of them run when root does not run these tests."""


class TestDirectory(StorageSuite, RollbackSuite):
    @pytest.fixture
    def open_storage(self) -> OpenStorage:
        return Directory


@pytest.fixture
def home() -> Iterator[Path]:
    """The ordinary user's own directory; pytest's are closed to everybody else."""
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, NOBODY, NOBODY)
        yield Path(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests above are an ordinary user's already")
def test_as_an_ordinary_user(home: Path) -> None:
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable]
    if subprocess.run([*drop, "-c", "import pytest, tfnode"], capture_output=True, check=False).returncode:
        pytest.skip("an ordinary user cannot read this installation")
    quiet = ["-q", "-p", "no:cacheprovider", "-p", "no:tf", "--noconftest", f"--basetemp={home / 'tests'}"]
    done = subprocess.run(
        [*drop, "-m", "pytest", *quiet, __file__, "-k", f"TestDirectory and ({PART})"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout

"""What a failed test has left on a location of a team: had again on another machine of the same account, by nobody else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import ACCOUNTS, RemoteLocation
from tests.support.line import remote_location

pytestmark = pytest.mark.leaks("module")

CONFTEST = """
    from pytest_tf import container, ready
    box = container({tiny!r}, command=["sleep", "infinity"], ready=ready.running())
    """
FAILS = """
    def test_it(box):
        box.run_process("echo by the test > /left")
        assert 0
    """


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    with remote_location() as made:
        yield made


def tf(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_HOME": str(home)}
    argv = (sys.executable, "-m", "tfnz.cli", *arguments)
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_colleague_looks_at_what_failed_in_ci(
    place: RemoteLocation, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tiny: str, tmp_path: Path
) -> None:
    ci, laptop, stranger = place.directory / ACCOUNTS[0], tmp_path / "laptop", place.directory / ACCOUNTS[1]
    shutil.copytree(ci, laptop)
    monkeypatch.setenv("TF_HOME", str(ci))
    pytester.makeconftest(CONFTEST.format(tiny=tiny))
    pytester.makepyfile(test_inner=FAILS)
    result = pytester.runpytest_subprocess(f"--tf-location={place.name}", "--tf-keep=failed", "-p", "no:randomly")
    result.assert_outcomes(failed=1)
    found = re.search(r"^tf resume (f-\w{6})", result.stdout.str(), re.MULTILINE)
    assert found is not None
    done = tf(laptop, "resume", found[1], "--location", place.name, "--run", "cat /left")
    assert (done.returncode, done.stdout) == (0, "by the test\n"), done.stderr
    refused = tf(stranger, "resume", found[1], "--location", place.name, "--run", "cat /left")
    assert refused.returncode == 1
    assert f"there is no kept snapshot '{found[1]}'" in refused.stderr
    removed = tf(laptop, "snapshots", "list", "--location", place.name, "--json")
    assert '"failure"' in removed.stdout

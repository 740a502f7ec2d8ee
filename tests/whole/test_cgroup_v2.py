"""The whole line on a machine with nothing but cgroup v2, which is what most machines have today.

Whatever this machine has is put out of sight in a mount namespace of its own, and cgroup2 mounted alone in its place.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.example_images import directory

ROOT = Path(__file__).parents[2]

ONLY_V2 = """
set -e
mount --make-rprivate /
umount --recursive /sys/fs/cgroup 2>/dev/null || umount --lazy /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
exec "$@"
"""


def with_only_v2(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", ONLY_V2, "sh", *command],
        env=os.environ | env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
def test_a_suite_on_cgroup_v2_alone(tmp_path: Path) -> None:
    seen = with_only_v2("cat", "/sys/fs/cgroup/cgroup.controllers", env={})
    if seen.returncode != 0:
        pytest.skip(f"cgroup2 cannot be mounted here: {seen.stderr.strip()}")
    done = with_only_v2(
        *(
            sys.executable,
            "-m",
            "pytest",
            "examples/static_site",
            "--tf-location=local",
            "-q",
            "-p",
            "no:cacheprovider",
        ),
        env={"TF_LOCAL_DIR": str(tmp_path / "local"), "TF_LOCAL_IDLE": "0.2", "TF_EXAMPLE_IMAGES": str(directory())},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "created" in done.stdout, "no rollback was seen"

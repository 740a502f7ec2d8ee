"""A real runtime on this machine: private mounts, a real root file system, real control groups, for any test class.

    class TestMine(RuntimeMachine): ...       with the fixtures of `tfnode.testing.runtime_play`, all three overridden

At the end of each test no orphan, no group, no mount and no file may be left.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import adopting_orphans, private_mounts
from tests.support.rootfs import tiny_rootfs
from tfnode.cgroups import Group, end_node_groups, node_group_names, open_node_group, private_hierarchies
from tfnode.kernel.mounts import mount, mount_points, mount_tree
from tfnode.runtime.crun import Crun
from tfnode.runtime.exits import ExitWatcher
from tfnode.storage.interface import OverlayMount
from tfnode.testing.runtime_play import IDS, Fixtures

needs_crun = [
    pytest.mark.skipif(
        os.getuid() != 0 and not os.environ.get("TF_AS_USER"), reason="containers with networks of their own need root"
    ),
    pytest.mark.skipif(shutil.which("crun") is None, reason="the package crun is not installed"),
]
"""For `pytestmark`."""


@functools.cache
def image() -> Path:
    """Owned by the sandbox's root; made once per process, only ever a lower layer. Not below pytest's own directories, which
    only root may walk through.
    """
    top = Path(tempfile.mkdtemp(prefix="tf-runtime-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    top.chmod(0o711)
    return tiny_rootfs(top / "image", owner=IDS.uid_base)


class RuntimeMachine(Fixtures):
    """The three fixtures, and what they stand on."""

    def find_program(self, scratch: Path) -> Path:
        """The OCI runtime that the test class is about."""
        return Path(shutil.which("crun") or "crun")

    def arrange_cgroups(self) -> None:
        """Make /sys/fs/cgroup what the test class is about."""
        with private_hierarchies():
            pass

    @pytest.fixture
    def privately(self) -> Iterator[None]:
        with adopting_orphans(), private_mounts():
            self.arrange_cgroups()
            yield

    @pytest.fixture
    def scratch(self, privately: None) -> Path:
        """Memory, gone with the mount namespace."""
        scratch = image().parent / "scratch"
        scratch.mkdir(exist_ok=True)
        mount("tmpfs", scratch, "tmpfs", 0, "mode=711")
        return scratch

    @pytest.fixture
    def rootfs(self, scratch: Path) -> Path:
        for name in ("rootfs", "upper", "work"):
            (scratch / name).mkdir()
        os.chown(scratch / "upper", IDS.uid_base, IDS.gid_base)
        mount_tree(OverlayMount((image(),), scratch / "upper", scratch / "work", volatile=True), scratch / "rootfs")
        return scratch / "rootfs"

    @pytest.fixture
    def group(self, privately: None) -> Iterator[Group]:
        name = f"test-{uuid.uuid4().hex[:8]}"
        generation = open_node_group(name).child("g1")
        generation.create()
        yield generation
        end_node_groups(name)
        assert name not in node_group_names()

    @pytest.fixture
    def runtime(self, scratch: Path) -> Iterator[Crun]:
        program = self.find_program(scratch)  # which may skip the test
        exits = ExitWatcher()
        yield Crun(scratch / "runtime", exits, program=program)
        assert exits.pids() == frozenset()
        exits.close()
        assert _files_below(scratch / "runtime") == []
        assert [point for point in mount_points() if point.is_relative_to(scratch / "runtime")] == []


def _files_below(directory: Path) -> list[Path]:
    return [Path(top, name) for top, _, files in os.walk(directory) for name in files]

"""A pool of ZFS in user space for tests: a daemon of their own, in a mount namespace of their own, without a trace outside.

The package's programs are unpacked by `node/install-packages.sh tests`, not installed: installed they would start a daemon.
What they lack against the one in the kernel: times of less than a second, `sync=`, `-p`; and no overlay can write to it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import until
from tests.support.privacy import private_mounts
from tests.support.scratch_disks import disk_file
from tfnode.kernel import mounts

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pytest-tf/zfs-fuse"
SECONDS = 20.0


@contextlib.contextmanager
def zfs_pool(point: Path, *, size: int, pool: str = "tf-test") -> Iterator[Path]:
    """An empty pool, mounted on the directory `point`; `zfs` and `zpool` are on the PATH for the length of the block.

    Without the programs, or without /dev/fuse, the tests are skipped.
    """
    if not (CACHE / "sbin/zfs-fuse").exists():
        pytest.skip("zfs-fuse is not there: node/install-packages.sh tests")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse for zfs-fuse to use")
    with disk_file(size) as disk, private_mounts(), _programs_at_hand(), _daemon():
        subprocess.run(["zpool", "create", "-m", point, pool, disk], check=True, capture_output=True, timeout=SECONDS)
        try:
            yield point
        finally:
            destroy_pool(pool)


def destroy_pool(pool: str) -> None:
    """Destroy a pool; it stays busy for a moment after it was unmounted."""
    destroy = ["zpool", "destroy", "-f", pool]
    until(lambda: _succeeds(destroy), f"the pool {pool} to be destroyed", seconds=SECONDS)


@contextlib.contextmanager
def _programs_at_hand() -> Iterator[None]:
    libraries = sorted({str(library.parent) for library in CACHE.rglob("*.so.*")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(CACHE / "sbin"), prepend=os.pathsep)
        patch.setenv("LD_LIBRARY_PATH", os.pathsep.join(libraries))
        yield


@contextlib.contextmanager
def _daemon() -> Iterator[None]:
    """Its socket, its lock and its list of pools are where nobody else sees them."""
    for place in ("/run", "/var/lib"):
        mounts.mount("tmpfs", Path(place), "tmpfs", 0, "mode=755,size=4m")
    Path("/run/lock/zfs").mkdir(parents=True)
    with subprocess.Popen(
        ["zfs-fuse", "--no-daemon", "--enable-xattr", "--no-kstat-mount"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as daemon:
        try:
            until(lambda: _answers(daemon), "zfs-fuse to answer", seconds=SECONDS)
            yield
        finally:
            daemon.terminate()
            daemon.wait(SECONDS)


def _answers(daemon: subprocess.Popen[bytes]) -> bool:
    assert daemon.poll() is None, f"zfs-fuse ended with status {daemon.returncode}"
    return _succeeds(["zpool", "list"])


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=SECONDS).returncode == 0

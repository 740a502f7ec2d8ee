"""Namespaces as descriptors: made without forking, entered without moving the caller."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, CommandFailed, HostLacks
from tfnode.kernel.namespaces import current_netns, in_netns, make_netns, make_sandbox_namespaces, process_netns
from tfnode.testing.netns import fresh_netns, fresh_sandbox, need_root


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor, thread or process is left by any of these."""
    need_root()
    before = len(os.listdir("/proc/self/fd")), threading.active_count(), children()
    yield
    assert (len(os.listdir("/proc/self/fd")), threading.active_count(), children()) == before


def children() -> str:
    return Path("/proc/thread-self/children").read_text()


def identity(netns: int) -> tuple[int, int]:
    return os.fstat(netns).st_dev, os.fstat(netns).st_ino


def mine() -> tuple[int, int]:
    netns = current_netns()
    try:
        return identity(netns)
    finally:
        os.close(netns)


def id_map(user: int, name: str) -> list[str]:
    """As a process inside the user namespace reads it."""
    command = ["nsenter", f"--user=/proc/self/fd/{user}", "cat", f"/proc/self/{name}"]
    return subprocess.run(command, pass_fds=[user], capture_output=True, text=True, check=True).stdout.split()


def test_sandbox_maps_its_ids() -> None:
    namespaces = make_sandbox_namespaces(100_000, 200_000, 65_536)
    assert id_map(namespaces.user, "uid_map") == ["0", "100000", "65536"]
    assert id_map(namespaces.user, "gid_map") == ["0", "200000", "65536"]
    assert id_map(namespaces.user, "setgroups") == ["allow"]
    namespaces.close()


def test_network_namespace_belongs_to_the_user_namespace() -> None:
    """Root inside may bind a low port there: the namespace is its own."""
    with fresh_sandbox() as sandbox:
        program = "import socket; print(socket.socket().bind(('127.0.0.1', 80)))"
        command = ["nsenter", f"--user=/proc/self/fd/{sandbox.user}", f"--net=/proc/self/fd/{sandbox.net}"]
        done = subprocess.run(
            [*command, "python3", "-c", program], pass_fds=[sandbox.user, sandbox.net], capture_output=True, check=False
        )
        assert done.stdout == b"None\n"


def test_sandboxes_are_apart_from_each_other_and_from_us() -> None:
    with fresh_sandbox() as one, fresh_sandbox() as other:
        assert len({identity(one.net), identity(other.net), mine()}) == 3


def test_sandboxes_are_made_by_many_threads_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_sandbox_namespaces(100_000, 100_000, 10), range(24)))
    assert len({identity(namespaces.net) for namespaces in made}) == 24
    for namespaces in made:
        namespaces.close()


@pytest.mark.parametrize("ids", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_root_is_not_mapped(ids: tuple[int, int, int]) -> None:
    with pytest.raises(BadRequest, match="all must be at least 1"):
        make_sandbox_namespaces(*ids)


def test_refused_range_is_said() -> None:
    with pytest.raises(CommandFailed, match=r"refused to map 10 ids from 4294967290 \(uid_map\): Invalid argument"):
        make_sandbox_namespaces(4_294_967_290, 1, 10)


def test_missing_program_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostLacks, match="unshare is not installed"):
        make_sandbox_namespaces(100_000, 100_000, 10)


def test_kernels_refusal_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare: unshare failed: No space left on device' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostLacks, match=r"No space left on device \(see /proc/sys/user/max_user_namespaces"):
        make_sandbox_namespaces(100_000, 100_000, 10)


def test_work_is_done_inside_and_the_caller_stays() -> None:
    with fresh_netns() as netns:
        before = mine()
        assert in_netns(netns, mine) == identity(netns)
        assert mine() == before


def test_error_inside_is_the_callers() -> None:
    def fail() -> None:
        raise ValueError("inside")

    with fresh_netns() as netns, pytest.raises(ValueError, match="inside"):
        in_netns(netns, fail)


def test_what_is_no_namespace_is_refused() -> None:
    with open("/dev/null", "rb") as file, pytest.raises(OSError, match="Invalid argument"):
        in_netns(file.fileno(), mine)


def test_namespace_of_a_process() -> None:
    netns = process_netns(os.getpid())
    assert identity(netns) == mine()
    os.close(netns)


def test_fresh_namespace_is_not_ours() -> None:
    netns = make_netns()
    assert identity(netns) != mine()
    os.close(netns)

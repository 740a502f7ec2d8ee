"""Real control groups of every kind with real processes in them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.privacy import hide_cgroups, options_of_cgroup2, private_mounts, show_only_cgroup2
from tfcore.errors import DeadlineExceeded, WrongState
from tfnode.cgroups import Group, end_node_groups, files, layout, node_group_names, open_node_group, v2
from tfnode.cgroups.private import private_hierarchies
from tfnode.cgroups.v1 import V1
from tfnode.cgroups.v2 import V2, controllers_below
from tfnode.cgroups.without import Without
from tfnode.kernel.mounts import mount

root_only = pytest.mark.skipif(os.getuid() != 0, reason="control groups are root's")


@pytest.fixture
def mounts() -> Iterator[None]:
    with private_mounts():
        yield


@pytest.fixture(params=["v1", "v2"])
def node(request: pytest.FixtureRequest, mounts: None, tmp_path: Path) -> Iterator[Group]:
    """A node's group of both versions; at the end nothing of it may be left."""
    seen = _v1_layout() if request.param == "v1" else _v2_layout(tmp_path)
    name = f"test-{uuid.uuid4().hex[:8]}"
    group = open_node_group(name, seen)
    yield group
    end_node_groups(name, seen)
    assert name not in node_group_names(seen)


def _v1_layout() -> layout.Layout:
    with private_hierarchies():
        pass
    seen = layout.see()
    if "freezer" not in seen.controllers:
        pytest.skip("this machine has no cgroup v1 freezer")
    return seen


def _v2_layout(tmp_path: Path) -> layout.Layout:
    (top := tmp_path / "cgroup2").mkdir()
    mount("cgroup2", top, "cgroup2")
    return layout.Layout(unified=top)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def _put(group: Group, process: subprocess.Popen[bytes]) -> None:
    for top in _tops(group):
        files.write(top / group.path.lstrip("/") / "cgroup.procs", str(process.pid))


def _tops(group: Group) -> list[Path]:
    if isinstance(group.driver, V1):
        return group.driver._tops()
    assert isinstance(group.driver, V2)
    return [group.driver._top]


def _state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@root_only
def test_a_group_freezes_thaws_and_kills_what_is_below_it(node: Group, sleeper: subprocess.Popen[bytes]) -> None:
    generation = node.child("g1")
    container = generation.child("c1")
    container.create()
    _put(container, sleeper)
    assert container.pids() == generation.pids() == {sleeper.pid}
    generation.freeze()
    assert generation.frozen()
    assert container.frozen()
    generation.thaw()
    assert not container.frozen()
    node.kill()
    assert sleeper.wait(5) == -signal.SIGKILL
    assert node.pids() == frozenset()


@root_only
def test_a_frozen_group_can_be_killed(node: Group, sleeper: subprocess.Popen[bytes]) -> None:
    group = node.child("g1")
    group.create()
    _put(group, sleeper)
    group.freeze()
    group.kill()
    assert sleeper.wait(5) == -signal.SIGKILL


@root_only
def test_a_group_frozen_below_is_killed_from_above(node: Group, sleeper: subprocess.Popen[bytes]) -> None:
    group = node.child("g1").child("c1")
    group.create()
    _put(group, sleeper)
    group.freeze()
    node.kill()
    assert sleeper.wait(5) == -signal.SIGKILL


@root_only
def test_what_is_frozen_from_above_is_killed_or_the_way_out_is_named(
    node: Group, sleeper: subprocess.Popen[bytes]
) -> None:
    above = node.child("g1")
    group = above.child("c1")
    group.create()
    _put(group, sleeper)
    above.freeze()
    if isinstance(node.driver, V1):
        with pytest.raises(WrongState, match="frozen by a group above"):
            group.kill()
        above.thaw()
    group.kill()
    assert sleeper.wait(5) == -signal.SIGKILL


@root_only
def test_one_that_forks_all_the_time_is_killed(node: Group) -> None:
    group = node.child("g1")
    group.create()
    with subprocess.Popen(
        ["sh", "-c", "read go; while :; do sleep 0.01 & wait; done"], stdin=subprocess.PIPE
    ) as forker:
        assert forker.stdin is not None
        _put(group, forker)
        forker.stdin.write(b"\n")
        forker.stdin.close()
        files.until(lambda: len(group.pids()) > 1, timeout=5, failure=lambda: "no child")
        group.kill()
        assert forker.wait(5) == -signal.SIGKILL
    assert group.pids() == frozenset()


@root_only
def test_usage_counts_processes_and_what_the_machine_accounts_for(
    node: Group, sleeper: subprocess.Popen[bytes]
) -> None:
    group = node.child("g1")
    group.create()
    assert group.usage().processes == 0
    _put(group, sleeper)
    usage = group.usage()
    assert usage.processes == 1
    assert usage.oom_kills == 0
    assert (usage.memory is not None) == ("memory" in group.enforceable())


@root_only
def test_a_group_that_was_never_made_uses_nothing_and_is_gone(node: Group) -> None:
    ghost = node.child("ghost")
    assert ghost.pids() == frozenset()
    assert ghost.usage().processes == 0
    assert not ghost.frozen()
    ghost.kill()
    ghost.remove()


@root_only
def test_making_and_removing_twice_is_the_same_as_once(node: Group) -> None:
    group = node.child("g1")
    group.create()
    group.create()
    group.remove()
    group.remove()
    assert node.child("g1").pids() == frozenset()


@root_only
def test_removing_an_occupied_group_names_who_is_in_there(node: Group, sleeper: subprocess.Popen[bytes]) -> None:
    group = node.child("g1")
    group.create()
    _put(group, sleeper)
    with pytest.raises(DeadlineExceeded, match=str(sleeper.pid)):
        group.remove(timeout=0.01)


@root_only
def test_opening_a_node_group_ends_what_an_earlier_life_left(node: Group, sleeper: subprocess.Popen[bytes]) -> None:
    left = node.child("old").child("c")
    left.create()
    _put(left, sleeper)
    left.freeze()
    name = node.path.removeprefix("/pytest-tf-")
    seen = (
        layout.Layout(controllers=node.driver._controllers)
        if isinstance(node.driver, V1)
        else layout.Layout(unified=_tops(node)[0])
    )
    again = open_node_group(name, seen)
    assert sleeper.wait(5) == -signal.SIGKILL
    assert again.pids() == frozenset()
    assert not again.child("old").frozen()


def _mount_sys_anew() -> None:
    mount("tmpfs", Path("/sys"), "tmpfs")
    Path("/sys/fs/cgroup").mkdir(parents=True)
    assert layout.see() == layout.Layout()


@root_only
def test_private_hierarchies_are_those_that_were_there_without_the_mixture(mounts: None) -> None:
    before = layout.see()
    with private_hierarchies():
        _mount_sys_anew()
    after = layout.see()
    assert not after.hybrid
    assert after.unified == before.unified
    assert after.controllers.keys() == before.controllers.keys()
    assert all((top / "cgroup.procs").exists() for top in after.controllers.values())


@root_only
def test_where_version_two_alone_is_mounted_it_stays_alone(mounts: None) -> None:
    """Whatever else this kernel has."""
    show_only_cgroup2()
    with private_hierarchies():
        pass
    assert layout.see() == layout.Layout(unified=layout.ROOT)
    with private_hierarchies():
        _mount_sys_anew()
    assert layout.see() == layout.Layout(unified=layout.ROOT)
    assert (layout.ROOT / "cgroup.procs").exists()


@root_only
def test_where_no_control_groups_are_mounted_none_will_be(mounts: None) -> None:
    hide_cgroups()
    with private_hierarchies():
        pass
    assert layout.see() == layout.Layout()


@root_only
def test_the_machines_options_of_version_two_stay_as_they_are(mounts: None, tmp_path: Path) -> None:
    """They are the same for every mount of it, and a new mount without them would take them away."""
    show_only_cgroup2()
    before = options_of_cgroup2()
    for name in ("with", "as before"):
        (tmp_path / name).mkdir()
    mount("cgroup2", tmp_path / "with", "cgroup2", options=",".join({*before, "memory_recursiveprot"}))
    try:
        with private_hierarchies():
            _mount_sys_anew()
        assert options_of_cgroup2() == before | {"memory_recursiveprot"}
    finally:
        mount("cgroup2", tmp_path / "as before", "cgroup2", options=",".join(before))


THREADED = {"cpu", "cpuset", "perf_event", "pids"}
"""Controllers that a group with processes may hand down nevertheless (cgroups(7))."""


@pytest.fixture
def controller(mounts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[layout.Layout, str]]:
    """A real controller of version two, whichever it has here: those we want may all be bound to version one."""
    seen = _v2_layout(tmp_path)
    assert seen.unified is not None
    root, given = seen.unified, files.read(seen.unified / "cgroup.subtree_control").split()
    if not (offered := sorted(set(files.read(root / "cgroup.controllers").split()) - THREADED)):
        pytest.skip("version two has no controller on this machine")
    monkeypatch.setattr(v2, "WANTED", offered[:1])
    yield seen, offered[0]
    if offered[0] not in given:
        with contextlib.suppress(OSError):  # another node needs it now
            files.write(root / "cgroup.subtree_control", f"-{offered[0]}")


@root_only
def test_a_real_controller_comes_down_to_the_containers_group_but_not_past_processes(
    controller: tuple[layout.Layout, str], sleeper: subprocess.Popen[bytes]
) -> None:
    seen, name = controller
    node = open_node_group(f"test-{uuid.uuid4().hex[:8]}", seen)
    container = node.child("g1").child("c1")
    container.create()
    assert _controllers_of(container) == {name}
    occupied = node.child("g2")
    occupied.create()
    _put(occupied, sleeper)
    (below := occupied.child("c2")).create()
    assert _controllers_of(occupied) == {name}
    assert _controllers_of(below) == controllers_below(_tops(occupied)[0] / occupied.path.lstrip("/")) == set()
    end_node_groups(node.path.removeprefix("/pytest-tf-"), seen)


def _controllers_of(group: Group) -> set[str]:
    [top] = _tops(group)
    return set(files.read(top / group.path.lstrip("/") / "cgroup.controllers").split())


# by signals


@pytest.fixture
def sandboxed() -> Iterator[subprocess.Popen[bytes]]:
    """The first process of a pid namespace, with two below it."""
    argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process
        process.kill()


def _child(process: subprocess.Popen[bytes]) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@root_only
def test_signals_stop_continue_and_kill_a_pid_namespace(sandboxed: subprocess.Popen[bytes]) -> None:
    node = Group(Without(), "/n")
    group = node.child("g")
    group.create()
    group.admit(init := _child(sandboxed))
    assert init in group.pids()
    assert node.usage().processes == 3
    node.freeze()
    assert group.frozen()
    assert {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in group.pids()} == {"T"}
    node.thaw()
    assert not group.frozen()
    files.until(
        lambda: Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[0] == "S",
        timeout=5,
        failure=lambda: "still stopped",
    )
    group.freeze()
    group.kill()
    assert sandboxed.wait(5) != 0
    assert node.pids() == frozenset()
    group.remove()
    assert not group.frozen()


SPAWNS_AND_WAITS = """
import os, sys
pid = os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Makes a child by vfork(2) that cannot execute its program until somebody opens the other end of a pipe with a name."""


@root_only
def test_who_waits_for_a_child_to_execute_something_stands_still_with_it(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", SPAWNS_AND_WAITS, str(fifo)]
    with subprocess.Popen(command) as process:
        try:
            files.until(lambda: _has_child(process.pid), timeout=30, failure=lambda: "no process")
            init = _child(process)
            files.until(lambda: _has_child(init), timeout=30, failure=lambda: "no child")
            group = Group(Without(), "/n")
            group.create()
            group.admit(init)
            group.freeze()
            assert group.frozen()
            group.thaw()
            fifo.write_bytes(b"")
            assert process.wait(30) == 0
        finally:
            process.kill()


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

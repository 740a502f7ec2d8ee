"""What is read off the mount table and the files of control groups; no real group is made."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, DeadlineExceeded
from tfnode.cgroups import files, layout, open_node_group
from tfnode.cgroups.private import v1_places
from tfnode.cgroups.v2 import V2, controllers_below
from tfnode.cgroups.without import Without

V1_TABLE = """\
31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/bin/x,name=systemd
"""


HYBRID_LINE = "35 31 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


V2_TABLE = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"


OTHER_LINE = "99 23 0:99 / /mnt/cgroup2 rw,relatime - cgroup2 cgroup2 rw\n"


def test_v1_hierarchies_are_found_with_the_controllers_that_share_one() -> None:
    top = Path("/sys/fs/cgroup")
    seen = layout.read_layout(V1_TABLE)
    assert dict(seen.controllers) == {
        "cpu": top / "cpu,cpuacct",
        "cpuacct": top / "cpu,cpuacct",
        "memory": top / "memory",
        "name=systemd": top / "systemd",
    }
    assert seen.unified is None
    assert not seen.hybrid


def test_a_second_version_beside_the_first_makes_it_hybrid() -> None:
    assert layout.read_layout(V1_TABLE + HYBRID_LINE).hybrid


def test_version_two_is_one_tree() -> None:
    assert layout.read_layout(V2_TABLE) == layout.Layout(unified=Path("/sys/fs/cgroup"))


def test_a_tree_mounted_elsewhere_does_not_count() -> None:
    assert layout.read_layout(OTHER_LINE) == layout.Layout()


def test_what_a_later_mount_covers_is_not_there() -> None:
    covered = "98 23 0:77 / /sys rw,relatime - sysfs sysfs rw\n"
    assert layout.read_layout(V1_TABLE + covered) == layout.Layout()


def test_what_was_made_before_it_was_attached_is_there() -> None:
    """The kernel lists mounts by their numbers, and this one has an early one."""
    assert layout.read_layout("30" + V1_TABLE.splitlines()[2][2:] + "\n" + V1_TABLE.splitlines()[0]) == layout.Layout(
        controllers={"memory": Path("/sys/fs/cgroup/memory")}
    )


def test_what_is_mounted_on_the_same_place_covers_what_was_there() -> None:
    on_top = "40 31 0:41 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert layout.read_layout(V1_TABLE + on_top) == layout.Layout(unified=Path("/sys/fs/cgroup"))
    root = "23 1 254:0 / / rw - ext4 /dev/vda rw\n"
    assert layout.read_layout(root + V1_TABLE + on_top) == layout.Layout(unified=Path("/sys/fs/cgroup"))


def test_hierarchies_go_where_the_runtime_looks_for_them() -> None:
    top = Path("/sys/fs/cgroup")
    assert v1_places(layout.read_layout(V1_TABLE + HYBRID_LINE)) == {
        "cpu,cpuacct": top / "cpu,cpuacct",
        "memory": top / "memory",
        "systemd": top / "systemd",
    }


def test_waiting_says_what_it_last_saw() -> None:
    times = iter([0.0, 0.5, 1.1])
    pauses: list[float] = []
    with pytest.raises(DeadlineExceeded, match="still blue after 1 s"):
        files.until(
            lambda: False, timeout=1, failure=lambda: "still blue", clock=lambda: next(times), pause=pauses.append
        )
    assert pauses == [files.FIRST_PAUSE]


def test_waiting_asks_once_more_at_least() -> None:
    files.until(lambda: True, timeout=0, failure=lambda: "never", clock=lambda: 0.0)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "a\n"])
def test_a_node_name_that_is_no_directory_name_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="cannot be a node's name"):
        open_node_group(name, layout.Layout())


def test_without_control_groups_the_notes_say_what_that_means() -> None:
    group = open_node_group("n", layout.Layout())
    assert group.cgroups_path == ""
    assert group.enforceable() == frozenset()
    assert "not limited" in group.notes[0]


def test_a_read_only_tree_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: V2, path: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(V2, "create", refuse)
    group = open_node_group("n", layout.Layout(unified=tmp_path))
    assert isinstance(group.driver, Without)
    assert "Read-only file system" in group.notes[0]


def test_limits_in_a_bare_tree_are_none(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("")
    driver = V2(tmp_path, locks_memory=False)
    assert driver.enforceable("/g") == frozenset()
    assert any("memory" in note for note in driver.notes)
    assert any("CAP_SYS_RESOURCE" in note for note in driver.notes)


def test_limits_of_version_two_are_those_the_group_was_given(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g/cgroup.controllers").write_text("cpu memory pids io\n")
    (tmp_path / "g/memory.swap.max").write_text("max\n")
    driver = V2(tmp_path, locks_memory=True)
    assert driver.enforceable("/g") == {"cpu", "memory", "pids", "swap", "devices"}


def test_the_root_of_a_container_hands_down_no_more_than_it_has(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("pids\n")
    (tmp_path / "cgroup.procs").write_text("1\n")
    assert controllers_below(tmp_path) == {"cpu", "memory", "pids"}  # the root of the tree
    (tmp_path / "cgroup.type").write_text("domain\n")
    assert controllers_below(tmp_path) == {"pids"}
    notes = V2(tmp_path, locks_memory=True).notes
    assert [note.split(" here")[0].split()[-1] for note in notes] == ["cpu", "memory"]
    (tmp_path / "cgroup.procs").write_text("")
    assert V2(tmp_path, locks_memory=True).notes == ()


def test_controllers_are_handed_down_level_by_level(tmp_path: Path) -> None:
    """On plain files: this kernel's controllers may all be bound to version one."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    V2(tmp_path, locks_memory=True).create("/n/g")
    assert (tmp_path / "n/g").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+")

"""Which ids an ordinary user's node has, and what is said where it cannot be; the namespaces themselves: tests/whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfnode.host_user import forbidden_by, why_no_user_namespace
from tfnode.images.shift import IdShift
from tfnode.kernel.confinement import confined
from tfnode.process.userns import Range, container_ids, largest

MACHINE = "         0          0 4294967295\n"
ORDINARY = "         0       1000          1\n         1     100000      65536\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann:100000:65536\n", Range(100_000, 65_536)),
        ("1000:100000:65536\n", Range(100_000, 65_536)),
        ("bob:100000:65536\nann:165536:1000\nann:300000:65536\n", Range(300_000, 65_536)),
        ("anna:100000:65536\n", None),
        ("", None),
        ("ann:100000:0\nann:x:65536\nann\n\n# ann:1:2\nann:1:-2\n", None),
    ],
)
def test_the_largest_range_of_a_user_counts(text: str, expected: Range | None) -> None:
    assert largest(text, ("1000", "ann")) == expected


@pytest.mark.parametrize(
    ("uid_map", "gid_map", "expected"),
    [
        (MACHINE, MACHINE, IdShift(100_000, 100_000)),
        (ORDINARY, ORDINARY, IdShift(1, 1, 65_536)),
        (ORDINARY, "0 1000 1\n1 100000 5000\n", IdShift(1, 1, 5000)),
        ("0 1000 1\n1 100000 1000\n5000 300000 200000\n", ORDINARY, IdShift(5000, 1, 65_536)),
        ("0 100000 65536\n", "0 100000 65536\n", IdShift(1, 1, 65_535)),
        ("0 1000 1\n", "0 1000 1\n", IdShift(0, 0, 1)),
    ],
)
def test_containers_have_no_id_of_the_agents_unless_there_is_no_other(
    uid_map: str, gid_map: str, expected: IdShift
) -> None:
    assert container_ids(100_000, uid_map, gid_map) == expected


def test_ids_of_the_machine_are_told_from_those_of_a_namespace() -> None:
    assert not confined(MACHINE)
    assert confined(ORDINARY)
    assert confined("0 0 65536\n")


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("kernel/unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=10000"),
    ],
)
def test_the_setting_that_forbids_is_named_with_the_command_that_helps(
    tmp_path: Path, name: str, value: str, command: str
) -> None:
    setting = tmp_path / name
    setting.parent.mkdir()
    setting.write_text(f"{value}\n")
    message, hint = why_no_user_namespace(PermissionError(1, "Operation not permitted"), tmp_path)
    assert message == (
        "ordinary users may not have user namespaces here "
        f"({name.replace('/', '.')} is {value}): Operation not permitted"
    )
    assert hint == f"run: sudo {command}"
    setting.write_text("7\n")
    assert list(forbidden_by(tmp_path)) == []


def test_a_refusal_that_no_setting_explains_has_a_way_out_all_the_same(tmp_path: Path) -> None:
    message, hint = why_no_user_namespace(PermissionError(1, "Operation not permitted"), tmp_path)
    assert message == "the kernel gives this user no user namespace: Operation not permitted"
    assert "or run the node as root" in hint

"""config.json, as pure data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfcore.errors import BadRequest
from tfnode.cgroups import Group
from tfnode.cgroups.v2 import V2
from tfnode.cgroups.without import Without
from tfnode.images.shift import IdShift
from tfnode.runtime.accounts import Account
from tfnode.runtime.bundle import CAPABILITIES, container_config, not_as_wished, process_section, unenforced
from tfnode.runtime.interface import Access, Bind, Command, ContainerSpec, Launch, Limits, Sandbox

EVERYTHING = frozenset({"memory", "swap", "cpu", "pids", "devices"})
SPEC = ContainerSpec(
    id="c1",
    rootfs=Path("/run/root"),
    launch=Launch(("server",), env=(("A", "1"),), workdir="/srv"),
    sandbox=Sandbox("/proc/7/fd/8", "/proc/7/fd/9", IdShift(100_000, 200_000, 1000)),
    group=Group(V2(Path("/sys/fs/cgroup"), locks_memory=True), "/pytest-tf-n/g/c1"),
)


def config(spec: ContainerSpec = SPEC, account: Account | None = None, enforceable: frozenset[str] = EVERYTHING) -> Any:
    return container_config(spec, account or Account(), seccomp={"rules": []}, enforceable=enforceable, nofile=1024)


def mounts(of: Any) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in of["mounts"]}


def test_the_sandbox_is_joined_and_all_else_is_its_own() -> None:
    namespaces = {entry["type"]: entry.get("path") for entry in config()["linux"]["namespaces"]}
    assert namespaces == {
        "pid": None, "mount": None, "uts": None, "ipc": None, "cgroup": None,
        "user": "/proc/7/fd/8", "network": "/proc/7/fd/9",
    }  # fmt: skip


def test_the_maps_of_ids_are_those_of_the_sandbox() -> None:
    linux = config()["linux"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 100_000, "size": 1000}]
    assert linux["gidMappings"] == [{"containerID": 0, "hostID": 200_000, "size": 1000}]


def test_root_has_fourteen_capabilities_others_only_their_bounding_set() -> None:
    assert len(CAPABILITIES) == 14
    root = config()["process"]["capabilities"]
    assert root["effective"] == root["permitted"] == root["bounding"] == list(CAPABILITIES)
    assert root["inheritable"] == root["ambient"] == []
    other = config(account=Account(5, 5))["process"]["capabilities"]
    assert other["bounding"] == list(CAPABILITIES)
    assert other["effective"] == other["permitted"] == other["inheritable"] == other["ambient"] == []


def test_no_process_gains_privileges() -> None:
    assert config()["process"]["noNewPrivileges"] is True
    assert process_section(SPEC, Command(("x",)), Account(), nofile=1)["noNewPrivileges"] is True


def test_home_and_hostname_are_added_where_nobody_said_otherwise() -> None:
    env = config(account=Account(home="/home/x"))["process"]["env"]
    assert env == ["HOME=/home/x", "HOSTNAME=c1", "A=1"]
    said = replace(SPEC, launch=replace(SPEC.launch, env=(("HOME", "/h"), ("HOSTNAME", "n"))))
    assert config(said)["process"]["env"] == ["HOME=/h", "HOSTNAME=n"]


def test_a_host_name_is_no_longer_than_one_can_be() -> None:
    assert config(replace(SPEC, id="c" * 80))["hostname"] == "c" * 63
    assert config(replace(SPEC, hostname="db"))["hostname"] == "db"


def test_a_command_has_the_main_processs_surroundings_unless_it_wants_others() -> None:
    plain = process_section(SPEC, Command(("x",)), Account(), nofile=1)
    assert (plain["cwd"], plain["env"][-1]) == ("/srv", "A=1")
    wished = process_section(SPEC, Command(("x",), env=(("A", "2"),), workdir="tmp"), Account(), nofile=1)
    assert (wished["cwd"], wished["env"][-1]) == ("/tmp", "A=2")


@pytest.mark.parametrize("account", [Account(1000, 0), Account(0, 1000), Account(0, 0, (5, 1000))])
def test_ids_the_sandbox_has_not_got_are_refused(account: Account) -> None:
    with pytest.raises(BadRequest, match="outside"):
        config(account=account)


def test_limits_are_written_where_they_can_be_enforced() -> None:
    limited = replace(SPEC, limits=Limits(memory=64 << 20, cpus=1.5, pids=10))
    assert config(limited)["linux"]["resources"] == {
        "devices": [{"allow": False, "access": "rwm"}],
        "pids": {"limit": 10},
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "cpu": {"period": 100_000, "quota": 150_000},
    }
    assert config(limited, enforceable=frozenset({"memory"}))["linux"]["resources"] == {"memory": {"limit": 64 << 20}}
    assert config(limited, enforceable=frozenset())["linux"]["resources"] == {}


def test_what_cannot_be_enforced_is_said_once_each() -> None:
    limits = Limits(memory=64 << 20, cpus=0.5, pids=10)
    assert unenforced(limits, EVERYTHING) == ()
    notes = unenforced(limits, frozenset({"pids"}))
    assert len(notes) == 2
    assert "67108864 bytes" in notes[0]
    assert "0.5 cpus" in notes[1]
    assert unenforced(Limits(pids=0), frozenset()) == ()


@pytest.mark.parametrize(
    "limits", [Limits(memory=1), Limits(memory=-1), Limits(cpus=-1), Limits(cpus=float("inf")), Limits(shm=-1)], ids=str
)
def test_impossible_limits_are_refused(limits: Limits) -> None:
    with pytest.raises(BadRequest):
        config(replace(SPEC, limits=limits))


def test_without_control_groups_the_runtime_hears_nothing_of_them() -> None:
    bare = config(replace(SPEC, group=Group(Without(), "/pytest-tf-n/g/c1")), enforceable=frozenset())
    assert "cgroupsPath" not in bare["linux"]
    assert "/sys/fs/cgroup" not in mounts(bare)
    assert config()["linux"]["cgroupsPath"] == "/pytest-tf-n/g/c1"
    assert "ro" in mounts(config())["/sys/fs/cgroup"]["options"]


def test_shared_memory_has_room_for_a_database_by_default() -> None:
    assert f"size={256 << 20}" in mounts(config())["/dev/shm"]["options"]
    assert "size=50%" in mounts(config(replace(SPEC, limits=Limits(shm=0))))["/dev/shm"]["options"]


def test_binds_come_outermost_first_without_setuid_and_devices() -> None:
    binds = (Bind(Path("/v/b"), "/data/in"), Bind(Path("/v/a"), "/data", Access.READ_ONLY))
    found = config(replace(SPEC, binds=binds))["mounts"][-2:]
    assert [mount["destination"] for mount in found] == ["/data", "/data/in"]
    assert all({"nosuid", "nodev", "rbind"} <= set(mount["options"]) for mount in found)
    assert "ro" in found[0]["options"]
    assert "ro" not in found[1]["options"]


def test_the_kernels_files_are_out_of_sight() -> None:
    linux = config()["linux"]
    assert {"/proc/kcore", "/proc/keys", "/sys/firmware"} <= set(linux["maskedPaths"])
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(linux["readonlyPaths"])
    assert linux["seccomp"] == {"rules": []}


def test_with_a_single_id_everybody_is_root_and_it_is_said() -> None:
    spec = replace(SPEC, sandbox=Sandbox("/proc/7/fd/8", "/proc/7/fd/9", one := IdShift(0, 0, 1)))
    made = config(spec, Account(33, 44, (55,)))
    assert made["process"]["user"] == {"uid": 0, "gid": 0, "additionalGids": []}
    assert made["process"]["capabilities"]["effective"] == list(CAPABILITIES)
    assert not any(option.startswith("gid=") for option in mounts(made)["/dev/pts"]["options"])
    assert not_as_wished(one, Account()) == ()
    assert not_as_wished(SPEC.sandbox.ids, Account(33)) == ()
    assert "instead of user 33" in not_as_wished(one, Account(33))[0]

"""The seccomp section: what is in it for whom. That the kernel then refuses is tried by the runtime suite."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
from typing import Any

import pytest

from tfcore.errors import HostLacks
from tfnode.runtime.bundle import CAPABILITIES
from tfnode.runtime.seccomp import ARCHITECTURES, OWNERS, kernel_version, seccomp_section, with_one_id
from tfnode.runtime.seccomp_rules import ALWAYS, RULES

ADMIN = ("CAP_SYS_ADMIN",)


def section(capabilities: tuple[str, ...] = CAPABILITIES, machine: str = "x86_64") -> dict[str, Any]:
    return seccomp_section(capabilities, machine=machine, kernel=(6, 1))


def allowed(found: dict[str, Any]) -> set[str]:
    return {name for entry in found["syscalls"] if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]}


def test_what_is_not_named_fails_with_eperm() -> None:
    assert section()["defaultAction"] == "SCMP_ACT_ERRNO"
    assert section()["defaultErrnoRet"] == errno.EPERM


@pytest.mark.parametrize(("machine", "name"), ARCHITECTURES.items())
def test_one_architecture_is_loaded(machine: str, name: str) -> None:
    assert section(machine=machine)["architectures"] == [name]


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(HostLacks, match="riscv64"):
        section(machine="riscv64")


NAMESPACE_FAMILY = {"unshare", "setns", "mount", "umount2", "open_tree", "move_mount", "fsopen", "mount_setattr"}
NEVER = {
    "keyctl",
    "add_key",
    "request_key",
    "io_uring_setup",
    "kexec_load",
    "userfaultfd",
    "pivot_root",
    "swapon",
    "move_pages",
}


def test_namespaces_and_mounts_are_the_administrators() -> None:
    assert not NAMESPACE_FAMILY & allowed(section())
    assert allowed(section((*CAPABILITIES, *ADMIN))) >= NAMESPACE_FAMILY


def test_some_calls_are_nobodys() -> None:
    assert not NEVER & allowed(section((*CAPABILITIES, *ADMIN)))


def test_clone_may_make_no_namespace_and_clone3_does_not_exist() -> None:
    entries = {name: entry for entry in section()["syscalls"] for name in entry["names"]}
    mask = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    assert entries["clone"]["args"] == [mask]
    assert entries["clone3"] == {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYS_TIME", "settimeofday"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_MODULE", "init_module"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_a_capability_opens_its_calls(capability: str, call: str) -> None:
    assert call not in allowed(section())
    assert call in allowed(section((*CAPABILITIES, capability)))


def test_chroot_goes_with_its_capability() -> None:
    assert "chroot" in allowed(section())
    assert "chroot" not in allowed(section(()))


def test_only_the_machine_that_has_them_gets_its_own_calls() -> None:
    assert "arch_prctl" in allowed(section())
    assert "arch_prctl" not in allowed(section(machine="aarch64"))


def test_tracing_needs_a_kernel_that_judges_afterwards() -> None:
    assert "ptrace" in allowed(seccomp_section(CAPABILITIES, machine="x86_64", kernel=(4, 8)))
    assert "ptrace" not in allowed(seccomp_section(CAPABILITIES, machine="x86_64", kernel=(4, 7)))


def test_vsock_is_no_socket_for_containers() -> None:
    rules = [entry for entry in section()["syscalls"] if entry["names"] == ["socket"]]
    assert [rule["args"] for rule in rules] == [[{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]]


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-13-amd64", (6, 1)), ("5.15", (5, 15)), ("6.18.44-x", (6, 18)), ("odd", (0, 0))]
)
def test_kernel_releases_are_read(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_no_call_is_named_twice() -> None:
    assert sorted(ALWAYS.split()) == sorted(set(ALWAYS.split()))


def test_every_name_is_a_system_call() -> None:
    """But those younger than the libseccomp here, which it does not know yet."""
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("libseccomp, which knows the names, is not installed")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name
    names = {name for rule in RULES for name in rule.names.split()}
    unknown = {name for name in names if resolve(name.encode()) == -1}
    young = """
        cachestat fchmodat2 futex_requeue futex_wait futex_wake getxattrat listmount listxattrat lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr map_shadow_stack mseal removexattrat setxattrat statmount uretprobe
    """
    assert unknown <= set(young.split())


def test_with_a_single_id_a_change_of_owner_does_nothing_and_all_else_is_as_before() -> None:
    faked = with_one_id(section())
    assert allowed(section()) - allowed(faked) == set(OWNERS)
    assert [rule for rule in faked["syscalls"] if set(OWNERS) & set(rule["names"])] == [
        {"names": list(OWNERS), "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    ]
    assert "setuid" in allowed(faked)

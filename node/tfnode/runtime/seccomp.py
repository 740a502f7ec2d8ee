"""The seccomp section of an OCI config, for what a container may do and the machine it runs on. Pure.

Knows the shape (OCI runtime specification, config-linux.md); the policy itself is in `seccomp_rules`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection
from typing import Any

from tfcore.errors import HostLacks
from tfnode.runtime.seccomp_rules import RULES, Argument, Comparison, Rule

Section = dict[str, Any]

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
"""`uname -m` and what libseccomp calls it. Only the native one is loaded."""


def seccomp_section(
    capabilities: Collection[str], *, machine: str | None = None, kernel: tuple[int, int] | None = None
) -> dict[str, Any]:
    """`linux.seccomp` for containers with `capabilities` ("CAP_CHOWN", …) in their bounding set.

    Args:
        capabilities: what the container has.
        machine: as `uname -m` says; this one by default.
        kernel: (major, minor); this one's by default.

    Raises:
        HostLacks: we have no rules for this kind of machine.
    """
    machine = machine or os.uname().machine
    kernel = kernel or kernel_version(os.uname().release)
    if machine not in ARCHITECTURES:
        raise HostLacks(f"there are no seccomp rules for {machine}", hint="x86_64 and aarch64 are supported")
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": [ARCHITECTURES[machine]],
        "syscalls": [_entry(rule) for rule in RULES if _holds(rule, capabilities, machine, kernel)],
    }


OWNERS = ("chown", "fchown", "fchownat", "lchown")
"""System calls that change an owner."""


def with_one_id(section: Section) -> Section:
    """The same rules for a container that has one user and one group only: there is no owner but them, so what would change
    one does nothing and says that it has. To become another user stays an error: who asks first whether they are root, as
    many an entrypoint does, would ask for ever."""
    rules = [{**rule, "names": [name for name in rule["names"] if name not in OWNERS]} for rule in section["syscalls"]]
    nothing = {"names": list(OWNERS), "action": "SCMP_ACT_ERRNO", "errnoRet": 0}
    return {**section, "syscalls": [*(rule for rule in rules if rule["names"]), nothing]}


def kernel_version(release: str) -> tuple[int, int]:
    """(major, minor) of a kernel release such as "6.1.0-13-amd64"; (0, 0) if it is not of that kind."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _holds(rule: Rule, capabilities: Collection[str], machine: str, kernel: tuple[int, int]) -> bool:
    wanted = rule.with_capability.split()
    return (
        rule.machine in ("", machine)
        and rule.since <= kernel
        and (not wanted or any(capability in capabilities for capability in wanted))
        and rule.without_capability not in capabilities
    )


def _entry(rule: Rule) -> dict[str, Any]:
    entry: dict[str, Any] = {"names": rule.names.split(), "action": "SCMP_ACT_ALLOW"}
    if rule.refused_with is not None:
        entry |= {"action": "SCMP_ACT_ERRNO", "errnoRet": rule.refused_with}
    if rule.argument is not None:
        entry["args"] = [_condition(rule.argument)]
    return entry


def _condition(argument: Argument) -> dict[str, Any]:
    """For a masked test `value` is the mask and `valueTwo` what must be left of the argument: nothing."""
    condition = {"index": argument.index, "value": argument.value, "op": argument.test.value}
    return condition | {"valueTwo": 0} if argument.test is Comparison.NO_BIT_OF else condition

"""What an ordinary user's node wants of its machine, and what forbids it: the judgements of `tf-node check`, and the
sentence with which `tf-node serve` ends where it cannot be.

Distributions forbid ordinary users their own user namespaces in different ways; each is recognised by its setting and has
one command that helps. Whether they do is found out by trying, since a program may be exempt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tfnode.findings import Finding

if TYPE_CHECKING:
    from tfnode.process.userns import Subordinate

SYSCTLS = Path("/proc/sys")

FORBIDDING = (
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
)
"""Setting, the value that forbids (Ubuntu since 23.10; hardened kernels, Debian before 11; anywhere), one that does not."""


ENOUGH = 65_536
"""Ids that any image gets by with."""

NO_IDS = (
    "This user has no subordinate ids: in containers everything is root's; programs that insist on another user fail."
)
IDS = "install uidmap; usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER"


def forbidden_by(sysctls: Path = SYSCTLS) -> Iterator[tuple[str, str, str]]:
    """The settings that forbid an ordinary user's namespaces here: name, value, and the command that helps."""
    for name, value, other in FORBIDDING:
        path = sysctls / name.replace(".", "/")
        if path.exists() and path.read_text().strip() == value:
            yield name, value, f"sudo sysctl -w {name}={other}"


def why_no_user_namespace(refused: OSError, sysctls: Path = SYSCTLS) -> tuple[str, str]:
    """A sentence about the kernel's refusal, and what to do about it."""
    words = refused.strerror or str(refused)
    for name, value, command in forbidden_by(sysctls):
        return f"ordinary users may not have user namespaces here ({name} is {value}): {words}", f"run: {command}"
    return (
        f"the kernel gives this user no user namespace: {words}",
        "in a container, give it a seccomp profile that allows unshare and mount; or run the node as root",
    )


def commands_that_help(sysctls: Path, *, is_root: bool) -> list[str]:
    """What allows an ordinary user's namespaces here; nothing for root, who has them."""
    return [] if is_root else [command for _, _, command in forbidden_by(sysctls)]


def subordinate_ids(ids: Subordinate | None) -> Finding:
    """Has this user more ids than one? What containers do without: see `userns`."""
    name = "subordinate-ids"
    if ids is None:
        return Finding(name, False, NO_IDS, IDS, needed=False)
    count = min(ids.users.count, ids.groups.count)
    if count < ENOUGH:
        return Finding(
            name, False, f"Containers have {count} users and groups; some images need more.", IDS, needed=False
        )
    return Finding(name, True, f"Containers have {count} users and groups of their own.")


def cgroups() -> Finding:
    """Control groups are root's."""
    return Finding(
        "cgroups",
        False,
        "An ordinary user's node has no control groups: memory, processes and processor time cannot be limited, "
        "and a snapshot stops processes by signals.",
        "have the node run by root where limits matter",
        needed=False,
    )

"""What this machine can do for a node, found out by asking and trying: one `Finding` with one sentence each.

For `tf-node check`, `tf doctor` and the node's log. Nothing here changes the machine, and nothing raises: what cannot be
found out is a finding as well. Knows nothing of the daemons.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tfcore.commands import run
from tfcore.errors import TfError
from tfnode import host_user
from tfnode.findings import Finding
from tfnode.load import read_table
from tfnode.process.userns import subordinate

OLDEST_KERNEL = (5, 12)
"""mount_setattr(2), the newest call the node cannot do without."""

ROOMY_KERNEL = (6, 8)
"""overlayfs takes its layers one by one; before, all their paths must fit into one page."""

ENFORCED = {"memory": "memory", "pids": "processes", "cpu": "processor time"}
"""Control groups' controllers and what they limit."""

GIB = 2**30


def probe(root: Path, *, proc: Path = Path("/proc")) -> list[Finding]:
    """Everything about this machine and the directory the node's data shall be in; takes about a tenth of a second.

    Args:
        root: the node's directory; it need not exist yet.
        proc: where procfs is mounted.
    """
    home, is_root = nearest_existing(root), os.geteuid() == 0
    probes: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("kernel", lambda: [kernel(platform.release())]),
        ("user", lambda: [user(os.geteuid())]),
        ("subordinate-ids", lambda: () if is_root else [host_user.subordinate_ids(subordinate())]),
        ("trials", lambda: trials(_try_all(home), home, host_user.commands_that_help(proc / "sys", is_root=is_root))),
        ("user-namespaces", lambda: user_namespace_settings(proc / "sys") if is_root else ()),
        ("runtime", lambda: [runtime(version_of("crun"), version_of("runc"))]),
        ("libnftables", lambda: [library("libnftables", "libnftables.so.1", "libnftables1")]),
        ("cgroups", lambda: [cgroups(*_see_cgroups()) if is_root else host_user.cgroups()]),
        ("forwarding", lambda: [forwarding((proc / "sys/net/ipv4/ip_forward").read_text())] if is_root else ()),
        ("storage", lambda: [storage(*_see_file_system(home, proc))]),
        ("memory", lambda: [memory((proc / "meminfo").read_text())]),
        ("cores", lambda: [cores(len(os.sched_getaffinity(0)))]),
    ]
    return [finding for name, look in probes for finding in _unraised(name, look)]


def why_no_node(findings: Iterable[Finding]) -> str:
    """One sentence that says what is missing to run a node here, and the ways out; empty if nothing is."""
    lacking = [finding for finding in findings if finding.needed and not finding.ok]
    if not lacking:
        return ""
    return "This machine cannot run a node: " + "; ".join(_with_way_out(finding) for finding in lacking) + "."


def _with_way_out(finding: Finding) -> str:
    return f"{finding.sentence.rstrip('.')} ({finding.way_out})" if finding.way_out else finding.sentence.rstrip(".")


def _unraised(name: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except Exception as error:  # noqa: BLE001 - a probe that fails is an answer too
        return [Finding(name, False, f"It could not be found out: {error}.", needed=False)]


def nearest_existing(path: Path) -> Path:
    """`path`, or the nearest directory above it that exists."""
    return next(candidate for candidate in (path.absolute(), *path.absolute().parents) if candidate.is_dir())


# --- one judgement each; all but the trials and the look-ups at the end are pure


def kernel(release: str) -> Finding:
    """Is the kernel new enough? `release` as `uname -r` has it."""
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        return Finding("kernel", False, f"Linux {release} is older than {oldest}.", "install a newer kernel")
    limit = "" if version >= ROOMY_KERNEL else " Images of more than about sixty layers need 6.8."
    return Finding("kernel", True, f"Linux {release}.{limit}")


def user(uid: int) -> Finding:
    """Is this root?"""
    if uid == 0:
        return Finding("user", True, "This is root.")
    return Finding("user", True, "This is an ordinary user: a node is root of a user namespace.")


def trials(words: Mapping[str, str], home: Path, helpful: Sequence[str] = ()) -> Iterator[Finding]:
    """Namespaces, overlays and shared blocks.

    Args:
        words: the kernel's about each trial, empty where it worked.
        home: where it was tried.
        helpful: commands that allow namespaces here.
    """
    anywhere = "in a container, give it CAP_SYS_ADMIN and a seccomp profile that allows unshare and mount"
    inside = f"run: {'; '.join(helpful)}" if helpful else anywhere
    for name, what in (("namespaces", "pid, mount and network"), ("user_namespace", "user")):
        title = name.replace("_", "-")
        if refusal := words[name]:
            yield Finding(title, False, f"The kernel refuses {what} namespaces: {refusal}.", inside)
        else:
            yield Finding(title, True, f"The kernel grants {what} namespaces.")
    yield _overlay(words["overlay"], home)
    yield _reflink(words["reflink"], home)


def _overlay(refusal: str, home: Path) -> Finding:
    if not refusal:
        return Finding("overlay", True, f"Overlays can be mounted on {home}.")
    return Finding(
        "overlay",
        False,
        f"No overlay can be mounted on {home}: {refusal}.",
        'put the node\'s directory on ext4, xfs or btrfs; `storage = "directory"` works anywhere, by copying',
        needed=False,
    )


def _reflink(refusal: str, home: Path) -> Finding:
    if not refusal:
        return Finding("reflink", True, f"Files on {home} can share blocks: snapshots of large files are instant.")
    return Finding(
        "reflink",
        False,
        f"Files on {home} cannot share blocks: a snapshot copies the files that were changed.",
        "for large files put the node's directory on xfs (with reflink) or btrfs",
        needed=False,
    )


def user_namespace_settings(sysctls: Path) -> Iterator[Finding]:
    """The settings that forbid user namespaces: the limit to everybody, the others to ordinary users only."""
    if _setting(sysctls / "user/max_user_namespaces") == "0":
        yield Finding(
            "max-user-namespaces",
            False,
            "User namespaces are forbidden (user.max_user_namespaces is 0).",
            "sysctl -w user.max_user_namespaces=10000",
        )
    for name, forbidding in (("apparmor_restrict_unprivileged_userns", "1"), ("unprivileged_userns_clone", "0")):
        if _setting(sysctls / "kernel" / name) == forbidding:
            yield Finding(
                name.replace("_", "-"),
                False,
                f"Ordinary users may not have user namespaces (kernel.{name} is {forbidding}); root may.",
                f"sysctl -w kernel.{name}={1 - int(forbidding)}, if ordinary users shall run nodes",
                needed=False,
            )


def _setting(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def runtime(crun: str, runc: str) -> Finding:
    """Is there an OCI runtime? The versions as they print them, empty if not installed."""
    if crun:
        return Finding("runtime", True, f"Containers are run by {crun}.")
    if runc:
        return Finding("runtime", True, f"Containers are run by {runc}; crun would start them faster.")
    return Finding("runtime", False, "There is neither crun nor runc.", "apt-get install crun")


def library(name: str, file: str, package: str) -> Finding:
    """Can the shared library `file` be loaded?"""
    try:
        ctypes.CDLL(file)
    except OSError:
        return Finding(name, False, f"The library {file} is missing.", f"apt-get install {package}")
    return Finding(name, True, f"{file} is there.")


def cgroups(layout: str, controllers: Collection[str]) -> Finding:
    """What can be limited? `layout` in words, `controllers` as the kernel names them."""
    limited = [what for controller, what in ENFORCED.items() if controller in controllers]
    lacking = [what for controller, what in ENFORCED.items() if controller not in controllers]
    if not lacking:
        return Finding("cgroups", True, f"{layout}: {_listed(limited)} can be limited.")
    way_out = "boot with systemd.unified_cgroup_hierarchy=1, or delegate these controllers"
    return Finding("cgroups", False, f"{layout}: {_listed(lacking)} cannot be limited.", way_out, needed=False)


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def forwarding(ip_forward: str) -> Finding:
    """Does the host pass packets on? Text of net/ipv4/ip_forward."""
    if ip_forward.strip() == "1":
        return Finding("forwarding", True, "The host forwards packets: containers can reach beyond it.")
    return Finding(
        "forwarding",
        False,
        "The host forwards no packets: containers reach each other and their clients, and nothing beyond.",
        "sysctl -w net.ipv4.ip_forward=1, or start the node with outgoing=on",
        needed=False,
    )


def storage(home: Path, fstype: str, refusal: str = "") -> Finding:
    """Is this a file system to keep a node's data on? `refusal` says why root may not write to it."""
    if refusal:
        return Finding("storage", False, f"{home} cannot be written to: {refusal}.", "choose another directory")
    if fstype in ("tmpfs", "ramfs"):
        sentence = f"{home} is on {fstype}: what a node keeps there takes memory and is gone with the next boot."
        return Finding("storage", False, sentence, "choose another directory", needed=False)
    return Finding("storage", True, f"{home} is on {fstype or 'an unknown file system'}.")


def file_system_of(mountinfo: str, path: Path) -> str:
    """The type of the file system that holds `path` (absolute), from a mount table as in proc_pid_mountinfo(5)."""
    best, fstype = Path("/"), ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        if path.is_relative_to(point) and point.is_relative_to(best):
            best, fstype = point, after.split(" ")[0]
    return fstype


def _unescaped(text: str) -> str:
    """The kernel writes blanks and the like as three octal digits, byte by byte."""
    raw = re.sub(rb"\\([0-7]{3})", lambda digits: bytes([int(digits[1], 8)]), os.fsencode(text))
    return os.fsdecode(raw)


def memory(meminfo: str) -> Finding:
    """How much memory is there? Text of /proc/meminfo."""
    table = read_table(meminfo)
    total, available = (table[name] * 1024 for name in ("MemTotal", "MemAvailable"))
    sentence = f"{total / GIB:.1f} GiB of memory, {available / GIB:.1f} available."
    if total < GIB:
        return Finding("memory", False, sentence, "a node is of little use below 1 GiB", needed=False)
    return Finding("memory", True, sentence)


def cores(number: int) -> Finding:
    """How many processors may we use?"""
    return Finding("cores", True, f"{number} cores." if number > 1 else "One core.")


# --- look-ups


def version_of(program: str) -> str:
    """The first line of `program --version`; empty if it is not installed or does not run."""
    if shutil.which(program) is None:
        return ""
    try:
        return run([program, "--version"], timeout=10).decode("utf-8", "replace").split("\n", 1)[0].strip()
    except TfError:
        return ""


def _see_file_system(home: Path, proc: Path) -> tuple[Path, str, str]:
    refusal = "it is mounted read-only" if os.geteuid() == 0 else "it is not this user's"
    fstype = file_system_of((proc / "self/mountinfo").read_text(), home)
    return home, fstype, "" if os.access(home, os.W_OK) else refusal


def _see_cgroups() -> tuple[str, Collection[str]]:
    from tfnode.cgroups import layout
    from tfnode.cgroups.v2 import controllers_below

    seen = layout.see()
    if seen.controllers:
        return "Control groups version 1" + (
            " with a version 2 tree beside it" if seen.hybrid else ""
        ), seen.controllers
    if seen.unified is None:
        return "No control groups are mounted", ()
    return "Control groups version 2", controllers_below(seen.unified)


def _try_all(home: Path) -> dict[str, str]:
    with tempfile.TemporaryDirectory(dir=home, prefix=".tf-node-trial-") as scratch:
        words = run([sys.executable, "-m", "tfnode.process.trial", scratch], timeout=30)
    found: dict[str, str] = json.loads(words)
    return found

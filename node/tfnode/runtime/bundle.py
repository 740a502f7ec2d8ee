"""A container as the OCI runtime specification writes it down: `config.json`, and the process of an `exec`. Pure.

What every container gets: namespaces of its own for processes, mounts, host name, IPC and control groups, and the
sandbox's for users and network; Docker's fourteen capabilities, none of them inheritable or ambient; no way to gain
others (no_new_privs); our seccomp rules; the kernel's private files out of sight. Knows no files and no programs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfcore.errors import BadRequest
from tfnode.images.shift import IdShift
from tfnode.runtime.accounts import Account
from tfnode.runtime.console import Console
from tfnode.runtime.interface import Access, Bind, Command, ContainerSpec, Limits
from tfnode.runtime.launch import absolute, checked_argv, checked_env

Section = dict[str, Any]

OCI_VERSION = "1.0.2"

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
"""Docker's default set."""

MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""As Docker has them: files that tell about, or change, the whole machine."""

OWN_NAMESPACES = ("pid", "mount", "uts", "ipc", "cgroup")
HOSTNAME_LENGTH = 63
CPU_PERIOD = 100_000
FIRST_TO_GO = 500
"""oom_score_adj (proc(5)): a machine that is out of memory ends containers' processes before those that look after them."""
"""Microseconds in which a container may use its share of the processors."""
LEAST_MEMORY = 6 * 1024 * 1024
"""Docker's minimum: with less, not even the runtime gets as far as the program."""
LEAST_CPUS = 0.01
TTY_GROUP = 5
TERMINALS = 256
"""In one container at a time: the machine has some thousand for all of them (kernel.pty.max)."""


def container_config(
    spec: ContainerSpec,
    account: Account,
    *,
    seccomp: Section,
    enforceable: Collection[str],
    nofile: int,
    console: Console | None = None,
) -> Section:
    """The whole `config.json`.

    Args:
        spec: the container.
        account: whom its main process runs as.
        seccomp: the rules, as `seccomp_section` gives them.
        enforceable: what the container's control group can limit.
        nofile: open files a process may have.
        console: the terminal its main process is to have.

    Raises:
        BadRequest: a limit too small, a target that is no absolute path, an id the sandbox has not got.
    """
    main = Command(spec.launch.argv, workdir=spec.launch.workdir)
    return {
        "ociVersion": OCI_VERSION,
        "process": process_section(spec, main, account, nofile=nofile, console=console),
        "root": {"path": str(spec.rootfs), "readonly": False},
        "hostname": hostname_of(spec),
        "mounts": [*_system_mounts(spec), *(_bind_mount(bind) for bind in _outermost_first(spec.binds))],
        "linux": {
            "namespaces": _namespaces(spec),
            **_id_maps(spec.sandbox.ids),
            **_cgroup(spec, enforceable),
            "seccomp": seccomp,
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
        },
    }


def process_section(
    spec: ContainerSpec, command: Command, account: Account, *, nofile: int, console: Console | None = None
) -> Section:
    """A process of the container: the main one's part of the config, or all that an `exec` needs.

    Raises:
        BadRequest: nothing to run, an impossible environment, or a user or group id that the sandbox has not got.
    """
    account = inside(spec.sandbox.ids, account)
    spec.sandbox.ids.uid(account.uid)
    for group in (account.gid, *account.groups):
        spec.sandbox.ids.gid(group)
    env = {"HOME": account.home, "HOSTNAME": hostname_of(spec), **dict(spec.launch.env), **dict(command.env)}
    return {
        **_terminal(console),
        "user": {"uid": account.uid, "gid": account.gid, "additionalGids": list(account.groups)},
        "args": list(checked_argv(command.argv)),
        "env": [f"{name}={value}" for name, value in checked_env(env.items())],
        "cwd": absolute(command.workdir) if command.workdir else spec.launch.workdir,
        "capabilities": _capabilities(account),
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": nofile, "hard": nofile}],
        "noNewPrivileges": True,
        "oomScoreAdj": FIRST_TO_GO,
    }


def _terminal(console: Console | None) -> Section:
    if console is None:
        return {"terminal": False}
    return {"terminal": True, "consoleSize": {"width": console.columns, "height": console.rows}}


def inside(ids: IdShift, account: Account) -> Account:
    """Who that is in a container with these ids."""
    return replace(account, uid=0, gid=0, groups=()) if ids.is_single else account


def hostname_of(spec: ContainerSpec) -> str:
    """What the container calls itself."""
    return (spec.hostname or spec.id)[:HOSTNAME_LENGTH]


def unenforced(limits: Limits, enforceable: Collection[str]) -> tuple[str, ...]:
    """A sentence for each limit asked for that the control group cannot keep."""
    asked = {
        "memory": f"memory is not limited to {limits.memory} bytes" if limits.memory else "",
        "cpu": f"processor time is not limited to {limits.cpus:g} cpus" if limits.cpus else "",
        "pids": f"processes are not limited to {limits.pids}" if limits.pids else "",
    }
    return tuple(
        f"{sentence}: no {name} controller for our control groups"
        for name, sentence in asked.items()
        if sentence and name not in enforceable
    )


def not_as_wished(ids: IdShift, account: Account) -> tuple[str, ...]:
    """A sentence if the main process cannot run as this account."""
    if inside(ids, account) == account:
        return ()
    return (f"it runs as root instead of user {account.uid}: the node's user has no subordinate ids for others",)


def _capabilities(account: Account) -> Section:
    """Others than root start with none, but setuid programs and file capabilities could give them these (bounding set),
    were it not for no_new_privs."""
    held = list(CAPABILITIES) if account.is_root else []
    return {
        "bounding": list(CAPABILITIES),
        "effective": held,
        "permitted": held,
        "inheritable": [],
        "ambient": [],
    }


def _namespaces(spec: ContainerSpec) -> list[Section]:
    joined = [{"type": "user", "path": spec.sandbox.user}, {"type": "network", "path": spec.sandbox.network}]
    return [*({"type": kind} for kind in OWN_NAMESPACES), *joined]


def _id_maps(ids: IdShift) -> Section:
    """The namespace has its maps already. crun does not mind; runc will not join it unless told (tried with 1.1)."""
    return {
        "uidMappings": [{"containerID": 0, "hostID": ids.uid_base, "size": ids.count}],
        "gidMappings": [{"containerID": 0, "hostID": ids.gid_base, "size": ids.count}],
    }


def _cgroup(spec: ContainerSpec, enforceable: Collection[str]) -> Section:
    """crun 1.8 insists on a `resources` section, be it empty, or makes device rules of its own."""
    path = spec.group.cgroups_path
    return {"resources": _resources(spec.limits, enforceable), **({"cgroupsPath": path} if path else {})}


def _resources(limits: Limits, enforceable: Collection[str]) -> Section:
    _check_limits(limits)
    resources: Section = {}
    if "devices" in enforceable:
        resources["devices"] = [{"allow": False, "access": "rwm"}]
    if limits.pids and "pids" in enforceable:
        resources["pids"] = {"limit": limits.pids}
    if limits.memory and "memory" in enforceable:
        swap = {"swap": limits.memory} if "swap" in enforceable else {}
        resources["memory"] = {"limit": limits.memory, **swap}
    if limits.cpus and "cpu" in enforceable:
        resources["cpu"] = {"period": CPU_PERIOD, "quota": round(limits.cpus * CPU_PERIOD)}
    return resources


def _check_limits(limits: Limits) -> None:
    if limits.memory and limits.memory < LEAST_MEMORY:
        raise BadRequest(f"a memory limit of {limits.memory} bytes is too small", hint=f"at least {LEAST_MEMORY}")
    if limits.cpus and not LEAST_CPUS <= limits.cpus < float("inf"):
        raise BadRequest(f"{limits.cpus:g} cpus cannot be had", hint=f"at least {LEAST_CPUS}")
    if limits.pids < 0 or limits.memory < 0 or limits.shm < 0:
        raise BadRequest("a limit cannot be negative", hint="0 is no limit")


def _system_mounts(spec: ContainerSpec) -> list[Section]:
    quiet = ("nosuid", "noexec", "nodev")
    shm = f"size={spec.limits.shm}" if spec.limits.shm else "size=50%"
    mounts = [
        _mount("/proc", "proc", *quiet),
        _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount("/dev/pts", "devpts", *_terminals(spec.sandbox.ids)),
        _mount("/dev/shm", "tmpfs", *quiet, "mode=1777", shm),
        _mount("/dev/mqueue", "mqueue", *quiet),
        _mount("/sys", "sysfs", *quiet, "ro"),
    ]
    if spec.group.cgroups_path:
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", *quiet, "relatime", "ro"))
    return mounts


def _terminals(ids: IdShift) -> tuple[str, ...]:
    """Ours alone, as Docker has them but for how many."""
    tty = () if ids.is_single else (f"gid={TTY_GROUP}",)
    return "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", f"max={TERMINALS}", *tty


def _mount(target: str, kind: str, *options: str) -> Section:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _outermost_first(binds: tuple[Bind, ...]) -> list[Bind]:
    """So that none is hidden by one mounted above it afterwards."""
    return sorted(binds, key=lambda bind: Path(bind.target).parts)


def _bind_mount(bind: Bind) -> Section:
    if not bind.target.startswith("/") or ".." in Path(bind.target).parts or Path(bind.target) == Path("/"):
        raise BadRequest(f"{bind.target!r} is no place for a mount", hint="an absolute path below /, without ..")
    options = ["rbind", "nosuid", "nodev", "rprivate", *(["ro"] if bind.access is Access.READ_ONLY else [])]
    return {"destination": bind.target, "type": "bind", "source": str(bind.source), "options": options}

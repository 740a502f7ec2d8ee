"""The kernel's network settings under /proc/sys/net, which are those of the calling thread's network namespace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tfcore.errors import HostLacks

NET = Path("/proc/sys/net")


def read(name: str) -> str:
    """The value of `name`, e.g. `ipv4/ip_forward`; empty where the kernel has no such setting."""
    try:
        return (NET / name).read_text().strip()
    except FileNotFoundError:
        return ""


def write(settings: Mapping[str, str]) -> None:
    """Set what is not yet as wanted. A setting the kernel has not got is passed over: what it governs is not there
    either.

    Raises:
        HostLacks: a setting cannot be changed.
    """
    for name, wanted in settings.items():
        if read(name) not in ("", wanted):
            _write(name, wanted)


def _write(name: str, wanted: str) -> None:
    try:
        (NET / name).write_text(wanted)
    except OSError as refused:
        raise HostLacks(
            f"{NET / name} cannot be set to {wanted}: {refused.strerror}",
            hint="run as root, where /proc/sys is writable (not inside an unprivileged container)",
        ) from refused

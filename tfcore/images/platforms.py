"""Operating system and processor of an image, in the words of OCI (which are Go's), and the machine's own.

The names are those of the OCI image index specification, `platform`; knows nothing of manifests.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from tfcore.errors import BadRequest

_MACHINES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "ppc64le": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}

_IMPLIED = {"amd64": "v1", "arm64": "v8"}
"""Variants that say no more than the architecture does."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform, e.g. linux/amd64 or linux/arm/v7. Empty fields are unknown, not wildcards."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def same_machine(self, other: Platform) -> bool:
        """True if both name the same system and architecture; variants may differ."""
        return (self.os, self.architecture) == (other.os, other.architecture)

    @property
    def plain(self) -> Platform:
        """Without a variant that goes without saying (arm64/v8 is arm64)."""
        implied = _IMPLIED.get(self.architecture) == self.variant
        return Platform(self.os, self.architecture, "") if implied else self


def parse_platform(text: str) -> Platform:
    """`linux/arm64` or `linux/arm/v7` as a `Platform`.

    Raises:
        BadRequest: not two or three parts.
    """
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise BadRequest(f"{text!r} is not a platform", hint="write linux/amd64, linux/arm64 or linux/arm/v7")
    return Platform(*parts).plain


def platform_of_machine(machine: str) -> Platform:
    """The platform of a kernel's machine name (`uname -m`); an unknown name is taken for an architecture."""
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def this_platform() -> Platform:
    """The platform of the machine we run on, seen as Linux."""
    return platform_of_machine(os.uname().machine)

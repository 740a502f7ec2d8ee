"""Makes root file systems from the packages of the machine's own distribution, with mmdebstrap.

Uses the machine's own package sources, keyrings and proxies, so whatever lets `apt-get install` work here lets this
work. Knows nothing of images.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EPOCH = "1735689600"  # 2025-01-01: no generated file is younger, so the same packages give the same layers
SUPPORTED = ("debian", "ubuntu")
# The parts of apt's configuration that decide whether packages can be fetched at all.
FETCH_SETTINGS = re.compile(r"Acquire::(https?|ftp|Check-|Retries|ForceIPv|Allow|Max-)[^ ]* \"[^\"]+\";")

STEP = re.compile(r"I: ((?:running|downloading|extracting|installing|creating) [^.]*)")  # the long ones


class CannotBuildError(Exception):
    """The images cannot be built on this machine; the text names the cause and the way out."""


@dataclass(frozen=True)
class Distribution:
    """The machine's distribution: `name` for people, `codename` and `architecture` as its packages spell them."""

    identifier: str
    name: str
    codename: str
    architecture: str


def of_this_machine() -> Distribution:
    """Read the distribution from os-release; raises CannotBuildError if it is neither Debian nor Ubuntu nor like them."""
    facts = platform.freedesktop_os_release()
    family = [facts["ID"], *facts.get("ID_LIKE", "").split()]
    if not set(family).intersection(SUPPORTED) or not shutil.which("dpkg"):
        raise CannotBuildError(
            f"the example images are built from Debian or Ubuntu packages, but this is {facts['PRETTY_NAME']}: "
            "build them on one of these and set TF_EXAMPLE_IMAGES to a copy of the directory"
        )
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
    ).stdout.strip()
    codename = facts.get("UBUNTU_CODENAME") or facts.get("VERSION_CODENAME", "")
    return Distribution(facts["ID"], facts["PRETTY_NAME"], codename, architecture)


def source_files(codename: str) -> list[str]:
    """The files of /etc/apt that name the distribution's own suites, in apt's order; empty lets mmdebstrap choose."""
    fields = "$(SOURCESENTRY)|$(RELEASE)|$(COMPONENT)"
    listing = apt(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"])
    files = []
    for line in listing.splitlines():
        entry, release, component = line.split("|")
        if component == "main" and re.fullmatch(rf"{re.escape(codename)}(-updates|-security)?", release):
            files.append(entry.rpartition(":")[0])
    return list(dict.fromkeys(files))


def fetch_settings() -> list[str]:
    """The machine's proxies and the like, as lines of apt's configuration."""
    return [line for line in apt(["apt-config", "dump"]).splitlines() if FETCH_SETTINGS.fullmatch(line)]


def apt(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def bootstrap(distribution: Distribution, target: Path, packages: list[str], progress: Callable[[str], None]) -> None:
    """Write the root file system of the essential packages plus `packages` to the tar archive `target`.

    `progress` is told each step. Raises CannotBuildError with mmdebstrap's last words.
    """
    command = [*privileges(), "mmdebstrap", "--variant=essential", "--format=tar"]
    command += [f"--aptopt={line}" for line in fetch_settings()]
    command += [f"--include={','.join(packages)}"] if packages else []
    command += [distribution.codename, "-", *source_files(distribution.codename)]
    words: list[str] = []
    with target.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        assert process.stderr is not None
        for line in process.stderr:
            words.append(line.rstrip())
            if step := STEP.match(line):
                progress(step[1])
    if process.wait() != 0:
        last = "\n  ".join(words[-12:])
        raise CannotBuildError(f"mmdebstrap failed (exit status {process.returncode}); its last words:\n  {last}")


def privileges() -> list[str]:
    """How to start mmdebstrap: as root itself, through sudo, or in a user namespace of its own."""
    epoch = f"SOURCE_DATE_EPOCH={EPOCH}"
    if os.geteuid() != 0 and not own_user_namespace() and shutil.which("sudo"):
        return ["sudo", "env", epoch]
    return ["env", epoch]


def own_user_namespace() -> bool:
    """Whether mmdebstrap can do without root: it needs a user namespace and a range of user numbers for it."""
    if not shutil.which("newuidmap") or not Path("/etc/subuid").exists():
        return False
    user = pwd.getpwuid(os.geteuid())
    owners = {line.split(":")[0] for line in Path("/etc/subuid").read_text().splitlines()}
    allowed = subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False)
    return bool(owners & {user.pw_name, str(user.pw_uid)}) and allowed.returncode == 0

"""The set-up scripts on machines that lack things; apt-get and the like are stand-ins that write down what they are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED_BY_THE_SCRIPTS = ("bash", "cat", "dirname", "env", "grep", "sed", "sh", "touch")


@dataclass(frozen=True)
class Machine:
    """A PATH of our own making; `sbin` of the real machine is still seen, nothing the scripts look for is in there."""

    programs: Path

    def has(self, program: str, body: str = "") -> None:
        path = self.programs / program
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def lacks(self, program: str) -> None:
        (self.programs / program).unlink()

    @property
    def cache(self) -> Path:
        return self.programs / "cache"

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / script, *arguments],
            env={"PATH": str(self.programs), "XDG_CACHE_HOME": str(self.cache), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def apt_commands(self) -> list[str]:
        log = self.programs / "apt.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Root's, with everything installed but a Python."""
    made = Machine(tmp_path)
    for program in NEEDED_BY_THE_SCRIPTS:
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    programs = (
        "crun newuidmap mmdebstrap runc curl ip nft iptables tmux zstd mkfs.btrfs mkfs.xfs man "
        "mandoc zsh fish vmstat ssh rsync"
    )
    for program in programs.split():
        made.has(program)
    _put(made.cache / "pytest-tf/zfs-fuse/sbin/zfs-fuse")
    made.has("ldconfig", "echo 'libnftables.so.1 (libc6)'; echo 'libsodium.so.23 (libc6)'")
    made.has("id", "echo 0")
    made.has("apt-get", f'echo "$*" >> {tmp_path}/apt.log')
    made.has("apt-cache", "exit 1")
    return made


def _put(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.touch()


def test_a_complete_machine_is_left_alone(machine: Machine) -> None:
    result = machine.run("node/install-packages.sh", "node", "images", "tests")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.apt_commands == []


def test_only_what_is_missing_is_installed_and_its_reason_said(machine: Machine) -> None:
    machine.lacks("crun")
    machine.has("ldconfig", "echo 'libsodium.so.23 (libc6)'")
    result = machine.run("node/install-packages.sh", "node", "images")
    assert result.returncode == 0
    assert "crun is missing: runs the containers" in result.stdout
    assert "libnftables1 is missing: loads the firewall" in result.stdout
    update, install = machine.apt_commands
    assert update.split()[-1:] == ["-qq"]
    assert install.split()[-2:] == ["crun", "libnftables1"]


def test_an_ordinary_user_goes_through_sudo(machine: Machine) -> None:
    machine.lacks("crun")
    machine.has("id", "echo 1000")
    machine.has("sudo", f'echo "sudo $1" >> {machine.programs}/apt.log; exec "$@"')
    assert machine.run("node/install-packages.sh", "node").returncode == 0
    assert "sudo apt-get" in machine.apt_commands
    assert "sudo env" in machine.apt_commands


def test_without_root_and_sudo_the_command_to_run_is_said(machine: Machine) -> None:
    machine.lacks("crun")
    machine.has("id", "echo 1000")
    result = machine.run("node/install-packages.sh", "node")
    assert result.returncode == 1
    assert "apt-get install crun" in result.stderr
    assert machine.apt_commands == []


def test_other_distributions_are_told_what_they_need(machine: Machine) -> None:
    machine.lacks("crun")
    machine.lacks("apt-get")
    result = machine.run("node/install-packages.sh", "node")
    assert result.returncode == 1
    assert "neither Debian nor Ubuntu" in result.stderr
    assert "crun" in result.stderr


def test_a_failed_installation_fails_the_script(machine: Machine) -> None:
    machine.lacks("crun")
    machine.has("apt-get", 'echo "E: no such luck" >&2; exit 100')
    result = machine.run("node/install-packages.sh", "node")
    assert result.returncode == 100
    assert "no such luck" in result.stderr


def test_zfs_in_user_space_is_unpacked_and_not_installed(machine: Machine) -> None:
    shutil.rmtree(machine.cache)
    machine.has(
        "apt-cache", 'case "$1" in depends) echo "  Depends: libaio1t64"; echo "  Depends: libfuse2t64" ;; esac'
    )
    machine.has("apt-get", f'echo "$*" >> {machine.programs}/apt.log; touch zfs-fuse.deb')
    machine.has("dpkg", 'mkdir -p "$3/sbin"; echo program > "$3/sbin/zfs-fuse"')
    for program in ("mkdir", "mv", "rm"):
        (machine.programs / program).symlink_to(str(shutil.which(program)))
    for _ in range(2):
        result = machine.run("node/install-packages.sh", "tests")
        assert result.returncode == 0, result.stderr
    (download,) = machine.apt_commands
    assert download.split()[0] == "download"
    assert download.split()[-3:] == ["zfs-fuse", "libaio1t64", "libfuse2t64"]
    assert (machine.cache / "pytest-tf/zfs-fuse/sbin/zfs-fuse").read_text() == "program\n"
    assert not list(machine.cache.rglob("*.deb"))


def test_a_distribution_without_zfs_in_user_space_goes_without(machine: Machine) -> None:
    shutil.rmtree(machine.cache)
    result = machine.run("node/install-packages.sh", "tests")
    assert result.returncode == 0
    assert "tests of the zfs driver will be skipped" in result.stdout


def test_unknown_group_is_refused_with_the_known_ones(machine: Machine) -> None:
    result = machine.run("node/install-packages.sh", "nodes")
    assert result.returncode == 1
    assert "node, images, python, tests" in result.stderr


def test_a_python_without_venv_gets_it(machine: Machine) -> None:
    machine.has("python3.12", 'case "$2" in *ensurepip*) exit 1 ;; *print*) echo 3.12 ;; esac')
    assert machine.run("node/install-packages.sh", "python").returncode == 0
    assert machine.apt_commands[-1].split()[-1] == "python3.12-venv"


def test_a_machine_without_python_gets_the_distribution_s_newest(machine: Machine) -> None:
    machine.has("apt-cache", 'case "$2" in python3.1[12]-venv) exit 0 ;; *) exit 1 ;; esac')
    assert machine.run("node/install-packages.sh", "python").returncode == 0
    assert machine.apt_commands[-1].split()[-2:] == ["python3.12", "python3.12-venv"]


def test_no_python_anywhere_is_one_sentence(machine: Machine) -> None:
    result = machine.run("node/install-packages.sh", "python")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("packages: Python 3.11 or newer is needed")


def test_the_newest_python_that_runs_is_taken(machine: Machine) -> None:
    machine.has("python3.13", "exit 127")  # as a version manager's command for a version that is switched off
    machine.has("python3.12")
    machine.has("python3.11")
    assert machine.run(".ci/find-python").stdout == f"{machine.programs}/python3.12\n"


def test_a_named_python_comes_first(machine: Machine) -> None:
    machine.has("python3.13")
    found = machine.run(".ci/find-python", PYTHON=sys.executable).stdout.strip()
    assert os.path.samefile(found, sys.executable)


def test_a_python_too_old_is_none(machine: Machine) -> None:
    machine.has("python3", "exit 1")
    result = machine.run(".ci/find-python")
    assert (result.returncode, result.stdout) == (1, "")

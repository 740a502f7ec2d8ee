"""What a machine can do for a node and what it has free: judgements on made-up machines, and both on this one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.as_user import AS_NOBODY, NOBODY
from tfcore.clock import JumpingClock
from tfnode import host, load
from tfnode.findings import Finding

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's machine is judged otherwise")

FINE = {"namespaces": "", "user_namespace": "", "overlay": "", "reflink": ""}


def judged(findings: list[Finding]) -> dict[str, bool]:
    return {finding.name: finding.ok for finding in findings}


@as_root
def test_this_machine_can_run_a_node_and_is_left_as_it_was(tmp_path: Path) -> None:
    findings = host.probe(tmp_path / "not" / "yet" / "there")
    assert host.why_no_node(findings) == ""
    names = [finding.name for finding in findings]
    assert len(names) == len(set(names))
    assert {"kernel", "user", "namespaces", "user-namespace", "overlay", "reflink", "runtime"} <= set(names)
    assert {"libnftables", "cgroups", "forwarding", "storage", "memory", "cores"} <= set(names)
    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@as_root
def test_every_finding_is_a_sentence_and_every_lack_has_a_way_out(tmp_path: Path) -> None:
    for finding in host.probe(tmp_path):
        assert finding.sentence.endswith(".")
        assert "could not be found out" not in finding.sentence
        assert finding.ok or finding.way_out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("forbidden", [False, True], ids=["as_it_is", "without_user_namespaces"])
def test_an_ordinary_user_is_told_what_helps(forbidden: bool) -> None:
    here = [sys.executable, "-m", "tests.support.no_user_namespaces"] if forbidden else []
    with tempfile.TemporaryDirectory() as home:
        shutil.chown(home, NOBODY, NOBODY)
        command = [*here, *AS_NOBODY, sys.executable, "-m", "tfnode.cli", "check", "--root", home]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    helpful = "run: sudo sysctl -w user.max_user_namespaces=10000"
    assert (done.returncode, helpful in done.stdout) == ((1, True) if forbidden else (0, False)), done
    assert "This is an ordinary user: a node is root of a user namespace." in done.stdout
    assert "install uidmap; usermod --add-subuids" in done.stdout


def test_a_machine_that_tells_nothing_raises_nothing(tmp_path: Path) -> None:
    findings = host.probe(tmp_path, proc=tmp_path)
    unknown = {finding.name for finding in findings if "could not be found out" in finding.sentence}
    assert unknown == {"forwarding", "storage", "memory"}
    assert not any(finding.needed for finding in findings if finding.name in unknown)


def test_all_that_is_missing_makes_one_sentence() -> None:
    findings = [
        Finding("a", False, "No a.", "get a"),
        Finding("b", True, "b."),
        Finding("c", False, "No c.", needed=False),
        Finding("d", False, "No d."),
    ]
    assert host.why_no_node(findings) == "This machine cannot run a node: No a (get a); No d."


@pytest.mark.parametrize(
    ("release", "ok", "limited"),
    [
        ("5.10.0-28-amd64", False, False),
        ("5.15.0-105-generic", True, True),
        ("6.8.0-31-generic", True, False),
        ("6.18.44", True, False),
        ("7.0-rc1", True, False),
        ("nonsense", False, False),
    ],
)
def test_kernel(release: str, *, ok: bool, limited: bool) -> None:
    finding = host.kernel(release)
    assert finding.ok is ok
    assert ("6.8" in finding.sentence.removeprefix(f"Linux {release}")) is limited


def test_refused_trials_carry_the_kernels_words() -> None:
    words = FINE | {"namespaces": "Operation not permitted", "reflink": "Operation not supported"}
    findings = list(host.trials(words, Path("/data")))
    assert judged(findings) == {"namespaces": False, "user-namespace": True, "overlay": True, "reflink": False}
    assert "Operation not permitted" in findings[0].sentence
    assert [finding.name for finding in findings if finding.needed and not finding.ok] == ["namespaces"]


def test_without_overlay_there_is_the_directory_driver() -> None:
    [overlay] = [f for f in host.trials(FINE | {"overlay": "Invalid argument"}, Path("/data")) if f.name == "overlay"]
    assert (overlay.ok, overlay.needed) == (False, False)
    assert "directory" in overlay.way_out


@pytest.mark.parametrize(
    ("file", "value", "name", "needed"),
    [
        ("user/max_user_namespaces", "0", "max-user-namespaces", True),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor-restrict-unprivileged-userns", False),
        ("kernel/unprivileged_userns_clone", "0", "unprivileged-userns-clone", False),
    ],
)
def test_settings_against_user_namespaces(tmp_path: Path, file: str, value: str, name: str, *, needed: bool) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text("96365\n" if file.startswith("user") else f"{1 - int(value)}\n")
    assert list(host.user_namespace_settings(tmp_path)) == []
    path.write_text(f"{value}\n")
    [finding] = host.user_namespace_settings(tmp_path)
    assert (finding.name, finding.ok, finding.needed) == (name, False, needed)


def test_runtimes() -> None:
    assert "crun version 1.8.1" in host.runtime("crun version 1.8.1", "runc version 1.1.5").sentence
    assert host.runtime("", "runc version 1.1.5").ok
    assert host.runtime("", "").way_out == "apt-get install crun"


def test_program_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert host.version_of("no-such-program") == ""
    assert host.version_of("broken") == ""


def test_library() -> None:
    assert host.library("libc", "libc.so.6", "libc6").ok
    missing = host.library("x", "libno-such-thing.so.9", "libno-such-thing9")
    assert (missing.ok, missing.way_out) == (False, "apt-get install libno-such-thing9")


def test_cgroups_say_what_cannot_be_limited() -> None:
    assert host.cgroups("v2", {"cpu", "memory", "pids", "io"}).sentence == (
        "v2: memory, processes and processor time can be limited."
    )
    lacking = host.cgroups("v2", {"pids"})
    assert lacking.sentence == "v2: memory and processor time cannot be limited."
    assert not lacking.needed


def test_forwarding() -> None:
    assert host.forwarding("1\n").ok
    assert "ip_forward=1" in host.forwarding("0\n").way_out


def test_storage() -> None:
    assert host.storage(Path("/data"), "xfs").ok
    assert not host.storage(Path("/run"), "tmpfs").needed
    refused = host.storage(Path("/data"), "ext4", "it is mounted read-only")
    assert not refused.ok
    assert refused.needed


MOUNTS = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:20 / /proc rw - proc proc rw
30 21 254:16 / /srv/my\040disk rw,noatime shared:9 master:3 - xfs /dev/vdb rw
31 30 0:40 / /srv/my\040disk/deep rw - btrfs /dev/vdc rw
32 21 0:41 /sub /covered rw - tmpfs a rw
33 32 0:42 / /covered rw - overlay b rw
"""


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/var/lib/tf-node", "ext4"),
        ("/srv/my disk/x", "xfs"),
        ("/srv/my disk/deep/x", "btrfs"),
        ("/srv/my disks", "ext4"),
        ("/covered/x", "overlay"),
    ],
)
def test_file_system_of_a_path(path: str, fstype: str) -> None:
    assert host.file_system_of(MOUNTS, Path(path)) == fstype


def test_memory_and_cores() -> None:
    plenty = host.memory("MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 4194304 kB\n")
    assert plenty.ok
    assert plenty.sentence == "8.0 GiB of memory, 4.0 available."
    assert not host.memory("MemTotal: 524288 kB\nMemAvailable: 4 kB\n").ok
    assert host.cores(1).sentence == "One core."


# --- what is free

STAT = "cpu  {} 50 200 {} 30 5 5 0 10 10\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 1 2 3\n"
# with numbers no machine's disks have, so that the tests' own disk is not among them
DISKS = """3254       0 vda {0} 0 {1} 0 9 0 {2} 0 0 0 0
3254       1 vda1 5 0 40 0 5 0 40 0 0 0 0
3259       0 nvme0n1 7 0 1000 0 7 0 2000 0 0 0 0
3259       1 nvme0n1p1 7 0 999 0 7 0 1999 0 0 0 0
3007       0 loop0 3 0 77 0 3 0 77 0 0 0 0
3253       0 dm-0 3 0 77 0 3 0 77 0 0 0 0
"""


class Machine:
    """A made-up /proc."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "meminfo").write_text("MemTotal: 2000 kB\nMemFree: 5 kB\nMemAvailable: 1500 kB\nHugePages_Total: 0\n")
        self.set()

    def set(self, *, user: int = 100, idle: int = 600, read: int = 0, written: int = 0, swapped: int = 0) -> None:
        (self.path / "stat").write_text(STAT.format(user, idle))
        (self.path / "diskstats").write_text(DISKS.format(9, read, written))
        (self.path / "vmstat").write_text(f"nr_free_pages 5\npswpin {swapped}\npswpout {swapped}\n")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_rates_are_those_between_two_samples(machine: Machine, tmp_path: Path) -> None:
    clock = JumpingClock()
    sampler = load.Sampler(tmp_path, clock=clock, proc=machine.path)
    clock.jump(2.0)
    machine.set(user=400, idle=700, read=100, written=4000, swapped=30)
    sample = sampler.sample()
    assert sample.cpu == pytest.approx(0.25)
    assert sample.read_rate == 100 * 512 / 2
    assert sample.write_rate == 4000 * 512 / 2
    assert sample.paging == 30
    assert (sample.memory, sample.memory_total) == (1500 * 1024, 2000 * 1024)
    clock.jump(1.0)
    assert sampler.sample().read_rate == 0


def test_no_time_between_two_samples_is_no_error(machine: Machine, tmp_path: Path) -> None:
    sampler = load.Sampler(tmp_path, clock=JumpingClock(), proc=machine.path)
    sample = sampler.sample()
    assert (sample.cpu, sample.read_rate, sample.paging) == (1.0, 0.0, 0.0)


def test_counter_that_went_backwards_is_no_rate() -> None:
    assert load.rate(-5, 1.0) == 0.0


def test_idle_includes_waiting_for_a_disk_and_guests_count_once() -> None:
    assert load.read_cpu(STAT.format(100, 600)) == (630, 990)


def test_disk_of_the_path_or_all_real_ones() -> None:
    text = DISKS.format(9, 100, 200)
    assert load.read_disk(text, os.makedev(3259, 1)) == (999 * 512, 1999 * 512)
    assert load.read_disk(text, os.makedev(0, 52)) == (1100 * 512, 2200 * 512)


def test_this_machine_can_be_sampled(tmp_path: Path) -> None:
    sample = load.Sampler(tmp_path).sample()
    assert 0.0 <= sample.cpu <= 1.0
    assert 0 < sample.memory < sample.memory_total
    assert 0 < sample.disk <= sample.disk_total
    assert sample.cores >= 1
    assert min(sample.read_rate, sample.write_rate, sample.paging) >= 0.0


def test_writing_shows(tmp_path: Path) -> None:
    if host.file_system_of(Path("/proc/self/mountinfo").read_text(), tmp_path) == "tmpfs":
        pytest.skip("the temporary directory is not on a disk")
    sampler = load.Sampler(tmp_path)
    with (tmp_path / "data").open("wb") as file:
        file.write(os.urandom(2**22))
        file.flush()
        os.fsync(file.fileno())
    assert sampler.sample().write_rate > 0

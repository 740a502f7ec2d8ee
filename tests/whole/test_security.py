"""What a container cannot do to its node (D6 of the design), tried from inside by its root and by its users.

One container is looked at by most tests; those that break things have one of their own.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, session_at, sleeper
from tests.support.outside import generation_processes, groups_named, main_process, root_of
from tfcore.errors import TfError
from tfnode.testing.runtime_guards import SYSTEM_CALLS
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

DOCKERS_CAPABILITIES = "00000000a80425fb"
"""The fourteen of Docker's default set, as /proc/PID/status writes them."""
NONE = "0" * 16
FIRST_ID, IDS = 100_000, 65_536

LIST_DEVICES = """
    for $top ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue") {
        opendir D, $top || die $!;
        print map { "$_ " } grep { !-l && (-b || -c) } map { "$top/$_" } readdir D;
    }
"""
LIST_DESCRIPTORS = 'opendir D, \'/proc/self/fd\'; print map { "$_ " . readlink("/proc/self/fd/$_") . "\\n" } readdir D'

BOMB = """
    $| = 1;
    while (1) { defined fork || last }
    print "full\\n"; sleep 1 while 1;
"""
"""Every process of it forks until it can no more."""

COUNT = """
    while (@all < $ARGV[0]) { $p = fork; defined $p || last; $p || do { sleep 1 while 1 }; push @all, $p }
    print scalar @all; kill 9, @all;
"""
"""Forks as often as it may, at most so often, and says how often that was."""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One kind of storage will do."""
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def inside(place: PrivateLocation, tiny: str) -> Iterator[Container]:
    """A container to look at."""
    with session_at(place) as location:
        volume = location.node().create_volume()
        yield sleeper(location, tiny, volumes={"/data": volume})


@pytest.fixture
def location(place: PrivateLocation, inside: Container) -> Iterator[Location]:
    """A session for a test that breaks things; what it leaves is noticed when the container to look at goes."""
    with place.connect() as session:
        yield session


def asked(container: Container, command: str, *, user: str = "") -> str:
    """What a command says, stdout and stderr; whether it succeeds does not matter."""
    done = container.run_process(command, user=user)
    return (done.stdout + done.stderr).decode().strip()


def perl(container: Container, program: str, *arguments: object, user: str = "") -> str:
    """What a program says."""
    return asked(container, shlex.join(["perl", "-e", program, *map(str, arguments)]), user=user)


def status_of(text: str) -> dict[str, str]:
    """/proc/PID/status by its fields."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


# --- privileges


@pytest.mark.parametrize("process", ["self", "1"])
def test_root_has_dockers_capabilities_and_no_way_to_others(inside: Container, process: str) -> None:
    status = status_of(asked(inside, f"cat /proc/{process}/status"))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {DOCKERS_CAPABILITIES}
    assert {status[name] for name in ("CapInh", "CapAmb")} == {NONE}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_users_have_none(inside: Container) -> None:
    status = status_of(asked(inside, "cat /proc/self/status", user="web"))
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {NONE}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_its_root_is_nobody_outside(inside: Container) -> None:
    for file in ("uid_map", "gid_map"):
        assert asked(inside, f"cat /proc/self/{file}").split() == ["0", str(FIRST_ID), str(IDS)]
    outside = status_of(Path(f"/proc/{main_process(inside)}/status").read_text())
    assert set(outside["Uid"].split()) == set(outside["Gid"].split()) == {str(FIRST_ID)}
    assert outside["Groups"].split() in ([], [str(FIRST_ID)])


def test_what_it_writes_is_nobodys_outside(inside: Container) -> None:
    for directory in ("/srv", "/data", "/dev/shm"):
        asked(inside, f"touch {directory}/mine")
        found = (root_of(inside) / directory.lstrip("/") / "mine").stat()
        assert (found.st_uid, found.st_gid) == (FIRST_ID, FIRST_ID)


def test_setuid_programs_give_nothing(inside: Container) -> None:
    for program in ("/srv/id", "/data/id"):
        assert asked(inside, f"cp /bin/id {program} && chmod 4755 {program} && stat -c %a {program}") == "4755"
        assert asked(inside, f"{program} -u", user="web") == "101"
        assert "euid" not in asked(inside, program, user="web")


@pytest.mark.parametrize(
    "command",
    [
        "unshare --user true",
        "unshare --map-root-user true",
        "unshare --mount true",
        "unshare --net true",
        "unshare --pid --fork true",
        "mount -t tmpfs none /tmp",
        "mount --bind / /tmp",
        "mount -o remount,rw /sys",
        "umount /proc",
        "umount -l /proc/kcore",
        "hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "echo h > /proc/sysrq-trigger",
        "echo /tmp/x > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo -1000 > /proc/self/oom_score_adj",
    ],
)
@pytest.mark.parametrize("user", ["", "web"], ids=["root", "a user"])
def test_what_is_refused(inside: Container, command: str, user: str) -> None:
    assert inside.run_process(command, user=user).exit_code != 0


@pytest.mark.parametrize("call", ["keyctl", "add_key", "bpf", "setns", "unshare", "io_uring_setup"])
def test_system_calls_that_are_refused(inside: Container, call: str) -> None:
    assert perl(inside, "$! = 0; syscall($ARGV[0] + 0, 0, 0, 0, 0, 0); print $!", _number(call)) == (
        "Operation not permitted"
    )


def _number(call: str) -> int:
    machine = os.uname().machine
    if machine not in SYSTEM_CALLS:
        pytest.skip(f"the numbers of system calls on {machine} are not known here")
    return SYSTEM_CALLS[machine][call]


# --- what there is to see


@pytest.mark.parametrize("file", ["kcore", "keys", "timer_list", "sched_debug", "interrupts", "latency_stats"])
def test_files_about_the_whole_machine_are_empty(inside: Container, file: str) -> None:
    if not Path("/proc", file).exists():
        pytest.skip(f"this kernel has no /proc/{file}")
    assert asked(inside, f"head -c 10 /proc/{file}") == ""


@pytest.mark.parametrize("directory", ["/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware"])
def test_directories_about_the_whole_machine_are_empty(inside: Container, directory: str) -> None:
    if not Path(directory).exists():
        pytest.skip(f"this kernel has no {directory}")
    assert asked(inside, f"ls -A {directory}") == ""


def test_what_of_the_kernel_is_read_only(inside: Container) -> None:
    mounts = _mounts(inside)
    expected = {
        f"/proc/{name}" for name in ("bus", "fs", "irq", "sys", "sysrq-trigger") if Path("/proc", name).exists()
    }
    groups = {target for target, (_, kind) in mounts.items() if kind in ("cgroup", "cgroup2")}
    assert groups, "the container sees no control groups"
    read_only = {target for target, (options, _) in mounts.items() if "ro" in options}
    assert {"/sys", *expected, *groups} <= read_only


def test_its_mounts_are_its_own(inside: Container) -> None:
    """Nothing of the node's directories is mounted but its root and what was asked for."""
    mounts = _mounts(inside)
    kernel = {target for target in mounts if target.split("/")[1] in ("proc", "sys", "dev")}
    assert mounts.keys() - kernel == {"/", "/data"}
    assert {kind for target, (_, kind) in mounts.items() if target in kernel} <= {
        *("proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup", "cgroup2", "devtmpfs"),
    }
    writable = {target: options for target, (options, _) in mounts.items() if "rw" in options}
    assert [target for target, options in writable.items() if "nosuid" not in options] == ["/"]
    assert {target for target, options in writable.items() if "nodev" not in options} <= {"/dev", "/dev/pts", *DEVICES}


DEVICES = {f"/dev/{name}" for name in ("full", "null", "random", "tty", "urandom", "zero")}


def _mounts(container: Container) -> dict[str, tuple[set[str], str]]:
    """Target -> (its options, its file system's kind)."""
    found = {}
    for line in asked(container, "cat /proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        found[before.split()[4]] = (set(before.split()[5].split(",")), after.split()[0])
    return found


def test_its_devices_are_the_harmless_ones(inside: Container) -> None:
    assert set(perl(inside, LIST_DEVICES).split()) == {*DEVICES, "/dev/pts/ptmx"}


def test_devices_cannot_be_made(inside: Container) -> None:
    numbers = {"x86_64": 259, "aarch64": 33}  # mknodat
    if (number := numbers.get(os.uname().machine)) is None:
        pytest.skip("the number of mknodat on this machine is not known here")
    program = "$path = $ARGV[1]; $! = 0; syscall($ARGV[0] + 0, -100, $path, 060666, 0x100); print $!"
    for path in ("/srv/disk", "/data/disk", "/dev/disk", "/dev/shm/disk"):
        assert perl(inside, program, number, path) == "Operation not permitted"


def test_devices_that_are_there_all_the_same_open_nothing(inside: Container) -> None:
    """Root of the machine puts them there; it is /dev/zero, so that nothing is harmed if it opens."""
    for directory in ("srv", "data", "tmp"):
        device = root_of(inside) / directory / "device"
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        device.chmod(0o666)
        assert "Permission denied" in asked(inside, f"head -c 1 /{directory}/device")


def test_nothing_is_inherited(inside: Container) -> None:
    """Neither by commands nor by the main process: no file, and nothing of the node's environment."""
    listed = dict(line.split(" ", 1) for line in perl(inside, LIST_DESCRIPTORS).splitlines() if line[0] != ".")
    assert listed.keys() == {"0", "1", "2", "3"}
    assert listed["3"].startswith("/proc/")
    main = Path(f"/proc/{main_process(inside)}")
    assert {entry.name for entry in (main / "fd").iterdir()} == {"0", "1", "2"}
    for environment in (asked(inside, "env"), (main / "environ").read_bytes().replace(b"\0", b"\n").decode()):
        assert {line.partition("=")[0] for line in environment.splitlines()} <= {
            *("PATH", "HOME", "HOSTNAME", "PWD", "OLDPWD", "_", "SHLVL"),
        }


def test_processes_of_others_cannot_be_seen(inside: Container) -> None:
    numbers = {int(number) for number in asked(inside, "ps -e -o pid=").split()}
    assert 1 in numbers
    assert len(numbers) < 10


# --- links


def test_a_link_leads_nowhere_out_of_it(inside: Container, tmp_path: Path) -> None:
    """Absolute ones, ones that climb, and those of /proc: all of them begin and end in the container."""
    secret = tmp_path / "secret"
    secret.write_text("of the machine")
    asked(
        inside,
        f"ln -s {tmp_path} /srv/absolute; ln -s {'../' * 30}{tmp_path} /srv/climbing; ln -s /proc/1/root /srv/root",
    )
    for way in (
        "/srv/absolute",
        "/srv/climbing",
        f"/srv/root{tmp_path}",
        f"/proc/1/root{tmp_path}",
        f"/srv/..{tmp_path}",
    ):
        with pytest.raises(TfError):
            inside.fetch(f"{way}/secret")
        try:
            inside.put(f"{way}/planted", "from a client")
        except TfError:
            pass
        else:
            assert asked(inside, f"cat {way}/planted") == "from a client"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_link_to_the_nodes_files_finds_the_containers(inside: Container) -> None:
    asked(inside, "ln -s /etc/passwd /srv/passwd; ln -s ../../../../../../etc/passwd /srv/climbing-passwd")
    for link in ("/srv/passwd", "/srv/climbing-passwd"):
        assert b"a server" in inside.fetch(link)


# --- limits


def test_who_forks_without_end_harms_nobody_else(location: Location, tiny: str, inside: Container) -> None:
    if _cannot(sleeper(location, tiny, pids=20), "pids"):
        return
    container = location.node().spawn_container(tiny, command=["perl", "-e", BOMB], pids=20, ready=ready.log("full"))
    container.wait_until_ready()
    assert 2 <= len(generation_processes(container, container.status().generation)) <= 20
    assert asked(inside, "echo well") == "well"
    container.destroy()


def test_without_a_wish_processes_are_limited_all_the_same(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    if _cannot(container, "pids"):
        return
    assert 0 < int(perl(container, COUNT, 20_000)) < 20_000


def test_who_eats_memory_harms_nobody_else(location: Location, tiny: str, inside: Container) -> None:
    container = sleeper(location, tiny, memory="32m")
    if _cannot(container, "memory"):
        return
    done = container.run_process("exec perl -e '$x = \"x\" x (1 << 28); print length $x'")
    assert done.exit_code == 137
    assert asked(inside, "echo well") == "well"
    assert asked(container, "echo recovered") == "recovered"


LIMITS = {"pids": ("pids.max",), "memory": ("memory.max", "memory.limit_in_bytes")}


def _cannot(container: Container, limit: str) -> bool:
    """True if this machine cannot limit it; the container's notes must say the same as its control groups."""
    noted = any(limit in note for note in container.startup_notes)
    groups = [path for top in groups_named(container.uuid) for path in (top, *top.rglob("*"))]
    assert noted != any((group / file).exists() for group in groups for file in LIMITS[limit]), container.startup_notes
    return noted

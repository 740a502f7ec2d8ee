"""Ways out of a container that others have found in other runtimes, tried here; and races that only show when they are run.

Everything is done from inside, by root of the container, and looked for outside.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, session_at, sleeper
from tests.support.outside import main_process
from tfcore.errors import TfError
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

REFUSED = "Operation not permitted"
NOT_THERE = "Function not implemented"

CALLS = {  # unistd_64.h of x86 and the generic unistd.h of Linux
    "x86_64": {
        "mount": 165, "umount2": 166, "pivot_root": 155, "swapon": 167, "reboot": 169, "init_module": 175, "syslog": 103,
        "delete_module": 176, "quotactl": 179, "kexec_load": 246, "settimeofday": 164, "open_by_handle_at": 304, "acct": 163,
        "perf_event_open": 298, "userfaultfd": 323, "fsopen": 430, "move_mount": 429, "open_tree": 428, "clone3": 435,
        "mount_setattr": 442,
    },
    "aarch64": {
        "mount": 40, "umount2": 39, "pivot_root": 41, "swapon": 224, "reboot": 142, "init_module": 105, "syslog": 116,
        "delete_module": 106, "quotactl": 60, "kexec_load": 104, "settimeofday": 170, "open_by_handle_at": 265, "acct": 89,
        "perf_event_open": 241, "userfaultfd": 282, "fsopen": 430, "move_mount": 429, "open_tree": 428, "clone3": 435,
        "mount_setattr": 442,
    },
}  # fmt: skip
NUMBERS = CALLS.get(os.uname().machine, {})

SWAP = """
    mkdir "/race"; symlink $ARGV[0], "/out"; mkdir "/in";
    $| = 1; print "racing\\n";
    while (1) { rename "/in", "/race/d"; rename "/race/d", "/in"; rename "/out", "/race/d"; rename "/race/d", "/out" }
"""
"""Now /race/d is a directory, now a link that leads out (to where that is on the machine), now nothing."""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One kind of storage will do."""
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def location(place: PrivateLocation) -> Iterator[Location]:
    with session_at(place) as session:
        yield session


@pytest.fixture(scope="module")
def inside(location: Location, tiny: str) -> Container:
    """A container to try it from."""
    return sleeper(location, tiny, volumes={"/data": location.node().create_volume()})


def perl(container: Container, program: str, *arguments: object, user: str = "") -> str:
    """What a program writes."""
    done = container.run_process(shlex.join(["perl", "-e", program, *map(str, arguments)]), user=user)
    return (done.stdout + done.stderr).decode().strip()


# --- the kernel


@pytest.mark.parametrize("call", NUMBERS)
def test_calls_that_only_ways_out_need_are_refused(inside: Container, call: str) -> None:
    said = perl(inside, "$! = 0; syscall($ARGV[0] + 0, 0, 0, 0, 0, 0); print $!", NUMBERS[call])
    assert said in (REFUSED, NOT_THERE)


def test_a_user_namespace_cannot_be_cloned(inside: Container) -> None:
    """By clone(2) either; with one, a container's root has every capability there, and most of the kernel to try them on."""
    number = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of clone on this machine is not known here")
    program = "$! = 0; syscall($ARGV[0] + 0, $ARGV[1] | 17, 0, 0, 0, 0); print $!"
    for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000, 0x02000000):  # user, mount, net, pid, cgroup
        for user in ("", "web"):
            assert perl(inside, program, number, flag, user=user) in (REFUSED, "Invalid argument")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="there are two ways to make a system call on x86 only")
@pytest.mark.parametrize("call", ["mount", "open_by_handle_at", "init_module"])
def test_the_other_ways_to_call_the_kernel_are_no_way_round(inside: Container, call: str) -> None:
    """The x32 numbers of the same calls."""
    said = perl(inside, "$! = 0; syscall($ARGV[0] | 0x40000000, 0, 0, 0, 0, 0); print $!", NUMBERS[call])
    assert said in (REFUSED, NOT_THERE, "Bad system call")


def test_sockets_that_reach_past_the_network_cannot_be_had(inside: Container) -> None:
    """vsock leads to the hypervisor."""
    assert perl(inside, "print socket(S, 40, 1, 0) ? 'made' : $!") != "made"


def test_file_capabilities_give_nothing(inside: Container) -> None:
    """CAP_SYS_ADMIN and CAP_NET_ADMIN on a file, as a hostile image may have them."""
    number = {"x86_64": 188, "aarch64": 5}.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of setxattr on this machine is not known here")
    everything = "pack('V5', 0x02000001, 0xffffffff, 0xffffffff, 0xff, 0xff)"
    perl(
        inside,
        "system 'cp /bin/cat /srv/mighty; chmod 755 /srv/mighty'; "
        f"$v = {everything}; syscall($ARGV[0] + 0, '/srv/mighty', 'security.capability', $v, length $v, 0)",
        number,
    )
    for user in ("", "web"):
        status = inside.run_process("/srv/mighty /proc/self/status", user=user).stdout.decode()
        lines = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
        if lines:  # with capabilities that the bounding set has not got, it cannot even be started
            assert int(lines["CapEff"], 16) & (1 << 21 | 1 << 12) == 0
            assert user == "" or int(lines["CapEff"], 16) == 0


# --- the runtime


def test_a_working_directory_is_no_way_out(location: Location, inside: Container, tiny: str) -> None:
    """Descriptors that a runtime has open while it starts a process (CVE-2024-21626)."""
    mine = Path("/etc/hostname").stat()
    for number in range(3, 24):
        for way in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../../../.."):
            try:
                done = inside.run_process("stat -Lc '%d %i' . ./etc/hostname ../../../etc/hostname; pwd", workdir=way)
            except TfError:
                continue
            assert f"{mine.st_dev} {mine.st_ino}".encode() not in done.stdout
            assert b"unreachable" not in done.stdout
    for number in (7, 8, 9):
        container = location.node().spawn_container(
            tiny, command=["sh", "-c", "cat ../../../../etc/shadow; echo through; sleep infinity"],
            workdir=f"/proc/self/fd/{number}", ready=ready.running(),
        )  # fmt: skip
        try:
            container.wait_until_ready()
            assert b"root:" not in b"".join(str(line).encode() for line in container.logs())
        except TfError:
            pass
        container.destroy()


def test_the_runtime_cannot_be_overwritten(inside: Container) -> None:
    """By a process that is the runtime for a moment (CVE-2019-5736): what it could open is nobody's it may write to."""
    runtime = next(path for name in ("crun", "runc") for path in [Path("/usr/bin") / name] if path.exists())
    before = (runtime.stat().st_mtime_ns, runtime.read_bytes())
    inside.put("/srv/self", "#!/proc/self/exe\n", mode=0o755)
    writer = """
        for (1 .. 400) { for $p (glob "/proc/[0-9]*") { if (open F, "+<", "$p/exe") { print F "overwritten"; close F } } }
    """
    inside.put("/srv/writer", writer)
    started = inside.run_process("perl /srv/writer > /dev/null 2>&1 & echo $!")
    for _ in range(20):
        for command in ("/srv/self", "/proc/self/exe --version", "true"):
            inside.run_process(command)
    inside.run_process(f"kill -9 {started.stdout.decode().strip()}")
    assert (runtime.stat().st_mtime_ns, runtime.read_bytes()) == before
    assert inside.run_process("echo well").stdout == b"well\n"


def test_a_users_name_is_read_without_following_links_out(inside: Container) -> None:
    """/etc/passwd and /etc/group are the container's, whatever it has made of them."""
    inside.run_process("cp /etc/passwd /srv/passwd; rm /etc/passwd; ln -s /proc/1/root/../../etc/shadow /etc/passwd")
    with pytest.raises(TfError) as refused:
        inside.run_process("id", user="daemon")
    assert "root:" not in str(refused.value)
    inside.run_process("rm /etc/passwd; mkfifo /etc/passwd")
    with pytest.raises(TfError):
        inside.run_process("id", user="daemon")
    inside.run_process("rm /etc/passwd; mv /srv/passwd /etc/passwd")
    assert inside.run_process("id -un", user="web").stdout == b"web\n"


# --- files


def test_a_link_that_comes_and_goes_leads_nobody_out(location: Location, tiny: str, tmp_path: Path) -> None:
    """While put and fetch are at it, what they go through is a directory, then a link to the machine's."""
    (tmp_path / "secret").write_text("of the machine")
    (tmp_path / "secret").chmod(0o666)
    tmp_path.chmod(0o777)
    container = location.node().spawn_container(
        tiny, command=["perl", "-e", SWAP, "../" * 20 + str(tmp_path).lstrip("/")], ready=ready.log("racing")
    )
    container.wait_until_ready()
    outcomes = set()
    for number in range(150):
        try:
            container.put(f"/race/d/planted-{number % 3}", "from a client")
            outcomes.add("put")
        except TfError:
            outcomes.add("not put")
        try:
            assert container.fetch("/race/d/secret") != b"of the machine"
        except TfError:
            outcomes.add("not fetched")
    assert "put" in outcomes, "nothing was tried"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_text() == "of the machine"
    container.destroy()


def test_what_is_put_is_not_put_into_a_device_or_the_kernel(inside: Container) -> None:
    """Nor is anything read from them for ever."""
    for path in ("/proc/sys/kernel/core_pattern", "/proc/self/mem", "/sys/kernel/profiling", "/dev/null/x"):
        with pytest.raises(TfError):
            inside.put(path, "x")
    inside.run_process("mkfifo /srv/pipe")
    for path in ("/srv/pipe", "/dev/zero"):
        with pytest.raises(TfError):
            inside.fetch(path)


# --- other processes of the machine


def test_its_processes_have_nothing_of_the_machines(inside: Container) -> None:
    """Each namespace is its own, and its root is a mount of its own."""
    main = main_process(inside)
    for kind in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup"):
        assert os.readlink(f"/proc/{main}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert int(Path(f"/proc/{main}/oom_score_adj").read_text()) > int(Path("/proc/self/oom_score_adj").read_text())


def test_terminals_of_the_machine_cannot_be_typed_into(inside: Container) -> None:
    """TIOCSTI on what it has inherited."""
    said = perl(inside, '$c = "x"; $! = 0; print ioctl(STDIN, 0x5412, $c) ? "typed" : $!')
    assert said != "typed"

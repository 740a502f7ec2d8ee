"""What a container sees, what it cannot do, and what it may use. Part of `runtime_suite`."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tfcore.errors import BadRequest
from tfnode.runtime.interface import (
    Access,
    Bind,
    Exit,
    Limits,
    Stdio,
)
from tfnode.testing.runtime_play import DOCKERS_CAPABILITIES, FOREVER, IDS, SECONDS, Fixtures, Playground


class MountSuite(Fixtures):
    """What a container sees besides its root file system."""

    def test_directories_of_the_node_can_be_shared(self, play: Playground, tmp_path: Path) -> None:
        volume = _owned(tmp_path / "volume")
        play.run("c1", *FOREVER, binds=(Bind(volume, "/data/here"),))
        assert play.ask("echo inside > /data/here/file").words == ""
        assert (volume / "file").read_text() == "inside\n"

    def test_they_never_carry_devices_or_setuid(self, play: Playground, tmp_path: Path) -> None:
        volume = _owned(tmp_path / "volume")
        play.run("c1", *FOREVER, binds=(Bind(volume, "/data"),))
        options = play.ask("grep ' /data ' /proc/self/mountinfo").words.split()[5].split(",")
        assert {"rw", "nosuid", "nodev"} <= set(options)

    def test_read_only_means_it(self, play: Playground, tmp_path: Path) -> None:
        volume = _owned(tmp_path / "volume")
        play.run("c1", *FOREVER, binds=(Bind(volume, "/data", Access.READ_ONLY),))
        assert "Read-only" in play.ask("touch /data/file").complaints

    def test_one_within_another_is_seen(self, play: Playground, tmp_path: Path) -> None:
        inner, outer = _owned(tmp_path / "inner"), _owned(tmp_path / "outer")
        (inner / "found").touch()
        play.run("c1", *FOREVER, binds=(Bind(inner, "/data/in"), Bind(outer, "/data")))
        assert play.ask("ls /data/in").words == "found"

    def test_a_single_file_can_be_shared(self, play: Playground, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        file.write_text("127.0.0.1 here\n")
        play.run("c1", *FOREVER, binds=(Bind(file, "/etc/hosts"),))
        assert play.ask("cat /etc/hosts").words == "127.0.0.1 here"

    def test_what_does_not_exist_cannot_be_shared(self, play: Playground, tmp_path: Path) -> None:
        with pytest.raises(BadRequest, match="does not exist"):
            play.runtime.create(play.spec("c1", binds=(Bind(tmp_path / "none", "/data"),)), Stdio())

    @pytest.mark.parametrize("target", ["/", "data", "/a/../..", ""])
    def test_only_absolute_targets_below_the_root_will_do(self, play: Playground, tmp_path: Path, target: str) -> None:
        with pytest.raises(BadRequest, match="no place for a mount"):
            play.runtime.create(play.spec("c1", binds=(Bind(tmp_path, target),)), Stdio())

    def test_shared_memory_is_as_large_as_asked_for(self, play: Playground) -> None:
        play.run("c1", *FOREVER, limits=Limits(shm=8 << 20))
        assert play.ask("stat -f -c '%T %b %S' /dev/shm").words == f"tmpfs {(8 << 20) // 4096} 4096"

    def test_the_usual_devices_work(self, running: Playground) -> None:
        script = (
            "head -c 3 /dev/zero | wc -c; echo x > /dev/null; head -c 2 /dev/urandom | wc -c; test -c /dev/tty && echo"
        )
        assert running.ask(script).words.split() == ["3", "2"]

    def test_terminals_can_be_made(self, running: Playground) -> None:
        assert running.ask("test -c /dev/pts/ptmx && stat -L -c %a /dev/ptmx").words == "666"


class GuardSuite(Fixtures):
    """What a container cannot do."""

    def test_root_has_dockers_capabilities_and_cannot_gain_any(self, running: Playground) -> None:
        status = _status(running.ask("cat /proc/self/status").words)
        assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {DOCKERS_CAPABILITIES}
        assert {status[name] for name in ("CapInh", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")

    def test_others_have_none(self, play: Playground) -> None:
        ends = play.run("c1", "cat", "/proc/self/status", user="web")
        play.runtime.wait("c1", SECONDS)
        status = _status(ends.output())
        assert {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
        assert status["CapBnd"] == DOCKERS_CAPABILITIES

    @pytest.mark.parametrize(
        "script",
        [
            "unshare --user true",
            "unshare --mount true",
            "unshare --net true",
            "mount -t tmpfs none /tmp",
            "umount -l /proc",
            "hostname other",
            "echo 1 > /proc/sys/kernel/panic",
            "echo b > /proc/sysrq-trigger",
            "touch /sys/here",
            "mount -o remount,rw /sys",
            "nice -n -5 true 2>&1 | grep -q denied && false",
        ],
    )
    def test_the_machine_is_out_of_reach(self, running: Playground, script: str) -> None:
        assert running.ask(script).exit != Exit(code=0)

    @pytest.mark.parametrize("file", ["/proc/kcore", "/proc/keys", "/proc/timer_list"])
    def test_private_files_of_the_kernel_are_empty(self, running: Playground, file: str) -> None:
        assert running.ask(f"head -c 10 {file}").output == ""

    def test_processes_outside_cannot_be_seen(self, running: Playground) -> None:
        numbers = {int(line) for line in running.ask("ps -e -o pid=").words.split()}
        assert 1 in numbers
        assert max(numbers) < 100

    def test_the_user_namespace_is_the_sandboxes(self, running: Playground) -> None:
        assert running.ask("cat /proc/self/uid_map").words.split() == ["0", str(IDS.uid_base), str(IDS.count)]
        pid = running.runtime.state("c1").pid
        assert os.stat(f"/proc/{pid}/ns/user") == os.stat(running.template.sandbox.user)
        assert os.stat(f"/proc/{pid}/ns/net") == os.stat(running.template.sandbox.network)

    def test_nothing_of_ours_is_inherited(self, running: Playground) -> None:
        assert running.ask("ls /proc/self/fd | wc -l").words == "4"
        secret = f"TF_SECRET_{os.getpid()}"
        os.environ[secret] = "1"
        try:
            assert secret not in running.ask("env").words
        finally:
            del os.environ[secret]

    @pytest.mark.parametrize(
        ("call", "error"),
        [
            ("keyctl", "Operation not permitted"),
            ("add_key", "Operation not permitted"),
            ("io_uring_setup", "Operation not permitted"),
            ("unshare", "Operation not permitted"),
            ("setns", "Operation not permitted"),
            ("bpf", "Operation not permitted"),
            ("clone3", "Function not implemented"),
        ],
    )
    def test_system_calls_are_refused_as_docker_does(self, running: Playground, call: str, error: str) -> None:
        self._need_perl(running)
        numbers = SYSTEM_CALLS.get(os.uname().machine)
        if numbers is None:
            pytest.skip(f"the numbers of system calls on {os.uname().machine} are not known here")
        script = f"$! = 0; syscall({numbers[call]}, 0, 0, 0, 0, 0); print $!"
        assert running.exec("c1", "perl", "-e", script).words == error

    def test_what_servers_do_is_allowed(self, running: Playground) -> None:
        self._need_perl(running)
        assert running.exec("c1", "perl", "-e", A_SERVER).words == "served"

    @staticmethod
    def _need_perl(play: Playground) -> None:
        if not (play.template.rootfs / "bin/perl").exists():
            pytest.skip("there is no perl in this root file system to make system calls with")


SYSTEM_CALLS = {
    "x86_64": {
        "keyctl": 250, "add_key": 248, "io_uring_setup": 425, "unshare": 272, "setns": 308, "bpf": 321, "clone3": 435,
    },
    "aarch64": {
        "keyctl": 219, "add_key": 217, "io_uring_setup": 425, "unshare": 97, "setns": 268, "bpf": 280, "clone3": 435,
    },
}  # fmt: skip

A_SERVER = """
    socket(S, 2, 1, 0) or die "socket $!"; bind(S, pack("S n a4 x8", 2, 80, "\\0" x 4)) or die "bind $!";
    listen(S, 5) or die "listen $!"; open(F, ">", "/tmp/f") or die; chown(101, 101, "/tmp/f") or die "chown $!";
    chmod(04755, "/tmp/f") or die "chmod $!"; defined($p = fork) or die "fork $!";
    if (!$p) { $) = "101 101"; $( = 101; $> = 101; $< = 101; exit($> == 101 ? 0 : 1); }
    waitpid($p, 0); die "child $?" if $?; kill(0, $$) or die "kill $!"; chroot("/srv") or die "chroot $!"; print "served";
"""


class LimitSuite(Fixtures):
    """What a container may use."""

    def test_what_cannot_be_limited_is_said(self, play: Playground) -> None:
        play.create(play.spec("c1", limits=Limits(memory=64 << 20, cpus=0.5, pids=50)))
        notes = play.runtime.state("c1").notes
        lacking = {"memory", "cpu", "pids"} - play.template.group.child("c1").enforceable()
        assert len(notes) == len(lacking)
        assert all(any(f"no {name} controller" in note for note in notes) for name in lacking)

    def test_processes(self, play: Playground) -> None:
        self._need(play, "pids")
        play.run("c1", *FOREVER, limits=Limits(pids=20))
        assert "Cannot fork" in play.ask("for i in $(seq 40); do sleep 1000 >&- 2>&- & done").complaints

    def test_memory_and_who_was_killed_for_it(self, play: Playground) -> None:
        self._need(play, "memory")
        play.run("c1", "sh", "-c", f"exec {A_HOG}", limits=Limits(memory=32 << 20))
        assert play.runtime.wait("c1", SECONDS) == Exit(signal=signal.SIGKILL, oom=True)

    def test_a_command_killed_for_memory_is_told_apart_from_its_container(self, play: Playground) -> None:
        self._need(play, "memory")
        play.run("c1", *FOREVER, limits=Limits(memory=32 << 20))
        assert play.exec("c1", "sh", "-c", f"exec {A_HOG}").exit == Exit(signal=signal.SIGKILL, oom=True)
        play.runtime.signal("c1", signal.SIGKILL)
        assert play.runtime.wait("c1", SECONDS) == Exit(signal=signal.SIGKILL)

    def test_processors(self, play: Playground) -> None:
        self._need(play, "cpu")
        play.run("c1", *FOREVER, limits=Limits(cpus=0.5))
        quota = play.ask("cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true").words
        assert quota.split()[0] == "50000"

    def test_open_files(self, running: Playground) -> None:
        assert 0 < int(running.ask("ulimit -n").words) <= 1 << 20

    @pytest.mark.parametrize(
        "limits", [Limits(memory=1), Limits(cpus=0.001), Limits(pids=-1), Limits(cpus=float("nan"))], ids=str
    )
    def test_impossible_limits_are_refused(self, play: Playground, limits: Limits) -> None:
        with pytest.raises(BadRequest):
            play.runtime.create(play.spec("c1", limits=limits), Stdio())

    @staticmethod
    def _need(play: Playground, limit: str) -> None:
        (probe := play.template.group.child("probe")).create()
        able = limit in probe.enforceable()
        probe.remove()
        if not able:
            pytest.skip(f"this machine's control groups cannot limit {limit}")


A_HOG = "dd if=/dev/zero of=/dev/null bs=256M count=1"
"""Has to fill its buffer before it can write."""


def _owned(directory: Path) -> Path:
    directory.mkdir()
    shutil.chown(directory, IDS.uid_base, IDS.gid_base)
    return directory


def _status(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}

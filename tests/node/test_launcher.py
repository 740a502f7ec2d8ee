"""The launcher with real namespaces: what lives, what dies with whom, and that nothing is left.

Each node runs in processes of its own (`launched.py`) and says what it does; a test waits for these lines, never for time.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfcore.clock import JumpingClock
from tfcore.errors import DeadlineExceeded, HostLacks, TfError, WrongState
from tfnode.process.backoff import Backoff
from tfnode.process.birth import packed, unpacked
from tfnode.process.channel import Channel, Word
from tfnode.process.init import DeadChild, Orphans, dead_children, zombie_of
from tfnode.process.lock import NodeLock
from tfnode.process.plan import Plan
from tfnode.process.remains import Remains
from tfnode.process.signals import Signals
from tfnode.process.watch import Child, Watch

DEADLINE = 60.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="making namespaces without a user namespace needs root")
with_freezer = pytest.mark.skipif(
    not os.path.ismount("/sys/fs/cgroup/freezer"), reason="this machine has no version 1 freezer"
)


class Node:
    """A launcher in a process of its own, read line by line."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: list[str] = []
        self._buffer = b""
        self._alive = -1

    def start(self, program: str, *, wrapped_in: tuple[str, ...] = ()) -> None:
        if self._alive >= 0:
            self._finish()
        else:
            os.mkfifo(self.root / "alive")
            self._alive = os.open(self.root / "alive", os.O_RDONLY | os.O_NONBLOCK)
        self._log = (self.root / "log").open("ab")
        argv = [*wrapped_in, sys.executable, str(Path(__file__).with_name("launched.py")), program, str(self.root)]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log)

    def expect(self, pattern: str) -> re.Match[str]:
        """The next line that matches `pattern` as a whole; lines before it are passed over."""
        while (line := self._line()) is not None:
            if found := re.fullmatch(pattern, line):
                return found
        pytest.fail(f"no line like {pattern!r} in {self._seen}; log: {self.log()}")

    def rest(self) -> list[str]:
        """The lines up to the end of file, which comes when launcher, keeper and agent are all gone."""
        lines = []
        while (line := self._line()) is not None:
            lines.append(line)
        return lines

    def _line(self) -> str | None:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            if not select.select([self.process.stdout], [], [], DEADLINE)[0]:
                pytest.fail(f"nothing said for {DEADLINE:g} s after {self._seen}; log: {self.log()}")
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        self._seen.append(line.decode())
        return self._seen[-1]

    def log(self) -> str:
        return (self.root / "log").read_text()

    def agent(self) -> int:
        return int(self.expect(r"agent (\d+) netns \d+")[1])

    def wait_until_all_of_the_agent_is_dead(self) -> None:
        poll = select.poll()
        poll.register(self._alive, 0)
        if not poll.poll(DEADLINE * 1000):
            pytest.fail(f"something of the agent lives {DEADLINE:g} s after {self._seen}; log: {self.log()}")

    def status(self) -> int:
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self._alive >= 0:
            self._finish()
            os.close(self._alive)

    def _finish(self) -> None:
        self.process.kill()
        self.rest()
        self.status()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    yield one
    one.close()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def kill_agent(node: Node, agent: int) -> None:
    os.kill(agent, signal.SIGKILL)


def kill_launcher(node: Node, agent: int) -> None:
    node.process.kill()


@as_root
def test_stops_in_good_order(node: Node) -> None:
    node.start("normal")
    node.expect("up")
    node.process.terminate()
    node.expect("stopping")
    node.expect(r"swept by \d+")
    assert node.rest() == ["stopped"]
    assert node.status() == 0
    node.wait_until_all_of_the_agent_is_dead()


@as_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_every_stop_signal_means_good_order(node: Node, number: signal.Signals) -> None:
    node.start("normal")
    node.expect("up")
    node.process.send_signal(number)
    node.expect("stopping")
    assert node.status() == 0


@as_root
def test_agent_is_pid_1_of_a_world_of_its_own(node: Node) -> None:
    node.start("looks_around")
    assert node.expect("pids (.*)")[1] == "1"
    assert node.expect("links (.*)")[1] == "lo"
    assert node.expect("run (.*)")[1] == "0o700"
    assert node.expect("session (.*)")[1] == "1 stdin /dev/null"
    held = node.expect("fds (.*)")[1]
    assert str(node.root / "alive") in held
    assert ".lock" not in held
    assert held.count("socket:") == 1  # the channel: nothing else of the launcher's came along
    assert node.expect("unified (.*)")[1] == "False"
    found = node.expect(r"life 1 [0-9a-f]{16} pid (\d+) prepared (.*) uplink (.*)")
    assert found.groups() == ("1", "made in the host's network", "as good as none")
    assert list((node.root / "run").iterdir()) == []


@as_root
def test_agents_network_is_known_to_the_launcher(node: Node) -> None:
    node.start("normal")
    found = node.expect(r"agent (\d+) netns (\d+)")
    assert Path(f"/proc/{found[1]}/ns/net").stat().st_ino == int(found[2]) != Path("/proc/self/ns/net").stat().st_ino


@as_root
def test_zeromq_made_before_keeps_the_hosts_network(node: Node) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.linger = 0
        router.rcvtimeo = int(DEADLINE * 1000)
        (node.root / "port").write_text(str(router.bind_to_random_port("tcp://127.0.0.1")))
        node.start("talks_through_the_host")
        assert node.expect("own socket: (.*)")[1] == "ENETUNREACH"
        who, words = router.recv_multipart()
        router.send_multipart([who, words + b" yourself"])
        node.expect("answer: hello yourself")
        assert node.status() == 0


@as_root
def test_killed_agent_is_followed_by_another(node: Node) -> None:
    node.start("normal")
    agent = node.agent()
    first = node.expect("life 1 ([0-9a-f]{16}) .*")[1]
    node.expect("up")
    os.kill(agent, signal.SIGKILL)
    node.expect("uplink closed")
    assert node.expect(r"swept by (\d+)")[1] == str(node.process.pid)
    assert node.agent() != agent
    assert node.expect("life 2 ([0-9a-f]{16}) .*")[1] != first
    node.expect("up")
    assert "killed by SIGKILL" in node.log()


@as_root
def test_nothing_of_a_killed_agent_lives_when_it_is_swept(node: Node) -> None:
    """The launcher collects pid 1, which the kernel gives away only when the pid namespace is empty."""
    node.start("normal")
    agent = node.agent()
    node.expect("up")
    namespace = Path(f"/proc/{agent}/ns/pid").stat().st_ino
    os.kill(agent, signal.SIGKILL)
    node.expect(r"swept by \d+")
    assert namespace not in {inode_of(entry / "ns" / "pid") for entry in Path("/proc").glob("[0-9]*")}


def inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None


@as_root
@pytest.mark.parametrize(
    ("program", "moment"),
    [
        ("normal", "up"),
        ("stuck_in_after_netns", "in after_netns"),
        ("deaf_agent", "up"),
    ],
)
def test_killed_launcher_takes_all_with_it(node: Node, program: str, moment: str) -> None:
    node.start(program)
    node.expect(moment)
    node.process.kill()
    assert re.fullmatch(r"swept by \d+", node.rest()[-1])
    assert node.status() == -signal.SIGKILL
    node.wait_until_all_of_the_agent_is_dead()
    node.start("normal")
    node.expect("up")


@as_root
def test_launcher_killed_before_the_agent_has_a_network(node: Node) -> None:
    """There may be no keeper yet, and there is nothing yet that one would sweep."""
    node.start("stuck_in_before_netns")
    node.expect("in before_netns")
    node.process.kill()
    node.wait_until_all_of_the_agent_is_dead()
    node.rest()


@as_root
def test_launcher_killed_before_the_agent_asked_to_die_with_it(node: Node) -> None:
    os.mkfifo(node.root / "go")
    node.start("stuck_before_it_asks_to_die_with_its_launcher")
    node.expect("before prctl")
    node.process.kill()
    assert node.status() == -signal.SIGKILL
    (node.root / "go").write_text("")
    node.wait_until_all_of_the_agent_is_dead()
    node.rest()


@as_root
def test_agent_killed_before_its_network_is_followed_by_another(node: Node) -> None:
    node.start("stuck_in_before_netns")
    node.expect("in before_netns")
    [agent] = children_of(node.process.pid, "tf-node-agent")
    os.kill(agent, signal.SIGKILL)
    node.expect(r"swept by \d+")
    node.expect("in before_netns")


@as_root
def test_agent_killed_while_its_uplink_is_made_is_followed_by_another(node: Node) -> None:
    os.mkfifo(node.root / "go")
    node.start("waits_in_after_netns")
    os.kill(node.agent(), signal.SIGKILL)
    (node.root / "go").write_text("")
    node.expect("uplink closed")
    node.agent()
    (node.root / "go").write_text("")
    node.expect("up")


def children_of(pid: int, name: str) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if Path(f"/proc/{child}/comm").read_text().strip() == name]


@as_root
def test_killed_keeper_is_missed_by_nobody(node: Node) -> None:
    node.start("normal")
    node.expect("up")
    [keeper] = children_of(node.process.pid, "tf-node-keeper")
    os.kill(keeper, signal.SIGKILL)
    node.process.terminate()
    assert node.rest()[-1] == "stopped"
    assert node.status() == 0


@as_root
def test_launcher_that_falls_takes_all_with_it(node: Node) -> None:
    node.start("launcher_has_a_defect")
    node.expect("up")
    assert int(re.fullmatch(r"swept by (\d+)", node.rest()[-1])[1]) != node.process.pid
    assert node.status() == 1
    node.wait_until_all_of_the_agent_is_dead()


@as_root
def test_stop_between_two_lives(node: Node) -> None:
    node.start("dies_always")
    node.expect("life 4")
    node.process.terminate()
    assert node.rest()[-1] == "stopped"
    assert node.status() == 0


@as_root
def test_launcher_holds_nothing_of_earlier_lives(node: Node) -> None:
    node.start("normal")
    held = []
    for _ in range(3):
        agent = node.agent()
        node.expect("up")
        held.append(sorted(os.listdir(f"/proc/{node.process.pid}/fd"), key=int))
        os.kill(agent, signal.SIGKILL)
    assert held[0] == held[1] == held[2]


@as_root
def test_launcher_killed_while_it_sweeps_is_relieved_by_the_keeper(node: Node) -> None:
    node.start("stuck_in_the_last_sweep")
    node.expect("in sweep")
    node.process.kill()
    assert int(node.expect(r"swept by (\d+)")[1]) != node.process.pid
    assert node.rest() == []


@as_root
def test_pid_1_collects_orphans_and_leaves_awaited_children(node: Node) -> None:
    node.start("reaps")
    node.expect("status 42")
    node.expect("left")


@as_root
@with_freezer
def test_frozen_process_of_a_killed_agent_is_thawed(node: Node) -> None:
    node.start("freezes_a_child")
    agent = node.agent()
    node.expect("frozen")
    os.kill(agent, signal.SIGKILL)
    node.expect("thawed")
    assert node.expect(r"swept by (\d+)")[1] == str(node.process.pid)
    node.expect("frozen")


@as_root
@with_freezer
def test_frozen_process_of_a_killed_launcher_is_thawed_by_the_keeper(node: Node) -> None:
    node.start("freezes_a_child")
    node.expect("frozen")
    node.process.kill()
    node.expect("thawed")
    keeper = int(node.expect(r"swept by (\d+)")[1])
    assert keeper != node.process.pid
    node.rest()
    node.wait_until_all_of_the_agent_is_dead()


@as_root
def test_next_launcher_waits_for_the_keeper_of_the_last(node: Node) -> None:
    held = os.open(node.root / "sweep.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    node.start("normal")
    node.expect(r"launcher \d+")
    while not blocked_behind_lock(node.root):
        select.select([], [], [], 0.01)
    os.close(held)
    node.expect("up")


def blocked_behind_lock(root: Path) -> bool:
    """True once the launcher has the first lock and so is at the second."""
    path = root / "node.lock"
    return path.exists() and path.read_text() != ""


@as_root
def test_two_launchers_on_one_directory_refuse(node: Node, tmp_path: Path) -> None:
    node.start("normal")
    node.expect("up")
    argv = [sys.executable, str(Path(__file__).with_name("launched.py")), "normal", str(tmp_path)]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert second.returncode == 3
    said = f"a node already serves {tmp_path} (process {node.process.pid})"
    assert f"error wrong-state {said}" in second.stdout


@as_root
def test_deaf_agent_is_killed_at_the_deadline(node: Node) -> None:
    node.start("impatient")
    node.expect("up")
    node.process.terminate()
    assert node.rest()[-1] == "stopped"
    assert "did not stop within 0.05 s" in node.log()


@as_root
def test_second_signal_kills_at_once(node: Node) -> None:
    node.start("deaf_agent")
    node.expect("up")
    node.process.terminate()
    node.expect("heard")
    node.process.terminate()
    assert node.rest()[-1] == "stopped"
    assert "told to stop again" in node.log()


@as_root
def test_agent_that_is_not_up_yet_stops_at_once(node: Node) -> None:
    """Pid 1 without a handler would never get the SIGTERM."""
    node.start("stuck_in_before_netns")
    node.expect("in before_netns")
    node.process.terminate()
    assert node.rest()[-1] == "stopped"
    assert "did not stop" not in node.log()


@as_root
def test_agent_that_returns_ends_the_node(node: Node) -> None:
    node.start("returns_at_once")
    assert node.rest()[-1] == "stopped"
    assert node.status() == 0


@as_root
def test_agent_that_was_up_and_fails_lives_again(node: Node) -> None:
    node.start("dies_three_times")
    lives = [node.expect(r"life (\d) (\w+)").groups() for _ in range(4)]
    assert [number for number, _ in lives] == ["1", "2", "3", "4"]
    assert len({incarnation for _, incarnation in lives}) == 4
    assert node.rest()[-1] == "stopped"
    assert "RuntimeError: a defect" in node.log()


@as_root
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("lacks_something", "error host-lacks no frobnicator {'what': 'frobnicator'}"),
        ("has_a_defect", "error internal the agent failed: ZeroDivisionError('of all things') {}"),
        ("has_no_uplink", "error host-lacks no veth {}"),
    ],
)
def test_first_agent_that_never_came_up_ends_the_node_with_its_words(node: Node, program: str, said: str) -> None:
    node.start(program)
    assert node.rest()[-1] == said
    assert node.status() == 3
    node.wait_until_all_of_the_agent_is_dead()


@as_root
def test_failed_sweep_does_not_keep_the_node_from_working(node: Node) -> None:
    node.start("cannot_sweep")
    assert node.rest() == [f"launcher {node.process.pid}", "tried to sweep", *node_lines(), "stopped"]
    assert "upper directory busy" in node.log()


def node_lines() -> list[object]:
    return [Matching(r"agent \d+ netns \d+"), "uplink closed", "tried to sweep"]


class Matching:
    """Equal to every string its pattern matches."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self._pattern, other) is not None

    __hash__ = None  # type: ignore[assignment]


@as_root
def test_mounts_come_in_and_none_go_out(node: Node, tmp_path: Path) -> None:
    """On a machine with shared mounts, as systemd makes them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    node.start("normal", wrapped_in=("unshare", "--mount", "--propagation", "shared"))
    agent = node.agent()
    node.expect("up")
    host = ("nsenter", "-m", "-t", str(node.process.pid), "--")
    assert " tf-node " not in mounted(node.process.pid)
    assert "tf-node" in mounted(agent)
    subprocess.run([*host, "mount", "-t", "tmpfs", "later", str(disk)], check=True)
    assert str(disk) in mounted(agent)
    subprocess.run([*host, "umount", str(disk)], check=True)
    assert str(disk) not in mounted(agent)


def mounted(pid: int) -> str:
    return Path(f"/proc/{pid}/mountinfo").read_text()


@as_root
def test_what_the_kernel_refuses_is_told(node: Node) -> None:
    node.start("normal", wrapped_in=("setpriv", "--bounding-set", "-sys_admin"))
    assert node.expect("error (.*) {}")[1] == (
        "host-lacks the kernel refuses a namespace or mount the node needs: "
        "[Errno 1] unshare(0x20000000): Operation not permitted"
    )
    assert node.status() == 3


def test_directory_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostLacks, match="file/node cannot be a node's directory: Not a directory"):
        NodeLock(tmp_path / "file" / "node").__enter__()


def test_agent_that_is_dead_and_never_gone_is_given_up(tmp_path: Path) -> None:
    """As if a process below it hung in the kernel: its end of the channel is closed, and its pidfd stays silent."""
    clock = JumpingClock()
    attempts: list[float] = []

    def hurried() -> float:
        clock.jump(0.6)
        return clock()

    plan = Plan(agent_main=lambda _life: None, before_netns=lambda: None, root=tmp_path, run=tmp_path / "run")
    remains = Remains(lambda: attempts.append(clock()), lambda: None)
    ours, theirs = Channel.pair()
    theirs.close()
    with subprocess.Popen(["sleep", "600"]) as hung, Signals() as caught:
        child = Child(hung.pid, os.pidfd_open(hung.pid), ours)
        with pytest.raises(DeadlineExceeded, match=rf"process {hung.pid}\) is dead, but processes below it"):
            Watch(plan, child, caught=caught, remains=remains, clock=hurried).until_gone()
        hung.kill()
        child.close()
    assert len(attempts) > 3


def test_lock_names_its_holder(tmp_path: Path) -> None:
    with NodeLock(tmp_path), pytest.raises(WrongState, match=f"process {os.getpid()}"), NodeLock(tmp_path):
        pass
    with NodeLock(tmp_path):
        pass


def test_lock_gives_up_on_a_keeper_that_never_ends(tmp_path: Path) -> None:
    clock = JumpingClock()
    held = os.open(tmp_path / "sweep.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)

    def hurried() -> float:
        clock.jump(50.0)
        return clock()

    with pytest.raises(DeadlineExceeded, match="still being swept"), NodeLock(tmp_path, clock=hurried):
        pass
    os.close(held)
    with NodeLock(tmp_path):
        pass


def test_channel_carries_words_bodies_and_descriptors(tmp_path: Path) -> None:
    one, other = Channel.pair()
    with (tmp_path / "x").open("w") as file:
        one.send(Word.IN_NETNS, b"two\nlines", [file.fileno()])
    said = other.receive(DEADLINE)
    assert said is not None
    assert (said.word, said.body) == (Word.IN_NETNS, b"two\nlines")
    [fd] = said.fds
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "x")
    assert not os.get_inheritable(fd)
    os.close(fd)
    one.close()
    other.close()


def test_channel_shows_a_death_behind_its_last_words() -> None:
    one, other = Channel.pair()
    assert not other.other_end_is_gone()
    assert other.last_words() is None
    one.send(Word.UP)
    one.close()
    assert other.other_end_is_gone()
    said = other.last_words()
    assert said is not None
    assert said.word is Word.UP
    assert other.receive(DEADLINE) is None
    with pytest.raises(OSError):
        other.send(Word.GO_ON)
    other.close()


def test_channel_shows_the_death_of_one_who_did_not_listen() -> None:
    one, other = Channel.pair()
    other.send(Word.GO_ON)
    one.close()
    assert other.receive(DEADLINE) is None
    other.close()


@pytest.mark.parametrize(
    "error", [TfError("x"), HostLacks("🐘" * 50_000, hint="\x00" * 50_000, details={"k": "v" * 9999}, retryable=True)]
)
def test_error_survives_the_channel_however_long(error: TfError) -> None:
    one, other = Channel.pair()
    one.send(Word.FAILED, packed(error))
    said = other.receive(DEADLINE)
    assert said is not None
    arrived = unpacked(said.body)
    assert type(arrived) is type(error)
    assert error.message.startswith(arrived.message)
    assert arrived.retryable == error.retryable
    one.close()
    other.close()


def test_backoff_grows_with_short_lives_and_forgets_after_a_long_one() -> None:
    backoff = Backoff()
    assert [backoff.pause(0.1) for _ in range(8)] == [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert backoff.pause(3600.0) == 0.0
    assert [backoff.pause(0.1) for _ in range(2)] == [0.0, 0.2]


@pytest.mark.parametrize(
    ("stat", "found"),
    [
        ("77 (sleep) Z 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5551 0 0", DeadChild(77, 5551)),
        ("78 (a) Z) 1 (b) Z 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5552 0 0", DeadChild(78, 5552)),
        ("79 (sleep) S 1 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5553 0 0", None),
        ("80 (sleep) Z 7 77 77 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 5554 0 0", None),
    ],
)
def test_zombies_are_read_from_proc(stat: str, found: DeadChild | None) -> None:
    assert zombie_of(1, stat) == found


class Dead:
    """Dead children as a list, and who was collected."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.now: list[DeadChild] = []
        self.claimed: set[int] = set()
        self.orphans = Orphans(
            lambda: self.claimed, find=lambda: list(self.now), collect=self.collect, grace=10.0, clock=self.clock
        )

    def collect(self, pid: int) -> None:
        known = [child for child in self.now if child.pid == pid]
        if not known:
            raise ChildProcessError
        self.now.remove(known[0])


def test_orphan_is_collected_after_the_grace() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100)]
    assert dead.orphans.reap() == []
    dead.clock.jump(9.9)
    assert dead.orphans.reap() == []
    dead.clock.jump(0.2)
    assert dead.orphans.reap() == [5]
    assert dead.now == []


def test_claimed_child_is_left_to_its_owner_however_late() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100), DeadChild(6, 100)]
    dead.claimed = {5}
    dead.orphans.reap()
    dead.clock.jump(1000)
    assert dead.orphans.reap() == [6]
    assert dead.now == [DeadChild(5, 100)]


def test_same_pid_again_is_another_child() -> None:
    dead = Dead()
    dead.now = [DeadChild(5, 100)]
    dead.orphans.reap()
    dead.clock.jump(11)
    dead.now = [DeadChild(5, 200)]
    assert dead.orphans.reap() == []


def test_owner_that_came_between_finding_and_collecting_is_no_error() -> None:
    dead = Dead()
    seen = [DeadChild(5, 100)]
    orphans = Orphans(set, find=lambda: seen, collect=dead.collect, grace=0.0, clock=dead.clock)
    assert orphans.reap() == []


def test_real_dead_child_is_seen_and_its_status_left_alone() -> None:
    child = subprocess.Popen(["sh", "-c", "exit 42"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid in {dead.pid for dead in dead_children()}
    assert Orphans(set, grace=1000.0).reap() == []
    assert child.wait() == 42

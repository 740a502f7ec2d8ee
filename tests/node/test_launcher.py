"""The launcher with real namespaces: what a node's world is like, how it stops, and what ends it for good."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.launching import DEADLINE, Node, as_root
from tfcore.errors import HostLacks
from tfnode.process.lock import NodeLock


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
def test_pid_1_collects_orphans_and_leaves_awaited_children(node: Node) -> None:
    node.start("reaps")
    node.expect("status 42")
    node.expect("left")


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

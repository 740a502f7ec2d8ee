"""The launcher with real namespaces: what dies with whom, who comes after, and that nothing is left."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.node.launching import Node, as_root, children_of, with_freezer


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
def test_launcher_killed_while_it_sweeps_is_relieved_by_the_keeper(node: Node) -> None:
    node.start("stuck_in_the_last_sweep")
    node.expect("in sweep")
    node.process.kill()
    assert int(node.expect(r"swept by (\d+)")[1]) != node.process.pid
    assert node.rest() == []


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

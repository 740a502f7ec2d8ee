"""Nodes with tiny agents, for the launcher's tests: each in a process of its own, since namespaces are not for pytest's.

`python launched.py NAME ROOT` writes what happens to stdout, one line each, so that a test can wait for it. All that an
agent starts holds ROOT/alive open for writing: whoever reads it meets the end of file when all of it is dead.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tfcore.errors import HostLacks, TfError
from tfnode.process import birth, kernel, launcher
from tfnode.process.channel import Word
from tfnode.process.init import Orphans, reap_orphans
from tfnode.process.plan import Life, Plan

ROOT = Path(sys.argv[2])


def say(*words: object) -> None:
    os.write(1, (" ".join(str(word) for word in words) + "\n").encode())


def stand_still() -> NoReturn:
    while True:
        signal.pause()


def before_netns() -> str:
    os.set_inheritable(os.open(ROOT / "alive", os.O_WRONLY), True)
    return "made in the host's network"


class Uplink:
    sentence = "as good as none"

    def close(self) -> None:
        say("uplink closed")


def after_netns(agent_pid: int, netns: int) -> Uplink:
    say("agent", agent_pid, "netns", os.fstat(netns).st_ino)
    return Uplink()


def live(life: Life[str], *, then: Callable[[], None] = lambda: None) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    start_family()
    say("life", life.number, life.incarnation, "pid", os.getpid(), "prepared", life.prepared, "uplink", life.uplink)
    life.report_up()
    say("up")
    then()
    stopped.wait()
    say("stopping")


def start_family() -> None:
    """A child, a grandchild, and a double-forked orphan in a session of its own; each says so before we go on."""
    script = "echo child; sh -c 'echo grandchild; exec sleep 600' & exec sleep 600"
    listen(subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, close_fds=False), lines=2)
    orphan = ["setsid", "-f", "sh", "-c", "echo orphan; exec sleep 600"]
    listen(subprocess.Popen(orphan, stdout=subprocess.PIPE, close_fds=False), lines=1)


def listen(process: subprocess.Popen[bytes], *, lines: int) -> None:
    assert process.stdout is not None
    for _ in range(lines):
        say(process.stdout.readline().decode().strip())


def swept() -> None:
    say("swept by", os.getpid())


PLAN = Plan(
    agent_main=live,
    before_netns=before_netns,
    after_netns=after_netns,
    sweep=swept,
    root=ROOT,
    run=ROOT / "run",
    stop_timeout=30.0,
)


def stuck_in_before_netns() -> Plan[str]:
    def stuck() -> str:
        before_netns()
        say("in before_netns")
        stand_still()

    return replace(PLAN, before_netns=stuck)


def stuck_in_after_netns() -> Plan[str]:
    def stuck(agent_pid: int, netns: int) -> Uplink:
        after_netns(agent_pid, netns)
        say("in after_netns")
        stand_still()

    return replace(PLAN, after_netns=stuck)


def stuck_before_it_asks_to_die_with_its_launcher() -> Plan[str]:
    """The launcher is gone before the agent comes to prctl: the other half of the fork race."""
    ask = kernel.die_with_parent

    def late(number: int) -> None:
        os.open(ROOT / "alive", os.O_WRONLY)
        say("before prctl")
        (ROOT / "go").open().read()  # until the test, having killed the launcher, opens and closes it
        ask(number)

    kernel.die_with_parent = late
    return PLAN


def deaf_agent() -> Plan[str]:
    def deaf(life: Life[str]) -> None:
        signal.signal(signal.SIGTERM, lambda _number, _frame: say("heard"))
        life.report_up()
        say("up")
        stand_still()

    return replace(PLAN, agent_main=deaf)


def impatient() -> Plan[str]:
    return replace(deaf_agent(), stop_timeout=0.05)


def returns_at_once() -> Plan[str]:
    return replace(PLAN, agent_main=lambda _life: None)


def dies_three_times() -> Plan[str]:
    def die(life: Life[str]) -> None:
        say("life", life.number, life.incarnation)
        life.report_up()
        if life.number < 4:
            raise RuntimeError("a defect")

    return replace(PLAN, agent_main=die)


def dies_always() -> Plan[str]:
    def die(life: Life[str]) -> None:
        say("life", life.number)
        life.report_up()
        raise RuntimeError("a defect")

    return replace(PLAN, agent_main=die)


def launcher_has_a_defect() -> Plan[str]:
    """It cannot read what its agent reports, and falls."""

    def report(life: Life[str]) -> None:
        live(life, then=lambda: life.channel.send(Word.FAILED, b"?"))

    return replace(PLAN, agent_main=report)


def lacks_something() -> Plan[str]:
    def fail(_life: Life[str]) -> None:
        raise HostLacks("no frobnicator", hint="install one", details={"what": "frobnicator"})

    return replace(PLAN, agent_main=fail)


def has_a_defect() -> Plan[str]:
    def fail(_life: Life[str]) -> None:
        raise ZeroDivisionError("of all things")

    return replace(PLAN, agent_main=fail)


def has_no_uplink() -> Plan[str]:
    def fail(agent_pid: int, netns: int) -> Uplink:
        raise HostLacks("no veth")

    return replace(PLAN, after_netns=fail)


def waits_in_after_netns() -> Plan[str]:
    def wait(agent_pid: int, netns: int) -> Uplink:
        uplink = after_netns(agent_pid, netns)
        (ROOT / "go").open().read()
        return uplink

    return replace(PLAN, after_netns=wait)


def cannot_sweep() -> Plan[str]:
    def fail() -> None:
        say("tried to sweep")
        raise OSError(errno.EBUSY, "upper directory busy")

    return replace(PLAN, sweep=fail, agent_main=lambda _life: None)


def looks_around() -> Plan[str]:
    """What an agent sees of its namespaces."""

    def look(life: Life[str]) -> None:
        say("pids", *sorted(int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()))
        say("links", *sorted(os.listdir("/sys/class/net")))
        say("run", oct(life.run.stat().st_mode & 0o7777), *os.listdir(life.run))
        (life.run / "crun").mkdir()
        say("session", os.getsid(0), "stdin", os.readlink("/proc/self/fd/0"))
        say("fds", *(held for fd in range(3, 64) if (held := open_file(fd))))
        say("unified", " /sys/fs/cgroup/unified " in Path("/proc/mounts").read_text())
        live(life)

    return replace(PLAN, agent_main=look)


def open_file(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        return ""


def talks_through_the_host() -> Plan[tuple[object, object]]:
    """ZeroMQ made in before_netns reaches the host's loopback; the agent's own sockets do not."""

    def make() -> tuple[object, object]:
        import zmq

        before_netns()
        context = zmq.Context()
        return context, context.socket(zmq.DEALER)

    def talk(life: Life[tuple[object, object]]) -> None:
        import zmq

        context = life.prepared[0]
        assert isinstance(context, zmq.Context)
        port = int((ROOT / "port").read_text())
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except OSError as refused:
            say("own socket:", errno.errorcode[refused.errno or 0])
        late = context.socket(zmq.DEALER)
        late.connect(f"tcp://127.0.0.1:{port}")
        late.send(b"hello")
        say("answer:", late.recv().decode())

    return Plan(agent_main=talk, before_netns=make, root=ROOT, run=ROOT / "run")


def stuck_in_the_last_sweep() -> Plan[str]:
    """The launcher's sweep after the agent's end never ends; the keeper's does."""
    ours = os.getpid()
    sweeps: list[int] = []

    def sweep() -> None:
        sweeps.append(os.getpid())
        if sweeps == [ours, ours]:
            say("in sweep")
            stand_still()
        swept()

    return replace(PLAN, sweep=sweep, agent_main=lambda _life: None)


def reaps() -> Plan[str]:
    """Orphans are collected, and a status that somebody waits for arrives."""

    def reap(_life: Life[str]) -> None:
        orphans = Orphans(set, grace=0.0)
        child = subprocess.Popen(["sh", "-c", "(exit 5) & sleep 0 & exec sh -c 'exit 42'"])
        say("status", child.wait())
        asyncio.run(reap_until_none_is_left(orphans))
        say("left", *children())

    return replace(PLAN, agent_main=reap)


async def reap_until_none_is_left(orphans: Orphans) -> None:
    reaping = asyncio.create_task(reap_orphans(orphans, every=0.01))
    while children():
        await asyncio.sleep(0.01)
    reaping.cancel()


def children() -> list[str]:
    return Path("/proc/self/task/1/children").read_text().split()


def freezes_a_child() -> Plan[str]:
    """A version 1 freezer holds a child: not even the death of pid 1 ends it until somebody thaws it."""
    cgroup = Path("/sys/fs/cgroup/freezer") / f"tf-test-{os.getppid()}"

    def freeze(life: Life[str]) -> None:
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        cgroup.mkdir(exist_ok=True)
        (cgroup / "cgroup.procs").write_text(str(child.pid))
        (cgroup / "freezer.state").write_text("FROZEN")
        while (cgroup / "freezer.state").read_text().strip() != "FROZEN":
            pass
        life.report_up()
        say("frozen")
        stand_still()

    def thaw() -> None:
        if cgroup.exists():
            (cgroup / "freezer.state").write_text("THAWED")
            say("thawed")

    def remove() -> None:
        if cgroup.exists():
            cgroup.rmdir()
        swept()

    return replace(PLAN, agent_main=freeze, end_stragglers=thaw, sweep=remove)


def normal() -> Plan[str]:
    return PLAN


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    say("launcher", os.getpid())
    try:
        launcher.run(globals()[sys.argv[1]]())
    except TfError as error:
        say("error", error.code, error.message, error.details)
        sys.exit(3)
    say("stopped")


if __name__ == "__main__":
    birth.UPLINK_SECONDS = 100.0
    main()

"""Moments in which something may be killed: a container, and what is going on there, held by gates and not by luck.

    reach("rolling back", location, image, volume)          in this process
    Client("rolling back", image, volume, environment=…)    in a process of its own, which can be killed

A held container waits for a file in itself to go; `let_go` removes it from outside, so that nobody need be alive for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.daemons import until
from tests.support.line import PORT, SECONDS, SERVER, said
from tests.support.outside import groups_named
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location
from tfnz.volume import Volume

MOMENTS = ("idle", "booting", "taking a snapshot", "rolling back", "transferring")
BASELINE = "base"
REPOSITORY = Path(__file__).parents[2]


def _wait_for(gate: str) -> str:
    return f"if test -e /{gate}; then echo > /held; while test -e /{gate}; do sleep 0.01; done; rm /held; fi"


@dataclass(frozen=True)
class Moment:
    """A container and what goes on.

    Args:
        container: once it has booted a server listens on `PORT`.
        baseline: a snapshot in which nothing waits; "" if there is none, since it boots for the first time.
        call: the call that is under way, if one is.
    """

    container: Container
    baseline: str
    call: Future[Any] | None = None


def under_way(function: Callable[..., object], *arguments: object, **named: object) -> Future[Any]:
    """Call it in a thread of its own, which keeps no process alive."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(function(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - it is for whoever asks the future
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


def reach(moment: str, location: Location, image: str, volume: Volume | None, **wish: object) -> Moment:
    """Spawn a container and bring it there.

    Args:
        moment: one of `MOMENTS`.
        volume: to be mounted at /kept.
        wish: further arguments of `spawn_container`.
    """
    container = location.node().spawn_container(
        image,
        command=["perl", "-e", SERVER],
        volumes={"/kept": volume} if volume else None,
        pre_boot_files={"/gate-boot": b""} if moment == "booting" else {},
        ready=ready.exec("echo > /held; test ! -e /gate-boot") if moment == "booting" else ready.tcp(PORT),
        before_snapshot=_wait_for("gate-snapshot"),
        after_boot=_wait_for("gate-boot"),
        **wish,
    )
    if moment == "booting":
        return held(Moment(container, "", under_way(container.wait_until_ready)))
    said(container.wait_until_ready(), "echo base > /state")
    container.snapshot(BASELINE)
    said(container, "echo spoilt > /state")
    call = None
    if moment == "taking a snapshot":
        said(container, "touch /gate-snapshot")
        call = under_way(container.snapshot, "another")
    if moment == "rolling back":
        said(container, "touch /gate-boot")
        container.snapshot("gated")
        said(container, "true")  # a trace: otherwise there is nothing to roll back
        call = under_way(container.rollback, "gated")
    return held(Moment(container, BASELINE, call))


def held(moment: Moment) -> Moment:
    """Wait until the call that is under way is held at the gate."""
    call = moment.call
    if call is not None:
        until(lambda: _is_held(moment.container.uuid) or call.done(), f"{moment.container!r} to be held")
        assert not call.done(), f"nothing held it: {call.exception() or call.result()}"
    return moment


def _is_held(container: str) -> bool:
    return any(os.path.exists(root / "held") for root in _roots(container))


def let_go(container: Container) -> None:
    """Open the gates."""
    for root in _roots(container.uuid):
        for gate in ("gate-boot", "gate-snapshot"):
            with contextlib.suppress(OSError):  # not there, or the process has ended
                (root / gate).unlink()


def _roots(container: str) -> list[Path]:
    return [Path(f"/proc/{pid}/root") for pid in processes_of(container)]


def processes_of(container: str) -> set[int]:
    """All processes of the container of that id, those that wait to be its next life included."""
    found: set[int] = set()
    for top in groups_named(container):
        for group, _, _ in os.walk(top):
            with contextlib.suppress(OSError):  # gone meanwhile
                found |= {int(pid) for pid in Path(group, "cgroup.procs").read_text().split()}
    return found


class Client:
    """A process that opens a session, reaches a moment and stays there until it is killed.

    Args:
        moment: one of `MOMENTS`.
        location: the location's name.
        environment: in which it finds the location.
        volume: its id; "" for none.

    Attributes:
        container: its container's id.
        localport: of its tunnel to the server; 0 while that boots.
    """

    def __init__(
        self, moment: str, image: str, *, location: str, environment: Mapping[str, str], volume: str = ""
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.moments", moment, location, image, volume],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        try:
            self.container, self.localport = json.loads(self._line())
        except BaseException:
            self.kill()
            raise

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 2 * SECONDS)[0], "the client does not get there"
        return self._process.stdout.readline()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _stay(moment: str, location: str, image: str, volume: str) -> None:
    session = Location(location)
    until(lambda: [node for node in session.nodes.values() if node.alive], "a node")
    reached = reach(moment, session, image, session.volume(volume) if volume else None)
    localport = 0 if moment == "booting" else int(reached.container.attach_tunnel(PORT).localport)
    sys.stdout.write(json.dumps([reached.container.uuid, localport]) + "\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    _stay(*sys.argv[1:])

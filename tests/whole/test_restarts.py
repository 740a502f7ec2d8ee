"""A location over TCP that is restarted in the middle of what carries a stream: nobody but the log notices.

A process is held in its container by a gate that is opened from outside, so that each moment is one and not a chance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import RemoteLocation, until
from tests.support.line import PORT, SECONDS, SERVER, remote_location, said, session_at, sleeper
from tests.support.moments import processes_of, under_way
from tests.support.tcp import ask, client_of
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

HALF = 1_500_000
"""Bytes of output before the gate and after it: together less than a writer may be ahead of its reader."""

STDIN = bytes(range(256)) * 20_000

LEASE = 60.0
"""Seconds; however busy the machine is, the location is back sooner."""

COMMAND = f"""
    echo >> /runs
    cat > /copy
    head -c {HALF} /dev/zero | tr '\\0' a
    echo > /held
    while test -e /gate; do sleep 0.01; done
    head -c {HALF} /dev/zero | tr '\\0' b
    echo oops >&2
    echo > /ended
    exit 3
"""


@dataclass
class Held:
    """A process that waits at its gate, or will."""

    remote: RemoteLocation
    container: Container
    call: Future[Any] | None = None

    def ask(self) -> None:
        """Have it run; somebody else waits for its end."""
        self.call = under_way(self.container.run_process, COMMAND, stdin=STDIN)

    def until_there(self, name: str) -> None:
        """Wait until it has left a mark, whoever can be reached meanwhile."""
        until(lambda: any((root / name).exists() for root in self._roots()), f"/{name} in {self.container!r}")

    def open_gate(self) -> None:
        """From outside; some of the container's processes may end meanwhile."""
        for root in self._roots():
            with contextlib.suppress(OSError):
                (root / "gate").unlink()

    def _roots(self) -> list[Path]:
        return [Path(f"/proc/{pid}/root") for pid in processes_of(self.container.uuid)]

    def kill(self) -> None:
        """The location."""
        self.remote.kill("location")

    def restart(self) -> None:
        """The location."""
        self.kill()
        self.remote.start_location()


def _just_asked(held: Held) -> None:
    held.ask()
    held.restart()


def _running(held: Held) -> None:
    held.ask()
    held.until_there("held")
    held.restart()


def _running_and_its_node_is_back(held: Held) -> None:
    _running(held)
    held.remote.until_joined()


def _ended_while_nobody_could_be_told(held: Held) -> None:
    held.ask()
    held.until_there("held")
    held.kill()
    held.open_gate()
    held.until_there("ended")
    held.remote.start_location()


def _asked_while_nobody_was_there(held: Held) -> None:
    held.kill()
    held.ask()
    held.remote.start_location()


def _running_twice(held: Held) -> None:
    _running(held)
    held.restart()


def _asked_before_the_node_is_back(held: Held) -> None:
    held.restart()
    held.ask()


MOMENTS = (
    _just_asked,
    _running,
    _running_and_its_node_is_back,
    _ended_while_nobody_could_be_told,
    _asked_while_nobody_was_there,
    _running_twice,
    _asked_before_the_node_is_back,
)


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteLocation]:
    with remote_location(lease=LEASE) as made:
        yield made


@pytest.fixture
def session(remote: RemoteLocation) -> Iterator[Location]:
    with session_at(remote) as made:
        yield made


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__.strip("_"))
def test_a_process_runs_once_and_says_all_it_has_to_say(
    remote: RemoteLocation, session: Location, tiny: str, moment: Callable[[Held], None]
) -> None:
    container = sleeper(session, tiny)
    said(container, "touch /gate")
    held = Held(remote, container)
    moment(held)
    if moment is not _ended_while_nobody_could_be_told:
        held.until_there("held")
        held.open_gate()
    assert held.call is not None
    done = held.call.result(2 * SECONDS)
    assert (done.exit_code, done.stderr) == (3, b"oops\n")
    assert done.stdout == b"a" * HALF + b"b" * HALF
    assert said(container, "wc -l < /runs") == "1"
    assert container.fetch("/copy") == STDIN


def test_files_on_their_way_arrive(remote: RemoteLocation, session: Location, tiny: str) -> None:
    container = sleeper(session, tiny)
    content = bytes(range(256)) * 200_000
    putting = under_way(container.put, "/file", content)
    remote.kill("location")
    remote.start_location()
    putting.result(2 * SECONDS)
    fetching = under_way(container.fetch, "/file")
    remote.kill("location")
    remote.start_location()
    assert fetching.result(2 * SECONDS) == content
    assert said(container, "ls -A / | grep -c file") == "1"


def test_a_connection_through_a_tunnel_stays(remote: RemoteLocation, session: Location, tiny: str) -> None:
    server = session.node().spawn_container(tiny, command=["perl", "-e", SERVER], ready=ready.tcp(PORT))
    tunnel = server.wait_until_ready().attach_tunnel(PORT)
    with client_of(tunnel.localport) as client:
        assert ask(client, b"before") == b"before"
        remote.kill("location")
        client.sendall(b"in between")
        remote.start_location()
        assert client.recv(100) == b"in between"
        assert ask(client, b"after") == b"after"

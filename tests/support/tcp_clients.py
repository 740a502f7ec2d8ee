"""Clients of the server in `tests.support.line`, through a tunnel or from another container. None waits for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.line import PORT, SECONDS
from tfnz.container import Container


def echoed(port: int) -> bool:
    """True if the server behind a local port answers."""
    return outcome(port) == "echo"


def outcome(port: int) -> str:
    """What becomes of a connection to a local port."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(b"hello")
            return "echo" if client.recv(5) == b"hello" else "end of file"
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "nothing"


def assert_reset_by_rollback(container: Container, port: int, *, busy: bool) -> None:
    """Twenty connections, none of which may outlive the generation it was made to."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS)) for _ in range(20)]
        for client in clients:
            client.sendall(b"flood" if busy else b"hello")
            assert client.recv(5)
        container.rollback()
        for client in clients:
            with pytest.raises(ConnectionResetError):
                drain(client)
    assert echoed(port)


def drain(client: socket.socket) -> None:
    while client.recv(1 << 20):
        pass


def sockaddr(container: Container) -> str:
    """The address of its server, as perl packs it."""
    return f'pack("SnC4x8", 2, {PORT}, {str(container.ip).replace(".", ", ")})'


def reached(one: Container, other: Container) -> str:
    """What becomes of a connection from one container to the server of another."""
    script = f"""
        $SIG{{ALRM}} = sub {{ print "nothing"; exit }}; alarm {SECONDS:.0f};
        socket(S, 2, 1, 0); connect(S, {sockaddr(other)}) || do {{ print "errno " . ($!+0); exit }};
        syswrite(S, "hello"); print sysread(S, $_, 5) == 5 ? "echo" : "errno " . ($!+0);
    """
    return one.run_process(f"perl -e '{script}'", timeout=2 * SECONDS).stdout.decode()


@contextlib.contextmanager
def hammering(port: int) -> Iterator[list[str]]:
    """In this block four clients connect to a local port over and over; what became of each connection is listed."""
    outcomes: list[str] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            outcomes.append(outcome(port))

    clients = [threading.Thread(target=hammer) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield outcomes
    finally:
        done.set()
        for client in clients:
            client.join(2 * SECONDS)

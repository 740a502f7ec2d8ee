"""`ssh -L` and `ssh -R` by the real client: from inside a container that has no ssh software, and back to here."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, SERVER, private_location, said, session_at
from tests.support.openssh import OpenSsh, make_key, until_answered
from tests.support.tcp import Server
from tests.support.tcp_clients import outcome
from tfnz.container import Container

pytestmark = pytest.mark.leaks("module")

INSIDE_ONLY = SERVER.replace('"\\0" x 4', "pack('C4', 127, 0, 0, 1)")
"""As a service that listens on its own localhost."""

ASK = """
    socket(S, 2, 1, 0); connect(S, pack "Sna4x8", 2, $ARGV[0], pack "C4", 127, 0, 0, 1) or die $!;
    syswrite(S, $ARGV[1]); shutdown(S, 1); print while <S>;
"""
"""What a client in the container gets from its own localhost: perl -e ASK PORT WORDS."""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def box(place: PrivateLocation, tiny: str) -> Iterator[Container]:
    """It echoes on its localhost only."""
    assert INSIDE_ONLY != SERVER
    with session_at(place) as session:
        yield session.node().spawn_container(tiny, command=["perl", "-e", INSIDE_ONLY]).wait_until_ready()


@pytest.fixture(scope="module")
def client(place: PrivateLocation, box: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    home = tmp_path_factory.mktemp("user")
    (home / "root").mkdir()
    with place.effective():
        server = box.create_ssh_server(0, authorized_keys=[make_key(home)])
    yield OpenSsh(home / "root", server)
    box.destroy_ssh_server(server)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def answer(client: socket.socket) -> None:
    """Say what was said, backwards, once all of it was."""
    said = b""
    while piece := client.recv(65536):
        said += piece
    client.sendall(said[::-1])


def ask_inside(container: Container, port: int, words: str) -> str:
    return said(container, shlex.join(["perl", "-e", ASK, str(port), words]))


def test_to_the_container_s_own_localhost(client: OpenSsh, box: Container) -> None:
    port, by_name = free_port(), free_port()
    name = box.uuid[:12]
    assert outcome(box.attach_tunnel(PORT).localport) == "reset", "it is its localhost only"
    box.put("/etc/hosts", f"127.0.0.1 {name}\n")
    with client.forwarding("-L", f"{port}:localhost:{PORT}", "-L", f"{by_name}:{name}:{PORT}"):
        until_answered(port)
        until_answered(by_name)
        with contextlib.ExitStack() as stack:
            several = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(20)]
            for number, one in enumerate(several):
                one.sendall(f"number {number}".encode())
                one.shutdown(socket.SHUT_WR)
            for number, one in enumerate(several):
                with one.makefile("rb") as answers:
                    assert answers.read() == f"number {number}".encode()


def test_where_nobody_listens(client: OpenSsh, box: Container) -> None:
    box.put("/etc/resolv.conf", "")  # nobody to wait for
    done = client.ssh(options=["-W", "localhost:9"])
    assert done.returncode != 0
    assert b"refused" in done.stderr.lower()
    done = client.ssh(options=["-W", "no-such-host.invalid:9"])
    assert b"no host" in done.stderr


def test_much_at_once_to_a_slow_reader(client: OpenSsh) -> None:
    """More than all windows on the way hold."""
    port = free_port()
    with client.forwarding("-L", f"{port}:localhost:{PORT}"):
        until_answered(port)
        with socket.create_connection(("127.0.0.1", port), 30) as flooded:
            flooded.sendall(b"flood")
            assert outcome(port) == "echo", "others are not kept waiting"
            left = 64 << 20
            while left > 0:
                piece = flooded.recv(1 << 20)
                assert piece
                left -= len(piece)


def test_from_the_container_to_a_service_here(client: OpenSsh, box: Container) -> None:
    with Server(answer) as service, client.forwarding("-R", f"7777:localhost:{service.port}"):
        until(lambda: _answers(box), "the port to be listened on")
        assert ask_inside(box, 7777, "stressed") == "desserts"
        assert [ask_inside(box, 7777, str(number)) for number in range(10, 20)] == [str(n)[::-1] for n in range(10, 20)]
    until(lambda: not _answers(box), "the port to be free again")


def _answers(box: Container) -> bool:
    return box.run_process(shlex.join(["perl", "-e", ASK, "7777", "x"])).exit_code == 0


def test_a_free_port_in_the_container_and_one_that_is_taken(client: OpenSsh, box: Container) -> None:
    with Server(answer) as service:
        argv = client.argv(options=["-N", "-R", f"0:localhost:{service.port}"])
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as ssh:
            assert ssh.stderr is not None
            line = ssh.stderr.readline().decode()
            assert line.startswith("Allocated port ")
            assert ask_inside(box, int(line.split()[2]), "live") == "evil"
            ssh.terminate()
    done = client.ssh(options=["-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{PORT}:localhost:9"])
    assert b"remote port forwarding failed" in done.stderr


def test_what_is_forwarded_back_survives_a_rollback(client: OpenSsh, box: Container) -> None:
    box.snapshot("before")
    with Server(answer) as service, client.forwarding("-R", f"7777:localhost:{service.port}"):
        until(lambda: _answers(box), "the port to be listened on")
        box.put("/trace", "so that it goes back")
        box.rollback("before")
        until(lambda: _answers(box), "the new life to be listened in")
        assert ask_inside(box, 7777, "stressed") == "desserts"


def test_the_end_of_a_server_cuts_its_clients(place: PrivateLocation, box: Container, client: OpenSsh) -> None:
    with place.effective():
        other = box.create_ssh_server(0, authorized_keys=[f"{client.key}.pub"])
    user = OpenSsh(client.home, other)
    port = free_port()
    threads = threading.active_count()
    with user.forwarding("-L", f"{port}:localhost:{PORT}") as ssh:
        until_answered(port)
        with socket.create_connection(("127.0.0.1", port), 30) as open_:
            box.destroy_ssh_server(other)
            assert ssh.wait(30) != 0
            with contextlib.suppress(ConnectionError):
                assert open_.recv(1) == b""
    assert threading.active_count() < threads
    with pytest.raises(ValueError, match="any more"):
        box.destroy_ssh_server(other)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", other.port), 30)

"""What else carries a TCP connection from here to there: `ssh -L`, docker-proxy, and a relay of two threads."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ground.remote import free_port
from benchmarks.ground.services import Address
from benchmarks.measuring.rounds import until
from benchmarks.peers import sink
from benchmarks.peers.engine import LABEL, Engine
from benchmarks.peers.lives import client_of
from tfcore.commands import run
from tfcore.errors import HostLacks

PLAIN = """
import socket, sys, threading

def carry(source, target):
    room = memoryview(bytearray(256 * 1024))
    try:
        while count := source.recv_into(room):
            target.sendall(room[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def serve(client, server):
    with client, server:
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=carry, args=(server, client))
        back.start()
        carry(client, server)
        back.join()

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    client, _ = listener.accept()
    server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    threading.Thread(target=serve, args=(client, server), daemon=True).start()
"""
"""A relay as one writes it in Python in ten minutes: one process, no encryption."""

PRIVILEGE_SEPARATION = Path("/run/sshd")

SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding local
PermitOpen 127.0.0.1:{target}
LogLevel ERROR
"""


@contextmanager
def plain_relay(target: Address) -> Iterator[Address]:
    """A relay on this machine to an address on this machine."""
    address = ("127.0.0.1", free_port())
    relay = subprocess.Popen([sys.executable, "-c", PLAIN, str(address[1]), str(target[1])], stdin=subprocess.DEVNULL)
    try:
        sink.wait(address)
        yield address
    finally:
        relay.kill()
        relay.wait()


@contextmanager
def ssh_forward(target: Address, directory: Path) -> Iterator[Address]:
    """`ssh -L` with its default cipher to a server of its own on the loopback device.

    Raises:
        HostLacks: there is no ssh or no sshd.
    """
    server, client = _program("sshd", "openssh-server"), _program("ssh", "openssh-client")
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)])
    port, address = free_port(), ("127.0.0.1", free_port())
    (directory / "config").write_text(SSHD.format(port=port, directory=directory, target=target[1]))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_empty_directory())
        stack.enter_context(_running([server, "-D", "-e", "-f", str(directory / "config")]))
        until(lambda: _listens(port), what="sshd", patience=10)
        stack.enter_context(_running(_forwarding(client, directory, port, address, target)))
        sink.wait(address)
        yield address


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise HostLacks(f"there is no {name}", hint=f"install {package}")
    return found


@contextmanager
def _empty_directory() -> Iterator[None]:
    """sshd refuses to run without its directory, which the package makes when the machine starts."""
    if os.geteuid() != 0 or PRIVILEGE_SEPARATION.is_dir():
        yield
        return
    PRIVILEGE_SEPARATION.mkdir(mode=0o755)
    try:
        yield
    finally:
        PRIVILEGE_SEPARATION.rmdir()


def _forwarding(client: str, directory: Path, port: int, address: Address, target: Address) -> list[str]:
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "ExitOnForwardFailure": "yes",
    }
    return [
        client, "-F", "/dev/null", "-N", "-q", "-i", str(directory / "user"), "-p", str(port),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        "-L", f"127.0.0.1:{address[1]}:127.0.0.1:{target[1]}", "127.0.0.1",
    ]  # fmt: skip


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        sink.connect(("127.0.0.1", port)).close()
        return True
    return False


@contextmanager
def docker_proxy(engine: Engine) -> Iterator[Address]:
    """A port published on the loopback device, as testcontainers does it. It is reached inside the engine."""
    port = free_port()
    with client_of(engine) as client:
        container = client.containers.create(
            engine.images["nginx"],
            command=sink.command(),
            ports={f"{sink.PORT}/tcp": ("127.0.0.1", port)},
            labels={LABEL: ""},
        )
        container.start()
        engine.inside(lambda: sink.wait(("127.0.0.1", port)))
        yield "127.0.0.1", port

"""Sockets and programs inside network namespaces, for tests of the network. Nothing here leaves the namespaces it is
given.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from tfcore.errors import HostLacks
from tfnode.images.shift import FIRST_ID
from tfnode.kernel.namespaces import SandboxNamespaces, in_netns, make_netns, make_sandbox_namespaces
from tfnode.process.userns import container_ids

PATIENCE = 20.0
"""Seconds after which something that should have happened at once has not happened."""


def need_root() -> None:
    """Skip the running test where it cannot make namespaces."""
    if os.geteuid() != 0:
        pytest.skip("making network namespaces needs root")


@contextlib.contextmanager
def fresh_netns() -> Iterator[int]:
    """A network namespace of its own, for a router, a host or the world outside."""
    need_root()
    netns = make_netns()
    try:
        yield netns
    finally:
        os.close(netns)


@contextlib.contextmanager
def fresh_sandbox() -> Iterator[SandboxNamespaces]:
    """The namespaces of a container without any process in it."""
    need_root()
    ids = container_ids(FIRST_ID)
    try:
        sandbox = make_sandbox_namespaces(ids.uid_base, ids.gid_base, ids.count)
    except HostLacks as lacking:
        pytest.skip(str(lacking))
    try:
        yield sandbox
    finally:
        sandbox.close()


def listen(netns: int, port: int, address: str = "0.0.0.0", family: int = socket.AF_INET) -> socket.socket:
    """A TCP service that accepts nobody by itself."""
    listener = in_netns(netns, lambda: socket.create_server((address, port), family=family))
    listener.settimeout(PATIENCE)
    return listener


def connect(netns: int, address: IPv4Address | str, port: int) -> socket.socket:
    """A TCP connection from inside `netns`; OSError as the kernel gives it, TimeoutError if nothing answers."""
    client = in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    client.settimeout(PATIENCE)
    try:
        client.connect((str(address), port))
    except OSError:
        client.close()
        raise
    return client


@contextlib.contextmanager
def connected(
    client: int, server: int, address: IPv4Address | str, port: int = 80
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection over which each side has heard the other."""
    with listen(server, port) as listener, connect(client, address, port) as near, listener.accept()[0] as far:
        far.settimeout(PATIENCE)
        near.sendall(b"?")
        assert far.recv(1) == b"?"
        far.sendall(b"!")
        assert near.recv(1) == b"!"
        yield near, far


def refused(netns: int, address: IPv4Address | str, port: int) -> OSError:
    """The error with which a connection from inside `netns` is refused; being let wait is a failure of the test."""
    with pytest.raises(OSError) as caught:
        connect(netns, address, port).close()
    assert not isinstance(caught.value, TimeoutError), f"{address}:{port} was not refused, but never answered"
    return caught.value


def datagrams(netns: int, port: int = 0) -> socket.socket:
    """A UDP socket, bound to `port`."""
    receiver = in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    receiver.bind(("0.0.0.0", port))
    receiver.settimeout(PATIENCE)
    return receiver


def forge(netns: int, source: IPv4Address, destination: IPv4Address, port: int, payload: bytes) -> None:
    """Send a UDP packet from inside `netns` that claims to come from `source`, as root of a container may."""
    udp = (1).to_bytes(2) + port.to_bytes(2) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    ip = bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, 0]) + source.packed + destination.packed
    with in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)) as raw:
        raw.sendto(ip + udp, (str(destination), 0))


def run_in(netns: int, *argv: str) -> str:
    """What a program prints that runs inside `netns`."""
    command = ["nsenter", f"--net=/proc/self/fd/{netns}", *argv]
    done = subprocess.run(command, pass_fds=[netns], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{argv} failed: {done.stderr}"
    return done.stdout


def run_unprivileged_in(netns: int, program: str) -> str:
    """What a Python program prints that runs inside `netns` as nobody, without any capability."""
    return run_in(netns, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", program)


def contents(netns: int) -> str:
    """Everything a network can leave in a namespace: links, addresses, routes and their rules, neighbours, firewall."""
    commands = ("link", "address", "rule", "route show table all", "neighbour show nud all")
    shown = [run_in(netns, "ip", "-oneline", *command.split()) for command in commands]
    return "\n".join([*shown, run_in(netns, "nft", "list", "ruleset")])

"""Who reaches whom (D11 of the design): real containers, asked from inside, on a machine of their own.

The private location runs in a network namespace that plays the machine: it has services, the address clouds serve their
credentials at, and a world beyond. So what containers may reach there is tried without a packet leaving this machine.
"""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import PORT, SECONDS, Spawn, private_location
from tfnode.kernel.namespaces import in_netns
from tfnode.testing.netns import connect, fresh_netns, listen, run_in
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

SERVICE = 7001
"""A port the machine and the world listen on."""
MACHINE, WORLD, METADATA, GATEWAY = "198.51.100.1", "198.51.100.2", "169.254.169.254", "169.254.1.1"

REFUSED = "Connection refused"
CUT = {"Connection reset by peer", "Software caused connection abort"}

PATIENCE = f'$SIG{{ALRM}} = sub {{ print "no answer"; exit }}; alarm {SECONDS:g};'
ADDRESS = "sub address { pack('S n C4 x8', 2, $_[1], split /[.]/, $_[0]) }"

CONNECT = f"""{PATIENCE} {ADDRESS}
    socket(S, 2, 1, 0) || die $!;
    print connect(S, address(@ARGV)) ? "connected" : $!;
"""

TALK = f"""{PATIENCE} {ADDRESS}
    socket(S, 2, 1, 0) && connect(S, address(@ARGV)) && syswrite(S, $ARGV[2]) && sysread(S, $_, 1) || die $!;
    syswrite(STDOUT, "open\\n");
    while ($got = sysread(S, $_, 65536)) {{ }}
    print defined $got ? "the end" : $!;
"""
"""Says "open" when it is answered, and what the connection ends with."""

DATAGRAMS = f"""{ADDRESS}
    $| = 1; socket(S, 2, 2, 17) && bind(S, address("0.0.0.0", {PORT})) || die $!;
    print "bound\\n";
    for (;;) {{ $from = recv(S, $_, 100, 0) || next; print join(".", (unpack "S n C4", $from)[2 .. 5]), " $_\\n" }}
"""
"""Writes down what it is sent, and by whom."""

FORGE = f"""{ADDRESS}
    ($from, $to, $words) = @ARGV;
    socket(S, 2, 3, 255) || die "raw sockets: $!";
    $udp = pack("n n n n", 1, {PORT}, 8 + length $words, 0) . $words;
    $ip = pack("C C n n n C C n C4 C4", 0x45, 0, 0, 0, 0, 64, 17, 0, split(/[.]/, $from), split(/[.]/, $to));
    send(S, $ip . $udp, 0, address($to, 0)) || die $!;
"""

PING = f"""{PATIENCE} {ADDRESS}
    socket(S, 2, 2, 1) || die $!;
    send(S, pack("C C n n n", 8, 0, 0xf7ff, 0, 0), 0, address($ARGV[0], 0)) || die $!;
    recv(S, $_, 100, 0) && print unpack("C", $_) == 0 ? "answered" : "type " . unpack("C", $_);
"""
"""Echo request and reply (RFC 792) by a socket that needs no privilege; the kernel fills in identifier and checksum."""

BIND = f"{ADDRESS} " + 'socket(S, 2, 1, 0); print bind(S, address("0.0.0.0", $ARGV[0])) && listen(S, 1) ? "bound" : $!'

OWN_ADDRESSES = r"print grep /[|]-- /, `cat /proc/net/fib_trie`"

OVER_IPV6 = f"""{PATIENCE}
    socket(S, 10, 2, 17) || (print("none"), exit);
    print send(S, "x", 0, pack("S n N a16 N", 10, 53, 0, pack("H32", $ARGV[0]), $ARGV[1])) ? "sent" : $!;
"""


@pytest.fixture(scope="module")
def world() -> Iterator[int]:
    """Beyond the machine."""
    with fresh_netns() as netns:
        yield netns


@pytest.fixture(scope="module")
def machine(world: int) -> Iterator[int]:
    """What the location takes for its machine; it forwards, as one with Docker does."""
    with fresh_netns() as netns:
        in_netns(netns, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        run_in(netns, "ip", "link", "set", "lo", "up")
        run_in(netns, "ip", "address", "add", f"{METADATA}/32", "dev", "lo")
        run_in(netns, "ip", "link", "add", "beyond", "type", "veth", "peer", "name", "eth0")
        run_in(netns, "ip", "link", "set", "eth0", "netns", f"/proc/{os.getpid()}/fd/{world}")
        _up(netns, "beyond", MACHINE)
        _up(world, "eth0", WORLD)
        yield netns


def _up(netns: int, link: str, address: str) -> None:
    run_in(netns, "ip", "address", "add", f"{address}/24", "dev", link)
    run_in(netns, "ip", "link", "set", link, "up")


@pytest.fixture(scope="module")
def place(machine: int) -> Iterator[PrivateLocation]:
    """A private location there; the daemons are where whoever starts them is."""
    with private_location() as made:
        in_netns(machine, made.connect).disconnect()
        yield made


@pytest.fixture
def pair(serve: Spawn) -> tuple[Container, Container]:
    """Two containers that echo on `PORT`."""
    return serve(), serve()


def perl(container: Container, program: str, *arguments: object, user: str = "") -> str:
    """What a program in the container writes; it must succeed."""
    done = container.run_process(shlex.join(["perl", "-e", program, *map(str, arguments)]), user=user)
    assert done.exit_code == 0, done
    return done.stdout.decode()


def tried(container: Container, address: object, port: int = PORT) -> str:
    """How an attempt to connect from inside a container ends."""
    return perl(container, CONNECT, address, port)


class Talk:
    """A connection from one container to another, as its client sees it; open when made."""

    def __init__(self, client: Container, server: Container, words: str) -> None:
        self._heard = b""
        self._open = threading.Event()
        command = shlex.join(["perl", "-e", TALK, str(server.ip), str(PORT), words])
        self._pool = ThreadPoolExecutor(1)
        self._done = self._pool.submit(client.run_process, command, data_callback=self._hear)
        assert self._open.wait(SECONDS), "the connection was not answered"

    def _hear(self, _: Container, data: bytes) -> None:
        self._heard += data
        if self._heard.startswith(b"open\n"):
            self._open.set()

    def end(self) -> str:
        """What it ended with."""
        with self._pool:
            assert self._done.result(2 * SECONDS).exit_code == 0
        until(lambda: self._heard != b"open\n", "the client's last words")
        return self._heard.decode().removeprefix("open\n")


# --- between containers


def test_nobody_reaches_anybody_unless_allowed(pair: tuple[Container, Container]) -> None:
    """By a reset: whoever tries knows at once."""
    one, other = pair
    assert (tried(one, other.ip), tried(other, one.ip)) == (REFUSED, REFUSED)


def test_leave_holds_both_ways_and_for_nobody_else(serve: Spawn) -> None:
    one, other, third = serve(), serve(), serve()
    other.allow_connection_from(one)
    assert (tried(one, other.ip), tried(other, one.ip)) == ("connected", "connected")
    assert {tried(third, one.ip), tried(third, other.ip), tried(one, third.ip), tried(other, third.ip)} == {REFUSED}


@pytest.mark.parametrize("words", ["quiet", "flood"])
def test_taking_leave_back_cuts_what_is_open(pair: tuple[Container, Container], words: str) -> None:
    server, client = pair
    server.allow_connection_from(client)
    talk = Talk(client, server, words)
    server.disallow_connection_from(client)
    assert talk.end() in CUT
    assert (tried(client, server.ip), tried(server, client.ip)) == (REFUSED, REFUSED)


def test_taking_leave_back_leaves_others_alone(serve: Spawn) -> None:
    server, client, friend = serve(), serve(), serve()
    server.allow_connection_from(client)
    server.allow_connection_from(friend)
    talk = Talk(friend, server, "quiet")
    server.disallow_connection_from(client)
    assert tried(friend, server.ip) == "connected"
    server.disallow_connection_from(friend)
    assert talk.end() in CUT


@pytest.mark.parametrize("which", [0, 1], ids=["the server", "the client"])
def test_a_rollback_keeps_address_and_leave(serve: Spawn, pair: tuple[Container, Container], which: int) -> None:
    server, client = pair
    stranger = serve()
    server.allow_connection_from(client)
    rolled = pair[which]
    before = perl(rolled, OWN_ADDRESSES)
    assert str(rolled.ip) in before
    rolled.snapshot()
    rolled.rollback()
    assert perl(rolled, OWN_ADDRESSES) == before
    assert (tried(client, server.ip), tried(server, client.ip)) == ("connected", "connected")
    assert (tried(stranger, rolled.ip), tried(rolled, stranger.ip)) == (REFUSED, REFUSED)


def test_what_was_taken_back_is_not_there_after_a_rollback(pair: tuple[Container, Container]) -> None:
    """Leave is not part of a snapshot."""
    server, client = pair
    server.allow_connection_from(client)
    server.snapshot()
    server.disallow_connection_from(client)
    server.rollback()
    assert tried(client, server.ip) == REFUSED


def test_a_rollback_cuts_what_is_open(pair: tuple[Container, Container]) -> None:
    server, client = pair
    server.allow_connection_from(client)
    server.snapshot()
    talk = Talk(client, server, "quiet")
    server.rollback()
    assert talk.end() in CUT


def test_a_forged_source_goes_nowhere(serve: Spawn) -> None:
    """What is genuine is sent last and by the same way, so nothing forged can still be coming."""
    victim = serve(command=["perl", "-e", DATAGRAMS], ready=ready.log("bound"))
    friend, forger = serve(), serve()
    victim.allow_connection_from(friend)
    victim.allow_connection_from(forger)
    for source in (friend.ip, victim.ip, GATEWAY, METADATA, WORLD, "127.0.0.1"):
        perl(forger, FORGE, source, victim.ip, "forged")
    perl(forger, FORGE, forger.ip, victim.ip, "genuine")
    heard = until(lambda: _written(victim), "a datagram")
    assert heard == [f"{forger.ip} genuine"]


def _written(container: Container) -> list[str]:
    return "".join(line["log"] for line in container.logs()).splitlines()[1:]


# --- the machine and the world


def test_nothing_of_the_machine_is_reached(machine: int, world: int, serve: Spawn) -> None:
    """Its services listen on every address it has, the metadata service of clouds among them; the world's can be reached."""
    container = serve()
    with listen(machine, SERVICE), listen(world, SERVICE):
        addresses = _addresses(machine)
        assert {"127.0.0.1", MACHINE, METADATA} < addresses, "the node has no uplink"
        for address in addresses:
            connect(machine, address, SERVICE).close()
        assert {address: tried(container, address, SERVICE) for address in {*addresses, GATEWAY}} == dict.fromkeys(
            {*addresses, GATEWAY}, REFUSED
        )
        assert tried(container, WORLD, SERVICE) == "connected"


def _addresses(netns: int) -> set[str]:
    links = json.loads(run_in(netns, "ip", "-json", "-4", "address", "show"))
    return {entry["local"] for link in links for entry in link["addr_info"]}


def test_the_world_reaches_no_container(machine: int, world: int, serve: Spawn) -> None:
    """Nor does the machine, but through the node."""
    container = serve()
    run_in(world, "ip", "route", "replace", "default", "via", MACHINE)
    for netns in (machine, world):
        with pytest.raises(OSError, match=r"unreachable|refused|No route"):
            connect(netns, str(container.ip), PORT).close()


def test_the_sockets_of_location_and_node_are_out_of_sight(place: PrivateLocation, serve: Spawn) -> None:
    """Those with a name in no file system belong to a network namespace, and none of the node's is the container's."""
    container = serve()
    assert perl(container, "print grep /[@\\/]/, `cat /proc/net/unix`") == ""
    sockets = [path for path in place.run.rglob("*") if path.is_socket()]
    assert sockets, "the location has no sockets to be looked for"
    for path in sockets:
        assert perl(container, "print -e $ARGV[0] ? 'there' : 'nothing'", path) == "nothing"


# --- a container's own


def test_there_is_no_ipv6(pair: tuple[Container, Container]) -> None:
    """But on its loopback."""
    one, other = pair
    other.allow_connection_from(one)
    assert perl(one, "print map { (split)[5] ne 'lo' } `cat /proc/net/if_inet6 2>/dev/null`") == ""
    link = perl(one, "print grep { !/^(lo|\\.)/ } map { chomp; $_ } `ls /sys/class/net`")
    index = perl(one, "print `cat /sys/class/net/$ARGV[0]/ifindex`", link).strip()
    for address in ("ff02" + 27 * "0" + "1", "fe80" + 27 * "0" + "1", "2001" + 27 * "0" + "1"):
        assert perl(one, OVER_IPV6, address, index) not in ("sent", "no answer")


@pytest.mark.parametrize("user", ["", "web"])
def test_low_ports_need_no_privilege(serve: Spawn, user: str) -> None:
    assert perl(serve(), BIND, 80, user=user) == "bound"


@pytest.mark.parametrize("user", ["", "web"])
def test_ping_needs_no_privilege(pair: tuple[Container, Container], user: str) -> None:
    one, other = pair
    other.allow_connection_from(one)
    assert {perl(one, PING, address, user=user) for address in (one.ip, other.ip, "127.0.0.1")} == {"answered"}


def test_it_reaches_itself_by_its_own_address(serve: Spawn) -> None:
    container = serve()
    assert (tried(container, container.ip), tried(container, "127.0.0.1")) == ("connected", "connected")


def test_its_name_is_its_address(location: Location, serve: Spawn) -> None:
    container = serve(hostname="server")
    line = next(line for line in container.fetch("/etc/hosts").decode().splitlines() if "server" in line.split())
    assert line.split()[0] == str(container.ip)


def test_many_leave_the_node_as_it_was(location: Location, serve: Spawn) -> None:
    """Pairs are taken back with their containers: the fixture compares what the node has."""
    with ExitStack() as ends:
        server = serve()
        for _ in range(3):
            client = serve()
            ends.callback(client.destroy)
            server.allow_connection_from(client)
            assert tried(client, server.ip) == "connected"
    assert tried(server, server.ip) == "connected"

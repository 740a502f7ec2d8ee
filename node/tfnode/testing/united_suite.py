"""What every network promises of generations that are united (`UnitedSuite`), and what one that connects containers
promises besides (`UnitedTrafficSuite`): an app and its database, booted beside themselves and swapped in one go.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tfcore.errors import NotFound, WrongState
from tfnode.kernel.namespaces import in_netns
from tfnode.network.interface import Network
from tfnode.testing.netns import PATIENCE, connected, contents, listen, refused, run_in
from tfnode.testing.network_suite import FIRST, MakePlace, Place
from tfnode.testing.switch_suite import Beside, MakeBeside

FIXED_PORT = 40_404


class Chain(NamedTuple):
    """Two that may talk to each other."""

    app: Place
    db: Place


MakeSpare = Callable[[], Chain]


@contextlib.contextmanager
def from_its_own(client: Place, server: Place) -> Iterator[tuple[socket.socket, socket.socket]]:
    """As `connected`, from the client's own address and always the same port, as some peer-to-peer services do."""
    with (
        listen(server.netns, 80) as listener,
        in_netns(client.netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as near,
    ):
        near.settimeout(PATIENCE)
        near.bind((str(client.address), FIXED_PORT))
        near.connect((str(server.address), 80))
        with listener.accept()[0] as far:
            far.settimeout(PATIENCE)
            yield near, far


def says(near: socket.socket, far: socket.socket, what: bytes) -> bool:
    """True if what one end says arrives at the other and comes back; at most what a socket takes at once."""
    near.sendall(what)
    if far.recv(len(what), socket.MSG_WAITALL) != what:
        return False
    far.sendall(what)
    return near.recv(len(what), socket.MSG_WAITALL) == what


def received(place: Place) -> int:
    """How many packets have come to it from outside."""
    table = in_netns(place.netns, Path("/proc/thread-self/net/dev").read_text)
    return int(re.search(r"eth0:\s*\d+\s+(\d+)", table)[1])  # type: ignore[index]


class United(Beside):
    """Fixtures of both suites."""

    @pytest.fixture
    def live(self, opened: Network, make_place: MakePlace) -> Chain:
        """The generation that is reached."""
        chain = Chain(make_place(), make_place())
        opened.allow(chain.app.address, chain.db.address)
        return chain

    @pytest.fixture
    def make_spare(self, opened: Network, live: Chain, make_beside: MakeBeside) -> MakeSpare:
        """Makes another one, united."""

        def make() -> Chain:
            spare = Chain(make_beside(live.app), make_beside(live.db))
            opened.unite(spare.app.attachment, spare.db.attachment)
            return spare

        return make


class UnitedSuite(United):
    """What holds on every network."""

    def test_those_that_are_reached_are_not_united(self, opened: Network, live: Chain, make_beside: MakeBeside) -> None:
        with pytest.raises(WrongState):
            opened.unite(live.db.attachment, make_beside(live.app).attachment)
        gone = make_beside(live.app)
        opened.detach(gone.attachment)
        with pytest.raises(NotFound, match="is not attached"):
            opened.unite(make_beside(live.db).attachment, gone.attachment)

    def test_all_or_none_are_switched(self, opened: Network, make_spare: MakeSpare) -> None:
        spare = make_spare()
        opened.detach(spare.db.attachment)
        with pytest.raises(NotFound, match="is not attached"):
            opened.switch(spare.app.attachment, spare.db.attachment)
        opened.step_back(spare.app.attachment)

    def test_hundred_generations_leave_nothing(
        self, opened: Network, router: int, live: Chain, make_sandbox: Callable[[], int]
    ) -> None:
        sandboxes = [(make_sandbox(), make_sandbox()) for _ in range(5)]
        before = len(contents(router).splitlines()), threading.active_count(), len(os.listdir("/proc/self/fd"))
        living = live
        for n in range(100):
            app, db = sandboxes[n % 5]
            following = Chain(
                Place(app, opened.attach_beside(app, live.app.address)),
                Place(db, opened.attach_beside(db, live.db.address)),
            )
            opened.unite(following.app.attachment, following.db.attachment)
            opened.switch(following.app.attachment, following.db.attachment)
            opened.detach(living.app.attachment)
            opened.detach(living.db.attachment)
            living = following
        for place in living:
            opened.detach(place.attachment)
        for place in live:
            opened.attach(place.netns, place.address)
        opened.allow(live.app.address, live.db.address)
        after = len(contents(router).splitlines()), threading.active_count(), len(os.listdir("/proc/self/fd"))
        assert after == before


class UnitedTrafficSuite(United):
    """What holds on a network that connects containers."""

    def test_they_reach_each_other_under_their_usual_addresses(self, live: Chain, make_spare: MakeSpare) -> None:
        spare, other = make_spare(), make_spare()
        for one in (spare, other, live):
            with connected(one.app.netns, one.db.netns, live.db.address):
                pass
            with connected(one.db.netns, one.app.netns, live.app.address, 81):
                pass

    def test_nobody_else_reaches_them(self, router: int, live: Chain, make_spare: MakeSpare) -> None:
        spare = make_spare()
        with listen(spare.db.netns, 80):
            for netns in (live.app.netns, router):
                assert isinstance(refused(netns, live.db.address, 80), ConnectionRefusedError)
        with listen(live.db.netns, 80):
            assert isinstance(refused(spare.app.netns, live.db.address, 80), ConnectionRefusedError)

    def test_without_leave_they_do_not(self, opened: Network, make_place: MakePlace, make_beside: MakeBeside) -> None:
        spare = Chain(make_beside(make_place()), make_beside(make_place()))
        opened.unite(spare.app.attachment, spare.db.attachment)
        with listen(spare.db.netns, 80):
            refused(spare.app.netns, spare.db.address, 80)

    def test_leave_that_is_taken_ends_what_is_between_them(
        self, opened: Network, live: Chain, make_spare: MakeSpare
    ) -> None:
        spare = make_spare()
        with connected(spare.app.netns, spare.db.netns, live.db.address) as ends:
            opened.disallow(live.app.address, live.db.address)
            for end in ends:
                with pytest.raises(ConnectionError):
                    end.recv(1)

    def test_what_one_has_opened_to_the_other_goes_on_after_the_switch(
        self, opened: Network, live: Chain, make_spare: MakeSpare
    ) -> None:
        spare = make_spare()
        with connected(spare.app.netns, spare.db.netns, live.db.address) as (near, far):
            assert far.getpeername()[0] == str(spare.app.attachment.alias)
            opened.switch(*(place.attachment for place in spare))
            for place in live:
                opened.reset_connections(place.attachment)
            assert says(near, far, b"switched")
            for place in live:
                opened.detach(place.attachment)
            assert says(near, far, b"alone")
            other = make_spare()
            with connected(other.app.netns, other.db.netns, live.db.address, 81):
                assert says(near, far, b"with the next one beside it")
        with connected(spare.app.netns, spare.db.netns, live.db.address) as (_, far):
            assert far.getpeername()[0] == str(live.app.address)

    def test_the_same_two_ends_are_two_connections(self, live: Chain, make_spare: MakeSpare) -> None:
        """A service that binds its own address and a fixed port does so in both generations. One has said much more than
        the other, so that neither is taken for the other by its sequence numbers."""
        spare = make_spare()
        with from_its_own(live.app, live.db) as one:
            for _ in range(500):
                assert says(*one, b"much" * 4000)
            with from_its_own(spare.app, spare.db) as other:
                for n in range(20):
                    assert says(*one, b"live" * (n + 1))
                    assert says(*other, b"spare" * (n + 1))

    def test_all_are_reached_after_the_switch(
        self, opened: Network, router: int, live: Chain, make_spare: MakeSpare
    ) -> None:
        spare = make_spare()
        opened.switch(*(place.attachment for place in spare))
        for place in spare:
            with connected(router, place.netns, place.address):
                pass
        for place in live:
            with listen(place.netns, 81):
                assert isinstance(refused(router, place.address, 81), ConnectionRefusedError)

    def test_idle_clients_of_the_former_are_reset(
        self, opened: Network, router: int, live: Chain, make_spare: MakeSpare
    ) -> None:
        spare = make_spare()
        with connected(router, live.app.netns, live.app.address) as (near, _):
            opened.switch(*(place.attachment for place in spare))
            for place in live:
                opened.reset_connections(place.attachment)
            with pytest.raises(ConnectionResetError):
                near.recv(1)

    def test_resets_of_the_former_stay_among_them(self, opened: Network, live: Chain, make_spare: MakeSpare) -> None:
        """Whether a container was reached is told by its packets: the new ones must not get any by that."""
        for _ in range(2):
            spare = make_spare()
            with connected(live.app.netns, live.db.netns, live.db.address) as (near, far):
                opened.switch(*(place.attachment for place in spare))
                before = [received(place) for place in spare]
                for place in live:
                    opened.reset_connections(place.attachment)
                assert [received(place) for place in spare] == before
                for end in (near, far):
                    with pytest.raises(ConnectionError):
                        end.recv(1)
            for place in live:
                opened.detach(place.attachment)
            live = spare

    def test_a_third_one_notices_nothing(
        self, opened: Network, live: Chain, make_place: MakePlace, make_spare: MakeSpare
    ) -> None:
        """It serves both generations, and is connected to the one that is reached."""
        third = make_place()
        for place in live:
            opened.allow(place.address, third.address)
        spare = make_spare()
        with (
            connected(spare.app.netns, third.netns, third.address) as ahead,
            connected(live.app.netns, third.netns, third.address, 81) as present,
            connected(third.netns, live.db.netns, live.db.address, 82) as back,
        ):
            for ends in (ahead, present, back):
                assert says(*ends, b"before")
            opened.switch(*(place.attachment for place in spare))
            assert says(*ahead, b"after")

    def test_two_generations_take_turns(self, opened: Network, live: Chain, make_spare: MakeSpare) -> None:
        former, following = make_spare(), make_spare()
        opened.switch(*(place.attachment for place in former))
        for _ in range(3):
            opened.switch(*(place.attachment for place in following))
            for place in former:
                opened.reset_connections(place.attachment)
                opened.step_back(place.attachment)
            opened.unite(*(place.attachment for place in former))
            for one in (former, following):
                with connected(one.app.netns, one.db.netns, live.db.address):
                    pass
            former, following = following, former

    def test_one_alone_that_is_switched_to_afterwards_reaches_the_others(
        self, opened: Network, live: Chain, make_spare: MakeSpare, make_beside: MakeBeside
    ) -> None:
        spare = make_spare()
        opened.switch(*(place.attachment for place in spare))
        alone = make_beside(live.app)
        opened.switch(alone.attachment)
        for client, server in ((alone, spare.db), (spare.db, alone)):
            with connected(client.netns, server.netns, server.address):
                pass

    def test_detached_they_leave_nothing(
        self, opened: Network, router: int, live: Chain, make_spare: MakeSpare
    ) -> None:
        before = contents(router)
        spare = make_spare()
        for place in spare:
            opened.detach(place.attachment)
        assert contents(router) == before
        opened.switch(*(place.attachment for place in live))

    def test_closing_takes_the_rules_too(self, network: Network, router: int, make_sandbox: Callable[[], int]) -> None:
        before = contents(router)
        network.open()
        sandboxes = [make_sandbox() for _ in range(4)]
        reached = [
            network.attach(sandbox, address) for sandbox, address in zip(sandboxes, (FIRST, FIRST + 1), strict=False)
        ]
        beside = [network.attach_beside(netns, one.address) for netns, one in zip(sandboxes[2:], reached, strict=True)]
        network.unite(*beside)
        assert run_in(router, "ip", "rule").count("iif") == 2
        network.close()
        assert contents(router) == before

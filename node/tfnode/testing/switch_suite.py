"""What every network promises of two namespaces under one address, of which one is reached (`BesideSuite`), and what one
that connects containers promises besides (`SwitchSuite`). See `network_suite` for how they are used.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from tfcore.errors import NotFound, WrongState
from tfnode.network.interface import Network
from tfnode.testing.netns import connect, connected, contents, listen, refused
from tfnode.testing.network_suite import FIRST, Fixtures, MakePlace, Place


class Beside(Fixtures):
    """Fixtures of both suites."""

    @pytest.fixture
    def make_beside(self, opened: Network, make_sandbox: Callable[[], int]) -> Callable[[Place], Place]:
        """Makes a sandbox that is attached beside another one."""

        def make(place: Place) -> Place:
            netns = make_sandbox()
            return Place(netns, opened.attach_beside(netns, place.address))

        return make


MakeBeside = Callable[[Place], Place]


class BesideSuite(Beside):
    """What holds on every network."""

    def test_needs_an_attached_address(self, opened: Network, make_sandbox: Callable[[], int]) -> None:
        with pytest.raises(NotFound, match=f"{FIRST} is not attached"):
            opened.attach_beside(make_sandbox(), FIRST)

    def test_is_another_attachment_with_an_alias_of_its_own(
        self, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place = make_place()
        attachments = {make_beside(place).attachment for _ in range(3)}
        assert len({attachment.alias for attachment in attachments}) == 3
        assert {attachment.address for attachment in attachments} == {place.address}

    def test_loopback_is_up(self, make_place: MakePlace, make_beside: MakeBeside) -> None:
        beside = make_beside(make_place())
        with connected(beside.netns, beside.netns, "127.0.0.1"):
            pass

    def test_resets_are_its_own(self, opened: Network, make_place: MakePlace, make_beside: MakeBeside) -> None:
        place = make_place()
        beside = make_beside(place)
        with connected(place.netns, place.netns, "127.0.0.1") as (near, far):
            opened.reset_connections(beside.attachment)
            near.sendall(b"still")
            assert far.recv(5) == b"still"

    def test_switched_twice_is_once(self, opened: Network, make_place: MakePlace, make_beside: MakeBeside) -> None:
        beside = make_beside(make_place())
        opened.switch(beside.attachment)
        opened.switch(beside.attachment)

    def test_the_one_that_is_reached_does_not_step_back(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        with pytest.raises(WrongState):
            opened.step_back(make_place().attachment)
        gone = make_beside(make_place())
        opened.detach(gone.attachment)
        with pytest.raises(NotFound, match="is not attached"):
            opened.step_back(gone.attachment)

    def test_what_is_not_attached_is_not_switched_to(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        beside = make_beside(make_place())
        opened.detach(beside.attachment)
        with pytest.raises(NotFound, match="is not attached"):
            opened.switch(beside.attachment)

    def test_two_hundred_generations_leave_nothing(
        self, opened: Network, router: int, make_place: MakePlace, make_sandbox: Callable[[], int]
    ) -> None:
        place, neighbour = make_place(), make_place()
        opened.allow(place.address, neighbour.address)
        sandboxes = [make_sandbox() for _ in range(10)]
        before = len(contents(router).splitlines()), threading.active_count(), len(os.listdir("/proc/self/fd"))
        living = place.attachment
        for n in range(200):
            following = opened.attach_beside(sandboxes[n % 10], place.address)
            opened.switch(following)
            opened.detach(living)
            living = following
        opened.detach(living)
        again = opened.attach(place.netns, place.address)
        opened.allow(place.address, neighbour.address)
        assert opened.reset_connections(again) == 0
        after = len(contents(router).splitlines()), threading.active_count(), len(os.listdir("/proc/self/fd"))
        assert after == before


class SwitchSuite(Beside):
    """What holds on a network that connects containers."""

    def test_only_the_other_is_reached_until_the_switch(
        self, opened: Network, router: int, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place = make_place()
        beside = make_beside(place)
        with listen(beside.netns, 80):
            assert isinstance(refused(router, place.address, 80), ConnectionRefusedError)
        opened.switch(beside.attachment)
        with connected(router, beside.netns, place.address):
            pass
        with listen(place.netns, 81):
            assert isinstance(refused(router, place.address, 81), ConnectionRefusedError)

    def test_answers_under_its_address_inside(self, make_place: MakePlace, make_beside: MakeBeside) -> None:
        beside = make_beside(make_place())
        with connected(beside.netns, beside.netns, beside.address):
            pass

    def test_idle_clients_of_the_former_are_reset(
        self, opened: Network, router: int, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place = make_place()
        beside = make_beside(place)
        with connected(router, place.netns, place.address) as (near, _):
            opened.switch(beside.attachment)
            opened.reset_connections(place.attachment)
            with pytest.raises(ConnectionResetError):
                near.recv(1)

    def test_may_what_the_address_may_and_is_answered(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place, friend, stranger = make_place(), make_place(), make_place()
        opened.allow(place.address, friend.address)
        beside = make_beside(place)
        with (
            connected(beside.netns, friend.netns, friend.address) as (_, far),
            connected(place.netns, friend.netns, friend.address, 81) as (_, others),
        ):
            assert far.getpeername()[0] == str(beside.attachment.alias)
            assert others.getpeername()[0] == str(place.address)
        with listen(stranger.netns, 80):
            refused(beside.netns, stranger.address, 80)

    def test_leave_given_later_is_its_too_and_can_be_taken(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place, friend = make_place(), make_place()
        beside = make_beside(place)
        opened.allow(friend.address, place.address)
        with connected(beside.netns, friend.netns, friend.address) as (near, far):
            opened.disallow(place.address, friend.address)
            for end in (near, far):
                with pytest.raises(ConnectionError):
                    end.recv(1)
        with listen(friend.netns, 80):
            refused(beside.netns, friend.address, 80)

    def test_what_it_opened_goes_on_after_the_switch_and_what_follows_has_its_address(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place, friend = make_place(), make_place()
        opened.allow(place.address, friend.address)
        beside = make_beside(place)
        with connected(beside.netns, friend.netns, friend.address) as (near, far):
            opened.switch(beside.attachment)
            opened.detach(place.attachment)
            near.sendall(b"on")
            assert far.recv(2) == b"on"
        with connected(beside.netns, friend.netns, friend.address) as (_, far):
            assert far.getpeername()[0] == str(place.address)

    def test_friends_reach_the_one_that_was_switched_to(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place, friend = make_place(), make_place()
        opened.allow(place.address, friend.address)
        beside = make_beside(place)
        opened.switch(beside.attachment)
        opened.detach(place.attachment)
        with connected(friend.netns, beside.netns, place.address):
            pass

    def test_two_can_take_turns(self, opened: Network, make_place: MakePlace, make_beside: MakeBeside) -> None:
        place, friend = make_place(), make_place()
        opened.allow(place.address, friend.address)
        former, following = make_beside(place), make_beside(place)
        opened.switch(former.attachment)
        for _ in range(3):
            opened.switch(following.attachment)
            opened.step_back(former.attachment)
            with connected(friend.netns, following.netns, place.address):
                pass
            for one, seen in ((former, former.attachment.alias), (following, place.address)):
                with connected(one.netns, friend.netns, friend.address, 81) as (_, far):
                    assert far.getpeername()[0] == str(seen)
            former, following = following, former

    def test_the_one_that_is_reached_on_a_real_network_does_not_step_back(
        self, opened: Network, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        beside = make_beside(make_place())
        opened.switch(beside.attachment)
        with pytest.raises(WrongState, match="is reached here"):
            opened.step_back(beside.attachment)

    def test_detached_without_a_switch_it_leaves_the_other_alone(
        self, opened: Network, router: int, make_place: MakePlace, make_beside: MakeBeside
    ) -> None:
        place, friend = make_place(), make_place()
        opened.allow(place.address, friend.address)
        before = contents(router)
        opened.detach(make_beside(place).attachment)
        assert contents(router) == before
        with connected(friend.netns, place.netns, place.address), connected(router, place.netns, place.address, 81):
            pass

    def test_alias_cannot_be_borrowed(self, opened: Network, make_place: MakePlace, make_beside: MakeBeside) -> None:
        """Another container that takes it for its own is not let through, and does not get its answers."""
        place, friend, thief = make_place(), make_place(), make_place()
        opened.allow(place.address, friend.address)
        beside = make_beside(place)
        with listen(friend.netns, 80):
            refused(thief.netns, friend.address, 80)
            refused(thief.netns, str(beside.attachment.alias), 80)
            connect(beside.netns, friend.address, 80).close()

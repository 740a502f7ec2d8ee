"""The location's address book."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from tfcore.errors import BadRequest, Exhausted, NotFound, WrongState
from tflocation.addresses import DEFAULT_NETWORK, AddressBook

SMALL = IPv4Network("10.9.8.0/29")
SIX = [IPv4Address("10.9.8.1") + n for n in range(6)]


def allocate_all(book: AddressBook) -> list[IPv4Address]:
    return [book.allocate() for _ in SIX]


def test_gives_every_address_once_but_the_edges() -> None:
    assert allocate_all(AddressBook(SMALL)) == SIX


def test_default_network_has_room() -> None:
    book = AddressBook()
    assert book.allocate() in DEFAULT_NETWORK
    assert book.network.num_addresses == 65536


def test_exhausted_names_network_and_number() -> None:
    book = AddressBook(SMALL)
    allocate_all(book)
    with pytest.raises(Exhausted, match=r"all 6 of 10\.9\.8\.0/29"):
        book.allocate()


def test_unused_addresses_go_before_returned_ones() -> None:
    book = AddressBook(SMALL)
    book.release(book.allocate())
    assert book.allocate() == SIX[1]


def test_returned_addresses_come_again_in_the_order_of_their_return() -> None:
    book = AddressBook(SMALL)
    allocate_all(book)
    for address in (SIX[3], SIX[0], SIX[5]):
        book.release(address)
    assert [book.allocate() for _ in range(3)] == [SIX[3], SIX[0], SIX[5]]


def test_claimed_address_is_not_given_out() -> None:
    book = AddressBook(SMALL, taken=[SIX[0], SIX[2]])
    assert [book.allocate() for _ in range(4)] == [SIX[1], SIX[3], SIX[4], SIX[5]]


def test_claimed_and_released_address_goes_to_the_end() -> None:
    book = AddressBook(SMALL, taken=[SIX[0]])
    book.release(SIX[0])
    assert allocate_all(book) == [*SIX[1:], SIX[0]]


def test_claim_takes_a_returned_address() -> None:
    book = AddressBook(SMALL)
    allocate_all(book)
    book.release(SIX[1])
    book.claim(SIX[1])
    with pytest.raises(Exhausted):
        book.allocate()


def test_claim_twice_is_refused() -> None:
    book = AddressBook(SMALL, taken=[SIX[0]])
    with pytest.raises(WrongState, match=r"10\.9\.8\.1 is in use already"):
        book.claim(SIX[0])


@pytest.mark.parametrize("address", ["10.9.8.0", "10.9.8.7", "10.9.9.1"])
def test_claim_outside_is_refused(address: str) -> None:
    with pytest.raises(BadRequest, match="not a container's address"):
        AddressBook(SMALL).claim(IPv4Address(address))


def test_release_of_an_unused_address_is_refused() -> None:
    with pytest.raises(NotFound, match="not in use"):
        AddressBook(SMALL).release(SIX[0])


def test_too_small_a_network_is_refused() -> None:
    with pytest.raises(BadRequest, match="too small"):
        AddressBook(IPv4Network("10.9.8.0/30"))


def test_in_use_lists_what_is_out() -> None:
    book = AddressBook(SMALL, taken=[SIX[4]])
    first = book.allocate()
    assert book.in_use() == {SIX[4], first}

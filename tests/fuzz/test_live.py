"""A location that runs, told thousands of malformed things by those who got in and by those who did not."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import time
from collections.abc import Iterator

import pytest

from tests.fuzz.mutations import SEED, TIMES, mutated
from tests.location.world import Client, run
from tests.support.besieged import Besieged, besieged
from tests.support.daemons import until
from tests.support.zmtp import GREETING, Wire
from tests.wire.vocabulary import requests, sample
from tfcore import invitations, keys
from tfcore.wire import nodes as n
from tfcore.wire import sessions as s
from tfcore.wire.header import Header, encode_header
from tfcore.wire.message import encode, op_of
from tflocation.auth.accounts import Accounts
from tflocation.auth.invitations import Address, Invitations
from tflocation.store.database import Database

pytestmark = pytest.mark.leaks("module")

MIB = 1 << 20
MESSAGES, HANDSHAKES = 6000 * TIMES, 150 * TIMES


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """It is looked at at its end, too: what it has logged."""
    with besieged(tmp_path_factory.mktemp("fuzzed")) as made:
        yield made


def malformed(chance: random.Random) -> Iterator[list[bytes]]:
    """Frames of messages: a bad header with a good body, the other way round, both, too many frames, too few."""
    bodies = {op_of(cls): encode(sample(cls)) for cls in requests() if cls is not s.CloseSession}
    ids = [f"r-{number:022}" for number in range(40)]
    targets = ["", "c-" + "0" * 22, "v-" + "1" * 22]
    while True:
        op, body = chance.choice(list(bodies.items()))
        kind = chance.choice(["request"] * 6 + ["data", "credit", "cancel", "event", "reply", "failure"])
        header = encode_header(
            Header(
                kind=kind, id=chance.choice(ids), op=op, target=chance.choice(targets), channel=chance.randrange(3),
                at=chance.choice((0, 7, 1 << 40)), timeout=chance.choice((0.001, 0.5, 86400.0)),
            )
        )  # fmt: skip
        match chance.randrange(8):
            case 0:
                yield [mutated(chance, [header]), body]
            case 1:
                yield [mutated(chance, [header]), mutated(chance, [body])]
            case 2:
                yield [header] + [body] * chance.randrange(0, 6)
            case _:
                yield [header, mutated(chance, [body])]


def tell(place: Besieged, name: str, pair: keys.KeyPair, *, first: object = None) -> None:
    """Malformed messages by one connection, among which its owner's good ones are answered."""

    async def scenario() -> None:
        client = Client(place.endpoint, place.server_key, pair)
        try:
            if name == "session":
                await client.hello()
            for number, frames in enumerate(itertools.islice(malformed(random.Random(f"{name} {SEED}")), MESSAGES)):
                client.send_raw(*frames)
                if number % 300 == 0:
                    await place.serves()
            await place.serves()
        finally:
            await client.close()

    run(scenario)


@pytest.mark.parametrize("name", ["session", "nobody's"])
def test_messages(place: Besieged, name: str) -> None:
    """By an account with a session, and by one that has not said hello."""
    before, heard = place.forget(), place.heard()
    tell(place, name, place.mallory)
    place.is_well()
    until(lambda: place.heard() > heard + MESSAGES, "all of it to be heard")
    assert place.memory() - before < 64 * MIB


def test_messages_of_a_node_gone_bad(place: Besieged) -> None:
    """A node has more to say than others, and is believed no more than it must be."""
    pair = keys.generate()
    database = Database(place.directory.store)
    Accounts(database).add("node", f"bad-{time.time_ns()}", pair.public)
    database.close()
    before = place.forget()
    tell(place, "node", pair)
    place.is_well()
    assert place.memory() - before < 64 * MIB


def test_enrolment(place: Besieged) -> None:
    """Under an invitation's key: nobody is let in by what is malformed, and the invitation is still good afterwards."""
    database = Database(place.directory.store)
    invited = Invitations(database, Accounts(database))
    address = Address(location="it", endpoint=place.endpoint, server_key=place.server_key)
    text = invited.make("account", f"guest-{time.time_ns()}", address)
    database.close()
    invitation = invitations.parse(text, role="client")
    good = encode(s.AcceptInvitation(key=keys.generate().public))
    chance = random.Random(f"enrolment {SEED}")

    async def scenario() -> None:
        guest = Client(place.endpoint, place.server_key, invitation.keys)
        try:
            for number in range(500 * TIMES):
                header = Header(kind="request", id=f"r-{number:022}", op=op_of(s.AcceptInvitation))
                body = mutated(chance, [good])
                if b"\xc4\x20" not in body and b"\xc4 " not in body:
                    guest.send_raw(encode_header(header), body)
            for request in (n.JoinLocation, s.OpenSession, s.CloseSession, s.AskStatus):
                await guest.error_of(sample(request))
            await guest.call(s.AcceptInvitation(key=keys.generate().public))
        finally:
            await guest.close()

    run(scenario)
    place.is_well()


@pytest.mark.parametrize("stage", ["greeting", "hello", "initiate", "metadata", "message"])
def test_handshakes(place: Besieged, stage: str) -> None:
    """Everything libzmq reads before it knows who is there, and the metadata it reads when it does."""
    before = place.forget()
    chance = random.Random(f"{stage} {SEED}")
    for _ in range(HANDSHAKES):
        with place.wire() as wire:
            with contextlib.suppress(OSError, AssertionError):  # it has hung up, as it should
                _shake(wire, stage, chance)
                wire.socket.shutdown(socket.SHUT_WR)
            assert wire.is_cut()
    place.is_well()
    assert place.memory() - before < 32 * MIB


def _shake(wire: Wire, stage: str, chance: random.Random) -> None:
    noise = chance.randbytes(chance.choice((0, 1, 64, 200, 5000)))
    if stage == "greeting":
        wire.socket.sendall(mutated(chance, [GREETING]) + noise)
        return
    wire.greet()
    if stage == "hello":
        wire.frame(mutated(chance, [b"\x05HELLO\x01\x00" + bytes(192)]), flags=chance.choice((0, 2, 4, 6, 0xFC)))
        return
    cookie = wire.hello()
    if stage == "initiate":
        wire.frame(mutated(chance, [b"\x08INITIATE" + cookie + bytes(250)]), flags=4)
        return
    good = b"\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
    if stage == "metadata":
        wire.initiate(cookie, metadata=mutated(chance, [good]))
        return
    wire.initiate(cookie)
    wire.frame(mutated(chance, [b"\x07MESSAGE" + bytes(40)]), flags=chance.choice((0, 1, 2, 3, 4)))

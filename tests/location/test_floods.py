"""A location that is flooded: its memory stays bounded, and whoever comes meanwhile is served.

All of it over real TCP against a daemon of its own process, by clients that do what libzmq never would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.location.world import Client, run
from tests.support.besieged import FILES, Besieged, besieged
from tests.support.daemons import until
from tests.support.zmtp import Wire, strangers
from tfcore.errors import QuotaExceeded, Unavailable
from tfcore.wire import sessions as s
from tfcore.wire.header import MAX_BODY, Header, encode_header
from tflocation import connections
from tflocation.quotas.guard import SESSIONS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    with besieged(tmp_path_factory.mktemp("flooded")) as made:
        yield made


pytestmark = pytest.mark.leaks("module")

MIB = 1 << 20


def test_a_message_without_end_is_cut(place: Besieged) -> None:
    """libzmq would keep its frames until the last has come."""
    before = place.forget()
    with place.wire() as wire:
        wire.handshake()
        with pytest.raises(OSError, match=r"reset|pipe"):
            _pour(wire)
    assert place.memory() - before < connections.UNFINISHED + 256 * MIB
    until(lambda: _resident(place.pid) < before + 64 * MIB, "its memory to be given back")
    place.is_well()


def _pour(*wires: Wire, times: int = 4096) -> None:
    """A MiB of an unfinished message by each, again and again."""
    for _ in range(times):
        for wire in wires:
            wire.part(bytes(MIB), more=True)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_long_messages_at_once_are_no_more(place: Besieged) -> None:
    """Each may be so long, but not all of them."""
    before = place.forget()
    wires = [place.wire() for _ in range(8)]
    try:
        for wire in wires:
            wire.handshake()
        with pytest.raises(OSError, match=r"reset|pipe"):
            _pour(*wires, times=120)
    finally:
        for wire in wires:
            wire.socket.close()
    assert place.memory() - before < connections.UNFINISHED_ALL + 256 * MIB
    place.is_well()


def test_a_frame_that_is_too_long_is_cut_before_it_comes(place: Besieged) -> None:
    before = place.forget()
    for announced in (MAX_BODY + 1000, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        with place.wire() as wire:
            wire.handshake()
            wire.socket.sendall(b"\x02" + announced.to_bytes(8, "big") + b"\x07MESSAGE" + bytes(1000))
            assert wire.is_cut()
    assert place.memory() - before < 16 * MIB
    place.is_well()


def test_who_never_finishes_the_handshake_keeps_nobody_out(place: Besieged) -> None:
    """Whether they say nothing, or half of a greeting; the oldest go."""
    before, held = place.forget(), place.descriptors()
    silent = strangers(place.endpoint, connections.STRANGERS + 100)
    try:
        for one in silent[-50:]:
            one.sendall(b"\xff")
        place.is_well()
        until(lambda: place.descriptors() <= held + connections.STRANGERS + 2, "the oldest to be cut")
        place.is_well()
    finally:
        for one in silent:
            one.close()
    assert place.memory() - before < 64 * MIB


def test_who_shakes_hands_and_says_nothing_keeps_nobody_out(place: Besieged) -> None:
    wires = [place.wire() for _ in range(40)]
    try:
        for wire in wires:
            wire.greet()
        for wire in wires[:20]:
            wire.initiate(wire.hello())
        place.is_well()
    finally:
        for wire in wires:
            wire.socket.close()


def test_who_talks_by_thousands_of_connections_leaves_room(place: Besieged) -> None:
    """Descriptors do not run out: of so many the newest are cut."""
    before = place.forget()
    frame = encode_header(Header(kind="event", id="", op="hello"))
    wires: list[Wire] = []
    try:
        for _ in range(FILES):
            wire = place.wire()
            wires.append(wire)
            try:
                wire.handshake()
                wire.part(frame, more=True)
                wire.part(b"", more=False)
            except (OSError, AssertionError):
                wire.socket.close()
        place.is_well()
        assert place.descriptors() < FILES - 50
    finally:
        for wire in wires:
            wire.socket.close()
    assert place.memory() - before < 128 * MIB


def test_an_account_cannot_have_any_number_of_sessions(place: Besieged) -> None:
    """And those it has take a bounded room."""
    before = place.forget()

    async def scenario() -> None:
        mallory = Client(place.endpoint, place.server_key, place.mallory)
        try:
            for _ in range(SESSIONS // 50):
                await asyncio.gather(*(mallory.call(s.OpenSession(version="0", program="x" * 100)) for _ in range(50)))
            error = await mallory.error_of(s.OpenSession(version="0", program="one more"))
            assert isinstance(error, QuotaExceeded)
            assert error.details["limit"] == str(SESSIONS)
            await place.serves()
        finally:
            await mallory.close()

    run(scenario)
    assert place.memory() - before < 128 * MIB


def test_words_without_end_are_heard_and_forgotten(place: Besieged) -> None:
    """Requests that mean nothing, parts of streams that nobody has, credit for them, cancellations."""
    before = place.forget()

    async def scenario() -> None:
        mallory = Client(place.endpoint, place.server_key, place.mallory)
        with contextlib.suppress(QuotaExceeded):
            await mallory.hello()
        request = "r-" + "0" * 22
        said = [
            encode_header(Header(kind=kind, id=request, op="no.such", channel=channel, at=at))
            for kind in ("data", "credit", "cancel", "event", "reply", "failure")
            for channel in (0, 1, 2)
            for at in (0, 1 << 40)
        ]
        try:
            for number in range(20_000):
                try:
                    mallory.send_raw(said[number % len(said)], b"x" * (number % 2000))
                except Unavailable:
                    await asyncio.sleep(0.01)  # the location does not listen as fast as it talks
                if number % 500 == 0:
                    await asyncio.sleep(0)
            await place.serves()
        finally:
            await mallory.close()

    run(scenario)
    assert place.memory() - before < 128 * MIB

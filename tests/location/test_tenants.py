"""What one account can do with the ids of another: nothing, by any request there is, in any field that takes an id.

The cases are made of the wire's own registry, so a new request is tried like the others, and one that cannot be tried so
must say here which test does it. `tests/whole/test_tenants.py` has the same with a real node.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

import tests.location.test_visits as visits
import tests.whole.test_tenants as whole
from tests.location.world import Client, FakeNode, World, location, run
from tests.wire.vocabulary import requests, sample
from tfcore import ids
from tfcore.errors import NotFound, TfError
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import kept as k
from tfcore.wire import links
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfcore.wire.message import decode, encode
from tfcore.wire.visits import ListContainers

ON_ONES_OWN = whole.ON_ONES_OWN
CLIENTS = tuple(cls for cls in (*links.CLIENT_TO_LOCATION, *links.CLIENT_TO_NODE) if cls is not s.CloseSession)

BY_NAME: dict[type, object] = {
    i.FindImage: whole.test_images_of_others_are_not_found,
    i.ListImages: whole.test_images_of_others_are_not_found,
    i.RemoveImage: whole.test_images_of_others_are_not_found,
    i.OfferImage: whole.test_layers_of_others_are_not_had_for_knowing_their_digests,
    i.ProveLayer: whole.test_layers_of_others_are_not_had_for_knowing_their_digests,
    i.PutLayer: whole.test_layers_of_others_are_not_had_for_knowing_their_digests,
    i.FinishImage: whole.test_layers_of_others_are_not_had_for_knowing_their_digests,
    k.ListKept: whole.test_what_somebody_else_keeps_reads_like_nothing,
    k.TidyKept: whole.test_what_somebody_else_keeps_reads_like_nothing,
    s.AskStatus: whole.test_what_there_is_shows_only_ones_own,
    s.RenewLease: whole.test_a_session_cannot_be_taken_up_by_another_account,
    ListContainers: visits.test_another_accounts_visitor_finds_nothing,
    s.CloseSession: whole.test_a_session_cannot_be_taken_up_by_another_account,
}
"""Requests that name nothing by an id, and who tries them with what they do name."""

PUBLIC = {"node"}
"""Fields with ids that everybody is told."""

Path_ = tuple[str | int, ...]

DEEP = 6
"""Steps to the deepest id there is. (Probes may consist of probes, without end.)"""


def id_paths(kind: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Where in a message ids stand."""
    match kind:
        case _ if len(path) > DEEP:
            return
        case inspect.StructType():
            for field in kind.fields:
                if field.name not in PUBLIC:
                    yield from id_paths(field.type, (*path, field.encode_name))
        case inspect.VarTupleType(item_type=item):
            yield from id_paths(item, (*path, 0))
        case inspect.StrType(pattern=pattern) if pattern is not None and re.match(pattern, ids.new_id("c")):
            if not re.match(pattern, "latest") and not re.match(pattern, "a"):  # names and tags look like ids, too
                yield path
        case inspect.UnionType(types=types):
            for one in types:
                yield from id_paths(one, path)


CASES = [(cls, path) for cls in CLIENTS for path in id_paths(inspect.type_info(cls))]


@dataclass(frozen=True)
class Both:
    """Alice and bob, each with the same."""

    world: World
    node: FakeNode
    bob: Client
    bobs: dict[str, str]
    hers: dict[str, str]

    def state(self) -> tuple[object, ...]:
        """Of hers."""
        holdings, mine = self.world.location.holdings, set(self.hers.values())
        told = [order for order in self.node.orders if any(name in repr(order) for name in mine)]
        asked = [call for _, call in self.node.asked if call.target in mine or call.session in mine]
        records = [
            record
            for record in (*holdings.containers.values(), *holdings.volumes.values())
            if record.account == "alice"
        ]
        friends = [friend.id for friend in holdings.permitted(holdings.containers[self.hers["container"]])]
        kept = [one.id for one in self.world.location.kept.of("alice")]
        sessions = [session.id for session in self.world.location.sessions if session.account == "alice"]
        return len(told), len(asked), records, friends, kept, sessions


async def both(world: World, *, visiting: bool = False) -> Both:
    """Who has what. Bob may come as a visitor to his account's other sessions."""
    node = await world.node()
    alice, bob = await world.client("alice"), await world.client("bob", visiting=visiting)
    return Both(world, node, bob, await _things(world, bob), await _things(world, alice))


async def _things(world: World, client: Client) -> dict[str, str]:
    volume = await world.volume(client)
    lasting = await world.volume(client, persistent=True, tag="lasting")
    container = await world.container(client, mounts=(c.Mount(volume=volume, path="/data"),))
    other = await world.container(client)
    kept = (await client.call(k.KeepSnapshot(name="good"), target=container)).kept.id
    return {
        "container": container, "other": other, "volume": volume, "lasting": lasting, "kept": kept,
        "session": client.welcome.session,
    }  # fmt: skip


def well_formed(cls: type, there: Both) -> Any:
    """A request of bob's that would do, as far as anybody can say."""
    made: Any = sample(cls)
    mine = there.bobs
    fitting = {
        "node": there.world.node_id(), "source": mine["other"], "containers": (mine["container"],), "again": "", "kept": "",
        "wish": c.ContainerWish(image="web", mounts=(c.Mount(volume=mine["volume"], path="/data"),)), "tag": "",
        "session": "", "local": False, "protocol_min": 1, "protocol_max": 1,
    }  # fmt: skip
    fields = {name: value for name, value in fitting.items() if name in made.__struct_fields__}
    return msgspec.structs.replace(made, **fields)


def with_id(request: Any, path: Path_, value: str) -> Any:
    """The same request with another id somewhere in it."""
    raw = msgspec.msgpack.decode(encode(request))
    inner: Any = raw
    for step, following in itertools.pairwise(path):
        if isinstance(step, str):
            inner.setdefault(step, [] if isinstance(following, int) else {})
        inner = inner[step]
    if isinstance(inner, list):
        inner[:1] = [value]
    else:
        inner[path[-1]] = value
    return decode(msgspec.msgpack.encode(raw), type(request))


async def outcome(there: Both, request: Any, name: str, *, target: str = "") -> tuple[object, ...]:
    """All bob learns, with the id he has named left out."""
    try:
        reply = await there.bob.call(request, target=target, timeout=20)
    except TfError as error:
        return whole.told(error, it=name)
    told = encode(reply)
    for hers in there.hers.values():
        assert hers.encode() not in told
    return (type(reply),)


@pytest.mark.parametrize(
    ("cls", "path"), CASES, ids=lambda one: getattr(one, "__name__", None) or ".".join(map(str, one))
)
def test_an_id_of_anothers_is_an_id_of_nobodys(cls: type, path: Path_, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            there = await both(world)
            before = there.state()
            target = there.bobs["container"] if cls in ON_ONES_OWN else ""
            for hers in there.hers.values():
                nobodys = ids.new_id(hers[0])
                request = well_formed(cls, there)
                hidden = await outcome(there, with_id(request, path, hers), hers, target=target)
                assert hidden == await outcome(there, with_id(request, path, nobodys), nobodys, target=target)
            assert there.state() == before

    run(scenario)


@pytest.mark.parametrize("visiting", [False, True], ids=["", "visiting"])
def test_a_header_that_names_anothers_is_a_header_that_names_nobodys(visiting: bool, tmp_path: Path) -> None:
    """As the target of every request, and as the session that its sender claims to be."""

    async def scenario() -> None:
        async with location(tmp_path) as world:
            there = await both(world, visiting=visiting)
            before = there.state()
            for cls in (*(cls for cls in CLIENTS if cls is not s.OpenSession), s.OpenSession):  # which begins anew
                await _targets(there, cls)
                assert there.state() == before, cls
            there.bob.link.session = there.bobs["session"]

    run(scenario)


async def _targets(there: Both, cls: type) -> None:
    for hers in there.hers.values():
        nobodys = ids.new_id(hers[0])
        seen = [await outcome(there, well_formed(cls, there), one, target=one) for one in (hers, nobodys)]
        assert seen[0] == seen[1], cls
        assert cls not in ON_ONES_OWN or issubclass(seen[0][0], TfError), cls  # type: ignore[arg-type]
    if cls in ON_ONES_OWN:
        for claim in (there.hers["session"], ids.new_id("s")):
            there.bob.link.session = claim
            error = await there.bob.error_of(well_formed(cls, there), target=there.hers["container"])
            assert isinstance(error, NotFound), cls


def test_a_session_of_anothers_cannot_be_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with location(tmp_path) as world:
            there = await both(world)
            before = there.state()
            for claim in (there.hers["session"], ids.new_id("s")):
                there.bob.link.session = claim
                assert await outcome(there, s.CloseSession(), claim)
            assert there.state() == before

    run(scenario)


@pytest.mark.parametrize("kind", ["data", "credit", "cancel", "reply", "failure", "event"])
def test_parts_of_anothers_conversation_reach_nobody(kind: Any, tmp_path: Path) -> None:
    """With the id of a request that is under way, her session, her container."""

    async def scenario() -> None:
        from tests.location.world import until
        from tfcore.rpc.streams import INPUT, OUTPUT
        from tfcore.wire.header import Header, encode_header

        async with location(tmp_path) as world:
            there = await both(world)
            alice = next(party for party in world.parties if isinstance(party, Client) and party is not there.bob)
            going = alice.link.begin(c.RunProcess(command="cat"), target=there.hers["container"], timeout=20)
            await going.stream.write(INPUT, b"her")
            assert await going.stream.read(OUTPUT) == b"her"
            for session in (there.hers["session"], there.bobs["session"], ""):
                for channel in (0, 1):
                    forged = Header(
                        kind=kind, id=going.header.id, target=there.hers["container"], session=session, account="alice",
                        channel=channel, at=3, end=True, op="container.process-ended",
                    )  # fmt: skip
                    there.bob.send_raw(encode_header(forged), b"his")
            await there.bob.call(s.RenewLease())
            await going.stream.write(INPUT, b"s")
            going.stream.finish(INPUT)
            assert await going.stream.read(OUTPUT) == b"s"
            assert (await going.reply()).exit_code == 0
            await until(lambda: not len(world.location.forwarding))

    run(scenario)


def test_every_request_there_is_is_tried() -> None:
    by_id = {cls for cls, _ in CASES} | set(ON_ONES_OWN)
    assert set(requests()) == {*CLIENTS, s.CloseSession, *whole.OF_OTHERS}
    named = set(CLIENTS) | {s.CloseSession}
    assert named - by_id - set(BY_NAME) == {v.CreateVolume}, "say in BY_NAME which test tries it"
    assert all(map(callable, BY_NAME.values()))

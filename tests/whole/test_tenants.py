"""What accounts of one location have of each other: nothing, not even the knowledge of what there is (D2 and D5).

Alice uses the SDK. Bob has a key of the same location, speaks the wire himself, and knows every id of hers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from tests.location.world import Client, an_image, run
from tests.support.daemons import RemoteLocation, until
from tests.support.line import Spawn, remote_location, session_at
from tests.support.outside import groups_named
from tests.wire.vocabulary import sample
from tfcore import ids
from tfcore.errors import BadImage, BadRequest, ImageNotFound, NotFound, QuotaExceeded, Refused, SessionLost, TfError
from tfcore.wire import containers as c
from tfcore.wire import images as i
from tfcore.wire import kept as k
from tfcore.wire import links, nodes
from tfcore.wire import sessions as s
from tfcore.wire import volumes as v
from tfnz import accounts
from tfnz.container import Container
from tfnz.location import Location
from tfnz.quotas import quotas
from tfnz.volume import Volume

pytestmark = pytest.mark.leaks("module")

ON_ONES_OWN = (
    *links.CLIENT_TO_NODE,
    c.DestroyContainer,
    c.AllowConnection,
    c.DisallowConnection,
    v.DestroyVolume,
    k.KeepSnapshot,
)
"""Every request that is for a container or a volume."""

OF_OTHERS = (*links.LOCATION_TO_NODE, *links.NODE_TO_LOCATION, *links.INVITED_TO_LOCATION)
"""Every request that no client may make."""


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    """One kind of storage will do."""
    with remote_location() as made:
        yield made


@dataclass(frozen=True)
class Hers:
    """What alice has."""

    location: Location
    container: Container
    volume: Volume
    kept: Volume

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.container.uuid, self.volume.uuid, self.kept.uuid)

    def state(self) -> tuple[object, ...]:
        """What nobody else may change."""
        status = self.container.status()
        files = [self.container.fetch(f"{directory}/hers") for directory in ("/srv", "/mortal", "/kept")]
        volumes = {volume.uuid for volume in self.location.volumes.values()}
        return (status.state, status.generation, files, volumes, self.container.log_mark(), set(self.location.nodes))


@pytest.fixture(scope="module")
def hers(place: RemoteLocation, tiny: str) -> Iterator[Hers]:
    with session_at(place) as location:
        node = location.node()
        mortal, kept = node.create_volume(), node.create_volume(tag="lasting")
        volumes = {"/mortal": mortal, "/kept": kept}
        container = node.spawn_container(
            tiny, command=["sleep", "infinity"], volumes=volumes, tag="hers"
        ).wait_until_ready()
        for directory in ("/srv", *volumes):
            container.put(f"{directory}/hers", "hers")
        container.snapshot("baseline")
        until(lambda: container.status().spares, "the container's spare")
        yield Hers(location, container, mortal, kept)
        container.destroy()
        kept.destroy()


AsBob = Callable[[Callable[[Client], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def as_bob(place: RemoteLocation, monkeypatch: pytest.MonkeyPatch) -> AsBob:
    """Runs a coroutine with a connection of bob's that has a session."""
    monkeypatch.setenv("TF_HOME", str(place.directory / "bob"))
    account = accounts.find(place.name)

    def play(scenario: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        async def connected() -> None:
            bob = Client(account.endpoint, account.server_key, account.keys)
            try:
                await bob.hello(visiting=True)  # whatever visitors may, they may not here
                await scenario(bob)
                await bob.call(s.CloseSession())
            finally:
                await bob.close()

        run(connected)

    return play


def told(error: TfError, **names: str) -> tuple[object, ...]:
    """All an error tells, with the names of things replaced by what they are names of."""
    texts = [error.message, error.hint, json.dumps(error.details)]
    for what, name in names.items():
        texts = [text.replace(name, f"<{what}>") for text in texts]
    return (type(error), *texts)


# --- containers and volumes


@pytest.mark.parametrize("request_type", ON_ONES_OWN, ids=lambda cls: cls.__name__)
def test_what_is_somebody_elses_reads_like_nothing(hers: Hers, as_bob: AsBob, request_type: type) -> None:
    """Whatever is asked of it, the answer is the one for an id that never was."""

    async def scenario(bob: Client) -> None:
        for target in hers.targets:
            nobodys = ids.new_id(target[0])
            hidden, missing = [await bob.error_of(_about(request_type, one), target=one) for one in (target, nobodys)]
            assert isinstance(hidden, NotFound)
            assert told(hidden, it=target) == told(missing, it=nobodys)

    before = hers.state()
    as_bob(scenario)
    assert hers.state() == before


def _about(request_type: type, target: str) -> Any:
    """A well-formed request; if it names another container, that one."""
    request: Any = sample(request_type)
    return replace(request, source=target) if "source" in request.__struct_fields__ else request


def test_ones_own_cannot_be_joined_with_somebody_elses(hers: Hers, place: RemoteLocation, as_bob: AsBob) -> None:
    """Neither by the firewall nor by a mount, nor by booting what is hers again."""

    async def scenario(bob: Client) -> None:
        await bob.upload("bobs", an_image())
        node, wish = hers.container.node.pk, c.ContainerWish(image="bobs", sleep=True)
        mine = (await bob.call(c.SpawnContainer(node=node, wish=wish))).container
        for kind in (c.AllowConnection, c.DisallowConnection):
            await _the_same(bob, lambda one, kind=kind: kind(source=one), hers.container.uuid, target=mine)
        for volume in (hers.volume, hers.kept):
            await _the_same(bob, lambda one: _mounting(node, wish, one), volume.uuid)
        await _the_same(bob, lambda one: c.SpawnContainer(node=node, wish=wish, again=one), hers.container.uuid)
        assert (bob.welcome.volumes, bob.welcome.externals) == ((), ())

    before = hers.state()
    as_bob(scenario)
    assert hers.state() == before


def _mounting(node: str, wish: c.ContainerWish, volume: str) -> c.SpawnContainer:
    return c.SpawnContainer(node=node, wish=replace(wish, mounts=(c.Mount(volume=volume, path="/data"),)))


async def _the_same(bob: Client, make: Callable[[str], Any], theirs: str, *, target: str = "") -> None:
    nobodys = ids.new_id(theirs[0])
    hidden, missing = [await bob.error_of(make(one), target=target) for one in (theirs, nobodys)]
    assert isinstance(hidden, NotFound)
    assert told(hidden, it=theirs) == told(missing, it=nobodys)


def test_what_somebody_else_keeps_reads_like_nothing(hers: Hers, as_bob: AsBob) -> None:
    kept = hers.container.keep("seeded")

    async def scenario(bob: Client) -> None:
        node, wish = hers.container.node.pk, c.ContainerWish(image="web")
        await _the_same(bob, lambda one: k.ForgetKept(kept=one), kept.id)
        await _the_same(bob, lambda one: c.SpawnContainer(node=node, wish=wish, kept=one), kept.id)
        assert (await bob.call(k.ListKept())).kept == ()
        assert await bob.call(k.TidyKept()) == k.KeptTidied(limit=(await bob.call(k.TidyKept())).limit)

    as_bob(scenario)
    assert [one.id for one in hers.location.kept()] == [kept.id]
    kept.forget()


def test_another_session_of_ones_own_has_other_containers(place: RemoteLocation, hers: Hers) -> None:
    """But the same persistent volumes."""
    with place.connect() as second:
        assert set(second.volumes) == {hers.kept.uuid}
        assert set(second.externals) == {hers.container.uuid}
        assert second.containers == {}
        with pytest.raises(NotFound):
            second._call(c.AskContainer(), target=hers.container.uuid)


# --- what only nodes, the location and the invited say


@pytest.mark.parametrize("request_type", OF_OTHERS, ids=lambda cls: cls.__name__)
def test_a_client_cannot_speak_for_others(hers: Hers, as_bob: AsBob, request_type: type) -> None:
    def request() -> Any:
        made: Any = sample(request_type)
        known = {"container": hers.container.uuid, "volume": hers.kept.uuid, "session": hers.location.session}
        known |= {"one": str(hers.container.ip), "other": str(hers.container.ip), "name": hers.container.node.name}
        return replace(made, **{name: value for name, value in known.items() if name in made.__struct_fields__})

    async def scenario(bob: Client) -> None:
        for target in ("", hers.container.uuid):
            assert isinstance(await bob.error_of(request(), target=target), BadRequest | Refused)

    before = hers.state()
    as_bob(scenario)
    assert hers.state() == before


def test_a_clients_events_are_nobodys_news(hers: Hers, place: RemoteLocation, as_bob: AsBob) -> None:
    """Not even if they are well-formed and name what there is."""

    async def scenario(bob: Client) -> None:
        offer = replace(hers.container.node.offer, alive=False, name="bobs")
        for event in (
            nodes.OfferChanged(offer=offer),
            c.ContainerEnded(container=hers.container.uuid, reason="said bob", session=hers.location.session),
            s.SessionLost(reason="said bob", ended=True),
            v.VolumeLost(volume=hers.kept.uuid, reason="said bob"),
            nodes.NodeLost(reason="said bob", node=hers.container.node.pk),
        ):
            bob.link.event(event, session=hers.location.session)
        await bob.call(s.RenewLease())

    before = hers.state()
    as_bob(scenario)
    assert hers.state() == before
    assert hers.container.end is None
    assert [node["name"] for node in place.status()["nodes"]] == [place.node_name]


def test_what_there_is_shows_only_ones_own(hers: Hers, as_bob: AsBob) -> None:
    async def scenario(bob: Client) -> None:
        report = (await bob.call(s.AskStatus())).report
        for name in (*hers.targets, hers.location.session, "alice", "lasting", str(hers.container.ip)):
            assert name not in report

    as_bob(scenario)


def test_a_session_cannot_be_taken_up_by_another_account(hers: Hers, as_bob: AsBob) -> None:
    async def scenario(bob: Client) -> None:
        mine = bob.welcome.session
        again = await bob.hello(session=hers.location.session)
        assert again.session != hers.location.session
        assert not again.resumed
        await bob.hello(session=mine)

    before = hers.state()
    as_bob(scenario)
    assert hers.state() == before


# --- images


def test_images_of_others_are_not_found(hers: Hers, as_bob: AsBob) -> None:
    """By no name of theirs, nor by their digests."""
    found = hers.location._call(i.ListImages()).images
    names = [name for image in found for name in (image.name, image.config_digest)]
    assert names

    async def scenario(bob: Client) -> None:
        listed = {
            name for image in (await bob.call(i.ListImages())).images for name in (image.name, image.config_digest)
        }
        assert listed.isdisjoint(names)
        for name in names:
            unknown = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" if name.startswith("sha256:") else "nobodys"
            for make in (_find, i.RemoveImage, lambda name: _spawning(hers, name)):
                hidden = await _outcome(bob, make, name)
                assert hidden == await _outcome(bob, make, unknown)

    as_bob(scenario)
    assert hers.location._call(i.ListImages()).images == found


def _find(name: str) -> i.FindImage:
    return i.FindImage(name=name)


def _spawning(hers: Hers, name: str) -> c.SpawnContainer:
    return c.SpawnContainer(node=hers.container.node.pk, wish=c.ContainerWish(image=name))


async def _outcome(bob: Client, make: Any, name: str) -> tuple[object, ...]:
    request = make(name=name) if make is i.RemoveImage else make(name)
    try:
        return (type(await bob.call(request)),)
    except TfError as error:
        return told(error, it=name)


def test_layers_of_others_are_not_had_for_knowing_their_digests(hers: Hers, as_bob: AsBob) -> None:
    """Who knows config and digests has to show the bytes; wrong proofs, replays and finishing all the same give nothing."""
    (summary, *_) = hers.location._call(i.ListImages()).images
    image = hers.location._call(i.FindImage(name=summary.name))
    diff_ids = tuple(layer.diff_id for layer in image.layers)

    async def scenario(bob: Client) -> None:
        finish = i.FinishImage(name="stolen", config=image.config, diff_ids=diff_ids)
        with pytest.raises(BadRequest):
            await bob.call(finish)
        planned = await bob.call(i.OfferImage(name="stolen", config=image.config, diff_ids=diff_ids))
        assert [need.need for need in planned.needs] == ["prove"] * len(diff_ids)
        for need in planned.needs:
            for nonce, proof in ((need.nonce, need.nonce), (b"\0" * 32, b""), (need.nonce, bytes(32))):
                with pytest.raises(Refused):
                    await bob.call(i.ProveLayer(diff_id=need.diff_id, nonce=nonce, proof=proof))
        sending = bob.link.begin(i.PutLayer(diff_id=diff_ids[0]), timeout=20)
        sending.stream.finish(0)
        with pytest.raises(BadImage):
            await sending.reply()
        with pytest.raises(BadRequest):
            await bob.call(finish)
        with pytest.raises(ImageNotFound):
            await bob.call(_spawning(hers, "stolen"))

    as_bob(scenario)


# --- who may not come any more


def test_a_revoked_accounts_session_ends_at_once(tiny: str) -> None:
    """With all it has, and without those of others noticing."""
    with remote_location() as place, place.connect("alice") as alice, place.connect("bob") as bob:
        hers, his = (
            location.node().spawn_container(tiny, command=["sleep", "infinity"]).wait_until_ready()
            for location in (alice, bob)
        )
        place._ask("tflocation", "account", "revoke", "bob")
        with pytest.raises(SessionLost, match="revoked"):
            bob.run()
        with pytest.raises(SessionLost):
            his.status()
        until(lambda: not groups_named(his.uuid), "bob's container to be gone")
        with pytest.raises(Refused):
            place.connect("bob")
        assert hers.run_process("echo well").stdout == b"well\n"


def test_a_node_that_happens_to_have_the_same_name_is_another(place: RemoteLocation, hers: Hers) -> None:
    """On the same machine, of another location: at its start and at its end it sweeps, but nothing of ours."""
    before = hers.state()
    with remote_location() as other:
        assert other.node_name == place.node_name
        assert hers.state() == before
    assert hers.state() == before


def test_what_one_serves_another_cannot_reach(place: RemoteLocation, hers: Hers, serve: Spawn) -> None:
    """Sessions are strangers by default, be they of the same account; and so is the location's own port."""
    other = serve()
    port = int(place.endpoint.rpartition(":")[2])
    for address, at in ((other.ip, 7000), ("127.0.0.1", port), ("169.254.1.1", port)):
        program = f"""
            alarm 20; socket(S, 2, 1, 0) || die $!;
            print connect(S, pack("S n C4 x8", 2, {at}, split /[.]/, "{address}")) ? "connected" : $!;
        """
        assert hers.container.run_process(f"exec perl -e '{program}'").stdout == b"Connection refused"


def test_a_quota_holds_and_is_told_to_its_user(place: RemoteLocation, tiny: str) -> None:
    """By the command an operator types, at once, for the account it names."""
    place._ask("tflocation", "account", "quota", "bob", "containers=1", "memory=64M")
    try:
        with place.connect("bob") as bob, place.connect("alice") as alice:
            sleep = {"command": ["sleep", "infinity"]}
            first = bob.node().spawn_container(tiny, **sleep).wait_until_ready()
            with pytest.raises(ValueError, match="limited to 1 containers: 1 in use, and 1 more asked for") as refused:
                bob.node().spawn_container(tiny, **sleep)
            assert isinstance(refused.value, QuotaExceeded)
            assert {str(quota) for quota in quotas(bob)} == {"containers 1 of 1", "memory 0.06 of 0.06 GiB"}
            limits = [path for top in groups_named(first.uuid) for path in top.rglob("memory*limit_in_bytes")]
            limits += [path for top in groups_named(first.uuid) for path in top.rglob("memory.max")]
            if not any("memory" in note for note in first.startup_notes):
                assert str(64 << 20) in {path.read_text().strip() for path in limits}
            assert quotas(alice) == []
            alice.node().spawn_container(tiny, **sleep).wait_until_ready()
    finally:
        place._ask("tflocation", "account", "quota", "bob", "containers=none", "memory=none")

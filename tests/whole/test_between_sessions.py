"""What sessions of one account have of each other, over TCP, on real containers: tagged containers and persistent volumes.

And what another account has of them: nothing.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator

import pytest

from tests.support.daemons import RemoteLocation, until
from tests.support.line import PORT, SECONDS, Spawn, remote_location
from tfcore.errors import BadRequest, NotFound, WrongState
from tfnz.container import Container
from tfnz.external import ExternalContainer
from tfnz.location import Location
from tfnz.volume import Volume

pytestmark = pytest.mark.leaks("module")

ASK = f"""
    $SIG{{ALRM}} = sub {{ print "no answer"; exit }}; alarm {SECONDS:g};
    socket(S, 2, 1, 0) && connect(S, pack("S n C4 x8", 2, {PORT}, split /[.]/, $ARGV[0])) || (print($!), exit);
    syswrite(S, "well?") && sysread(S, $_, 100) && print;
    if ($ARGV[1]) {{ syswrite(STDOUT, "\\n"); print defined sysread(S, $_, 100) ? "the end" : $! }}
"""
"""What is answered there; with a second argument, what the connection ends with as well."""


@pytest.fixture(scope="module")
def place() -> Iterator[RemoteLocation]:
    """One kind of storage will do."""
    with remote_location() as made:
        yield made


@pytest.fixture
def beside(place: RemoteLocation, location: Location) -> Iterator[Location]:
    """Another session of the account."""
    with place.connect() as session:
        yield session


@pytest.fixture
def stranger(place: RemoteLocation, location: Location) -> Iterator[Location]:
    """A session of another account."""
    with place.connect("bob") as session:
        yield session


def sleeper(location: Location, image: str, **wish: object) -> Container:
    return location.node().spawn_container(image, command=["sleep", "infinity"], **wish).wait_until_ready()  # type: ignore[arg-type]


def asked(container: Container, server: object, *more: str) -> str:
    """What a container is answered by a server."""
    done = container.run_process(shlex.join(["perl", "-e", ASK, str(server), *more]))
    assert done.exit_code == 0, done
    return done.stdout.decode()


def external(location: Location, tag: str) -> ExternalContainer:
    """The external container of that tag, as soon as the session has been told of it."""
    until(lambda: tag in location.externals, f"{tag} to be told of")
    return location.external_container(tag)


def test_a_tagged_container_is_found_and_talked_with(
    location: Location, beside: Location, stranger: Location, serve: Spawn, tiny: str
) -> None:
    server, client = serve(tag="echo"), sleeper(beside, tiny)
    found = external(beside, "echo")
    assert (found.uuid, found.private_ip(), found.node) == (server.uuid, server.private_ip(), client.node)
    assert found is beside.external_container(server.uuid) is beside.externals[found.uuid]
    assert found.display_name() == server.display_name() == f"{server.uuid}:echo"
    for nobody in (location, stranger):
        with pytest.raises(NotFound):
            nobody.external_container("echo")

    assert asked(client, found.ip) == "Connection refused"
    found.allow_connection_from(client)
    assert asked(client, found.ip) == "well?"
    server.rollback(server.snapshot())
    assert asked(client, found.ip) == "well?"
    found.disallow_connection_from(client)
    assert asked(client, found.ip) == "Connection refused"
    client.allow_connection_from(found)
    assert asked(client, found.ip) == "well?"
    assert client.partners == server.partners == frozenset(), "they do not roll back as one"
    with pytest.raises(BadRequest):
        found.allow_connection_from(server)
    with pytest.raises(ValueError, match="echo"):
        sleeper(beside, tiny, tag="echo")


def test_it_ends_with_its_session_and_says_so(
    place: RemoteLocation, location: Location, serve: Spawn, tiny: str
) -> None:
    with place.connect() as owner:
        server = owner.node().spawn_container(
            tiny, command=["perl", "-e", 'socket(S,2,1,0); bind(S,pack("Sna4x8",2,7000,"\\0"x4)); listen(S,9);'
            ' for (;;) { accept(C,S); sysread(C,$_,99); syswrite(C,$_); push @open, C; undef *C }'], tag="doomed",
        ).wait_until_ready()  # fmt: skip
        client, found = sleeper(location, tiny), external(location, "doomed")
        found.allow_connection_from(client)
        until(lambda: asked(client, server.ip) == "well?", "the server to answer")
        told, heard = threading.Event(), threading.Event()
        found.termination_callback = lambda gone: gone is found and told.set()
        talk = client.spawn_process(
            shlex.join(["perl", "-e", ASK, str(server.ip), "to the end"]),
            data_callback=lambda _process, data: b"well?" in data and heard.set(),
        )
        assert heard.wait(SECONDS)
    assert told.wait(SECONDS)
    talk.wait_until_complete()
    assert asked(client, found.ip) != "well?"
    for use in (found.allow_connection_from, found.disallow_connection_from):
        with pytest.raises(WrongState, match="gone"):
            use(client)
    with pytest.raises(NotFound):
        location.external_container("doomed")


def test_volumes_are_told_of_at_once(location: Location, beside: Location, stranger: Location, tiny: str) -> None:
    ended: list[Volume] = []
    made = location.create_volume(tag="data.1")
    until(lambda: "data.1" in beside.volumes, "the volume to be told of")
    found = beside.volume("data.1")
    found.termination_callback = ended.append
    assert beside.volumes.get(beside.user_pk, made.display_name()) is found is beside.ensure_volume("data.1")
    assert len(stranger.volumes) == 0
    for session in (location, beside):
        with pytest.raises(ValueError, match=r"data\.1"):
            session.create_volume(tag="data.1")
    user = sleeper(beside, tiny, volumes=[(found, "/data")])
    with pytest.raises(WrongState, match=user.uuid):
        location.destroy_volume(made)
    with pytest.raises(BadRequest):
        location.destroy_volume(found)
    user.destroy()
    location.destroy_volume(made)
    until(lambda: ended, "the end to be told of")
    assert ended == [found]
    for volume in (made, found):
        for use in (volume.snapshot, volume.rollback, volume.destroy):
            with pytest.raises(ValueError, match="destroyed"):
                use()
    with pytest.raises(ValueError, match="destroyed"):
        sleeper(beside, tiny, volumes=[(found, "/data")])
    with pytest.raises(NotFound):
        beside.volume("data.1")
    assert beside.ensure_volume("data.1").uuid != made.uuid
    beside.destroy_volume(beside.volume("data.1"))

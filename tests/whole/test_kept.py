"""Kept snapshots: they outlive container, session, agent and location, and containers are spawned from them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import assert_files, private_location, said, session_at, sleeper
from tests.support.outside import files_of, root_of
from tfcore.errors import BadRequest, NotFound, Unavailable, WrongState
from tfnode.testing import play
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module", params=["overlay", "directory", "btrfs"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    with private_location(request.param) as made:
        yield made


def test_it_begins_where_it_was_kept(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny, env={"WORD": "hello"}, pre_boot_files={"/given": b"given"})
    said(container, "echo 1 > /file; rm /given")
    kept = container.keep("then", labels={"who": "me"}, seconds=3600)
    assert (kept.name, kept.labels, kept.node.pk) == ("then", {"who": "me"}, container.node.pk)
    assert kept.expires is not None
    assert kept.expires - kept.created == pytest.approx(3600, abs=60)
    said(container, "echo 2 > /file")
    resumed = location.resume(kept).wait_until_ready()
    assert said(resumed, "cat /file; echo $WORD; test -e /given || echo gone").split() == ["1", "hello", "gone"]
    assert said(container, "cat /file") == "2"
    kept.forget()


def test_it_has_another_address_under_the_same_name(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    said(container, "echo '10.9.8.7 other' >> /etc/hosts")
    kept = container.keep()
    resumed = location.resume(kept).wait_until_ready()
    assert said(resumed, "hostname") == said(container, "hostname")
    assert said(resumed, "cat /etc/hosts") == said(container, "cat /etc/hosts").replace(
        str(container.ip), str(resumed.ip)
    )
    assert resumed.ip != container.ip
    kept.forget()


def test_every_file_is_there_again_with_its_volumes(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    for directory in ("own", "data/own"):
        play.furnish(root_of(container) / directory)
    said(container, "rm /etc/hosts")  # it would have the other's address
    wanted = files_of(container)
    kept = container.keep()
    for directory in ("own", "data/own"):
        play.delete_everything(root_of(container) / directory)
    resumed = location.resume(kept).wait_until_ready()
    assert_files(wanted, resumed)
    assert list(resumed.volumes) == ["/data"]
    assert resumed.volumes["/data"].uuid != volume.uuid
    kept.forget()


def test_what_grew_from_it_lives_on_and_rolls_back(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    said(container, "echo kept | tee /file > /data/file")
    container.snapshot("base")
    said(container, "echo later > /later")
    kept = container.keep()
    resumed = location.resume(kept).wait_until_ready()
    kept.forget()
    container.destroy()
    volume.destroy()
    for word in ("one", "two"):
        said(resumed, f"echo {word} | tee /file > /data/file")
        resumed.snapshot(word)
    for word in ("one", "two"):
        resumed.rollback(word)
        assert said(resumed, "cat /file /data/file /later").split() == [word, word, "later"]
    resumed.reboot(reset_filesystem=True)
    assert said(resumed, "cat /file /data/file /later").split() == ["kept", "kept", "later"]
    said(resumed, "echo three > /data/file")
    again = resumed.keep()
    third = location.resume(again).wait_until_ready()
    assert said(third, "cat /file /data/file").split() == ["kept", "three"]
    said(third, "echo four | tee /file > /data/file")
    third.rollback()
    assert said(third, "cat /file /data/file").split() == ["kept", "three"]
    again.forget()


def test_one_of_its_snapshots_can_be_kept(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    container = sleeper(location, tiny, volumes={"/data": volume})
    said(container, "echo base | tee /file > /data/file")
    container.snapshot("base")
    said(container, "echo later | tee /file > /data/file")
    kept, first = container.keep(snapshot="base"), container.keep(snapshot="fresh")
    with pytest.raises(NotFound, match="nobody"):
        container.keep(snapshot="nobody")
    said(container, "rm /file")
    container.snapshot("end")
    container.rollback("end")
    until(lambda: _dropped(container, "base"), "its spare to be discarded")
    resumed = location.resume(kept).wait_until_ready()
    assert said(resumed, "cat /file /data/file").split() == ["base", "base"]
    begun = location.resume(first).wait_until_ready()
    assert said(begun, "ls /data; test -e /file || echo gone") == "gone"
    container.snapshot("base")
    container.rollback("base")
    assert said(container, "cat /data/file; test -e /file || echo gone").split() == ["later", "gone"]
    kept.forget()
    first.forget()


def _dropped(container: Container, snapshot: str) -> bool:
    with contextlib.suppress(WrongState):
        container.drop_snapshot(snapshot)
        return True
    return False


def test_a_container_that_has_ended_is_kept_with_its_last_files(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(
        tiny,
        command=["sh", "-c", "test -e /mark && exec sleep 1000; echo dying > /mark; exit 3"],
        ready=ready.running(),
    )
    until(lambda: container.end, "its end")
    kept = container.keep()
    container.destroy()
    resumed = location.resume(kept).wait_until_ready()
    assert said(resumed, "cat /mark") == "dying"
    kept.forget()


def test_one_that_was_asleep_is_asleep_again(location: Location, tiny: str) -> None:
    container = location.node().spawn_container(tiny, command=["sleep", "1000"], sleep=True)
    said(container, "echo 1 > /file")
    kept = container.keep()
    resumed = location.resume(kept)
    assert said(resumed, "cat /file") == "1"
    assert resumed.status().state == "asleep"
    resumed.start()
    resumed.wait_until_ready()
    kept.forget()


def test_it_outlives_its_session(place: PrivateLocation, tiny: str) -> None:
    with session_at(place) as first:
        container = sleeper(first, tiny)
        said(container, "echo 1 > /file")
        container.snapshot("base")
        with place.connect() as second:
            kept = sleeper(second, tiny).keep("of-another")
            assert kept.id in [one.id for one in first.kept()]
        first.kept_snapshot("of-another").forget()
        with pytest.raises(NotFound):
            first.resume(kept.id)
        until(lambda: first.kept() == [], "nothing to be kept")
    with place.connect() as first:
        container = sleeper(first, tiny)
        said(container, "echo 1 > /file")
        container.keep("seeded")
    with place.connect() as second:
        resumed = second.resume("seeded").wait_until_ready()
        assert said(resumed, "cat /file") == "1"
        second.kept_snapshot("seeded").forget()
        assert said(resumed, "cat /file") == "1"


def test_it_survives_agent_and_location(place: PrivateLocation, tiny: str) -> None:
    with place.connect() as first:
        volume = first.node().create_volume()
        container = sleeper(first, tiny, volumes={"/data": volume})
        said(container, "echo 1 | tee /file > /data/file")
        container.keep("lasting")
        place.node.kill_agent()
        until(lambda: _resumed(first, "lasting"), "the agent to be back")
    place.kill()
    with place.connect() as second:
        resumed = second.resume("lasting").wait_until_ready()
        assert said(resumed, "cat /file /data/file").split() == ["1", "1"]
        second.kept_snapshot("lasting").forget()
        place.node.kill_agent()
        until(lambda: resumed.end, "word of its end")
        until(lambda: _rebuilt(resumed), "the agent to be back")
        assert said(resumed, "cat /file /data/file").split() == ["1", "1"]
        assert second.kept() == []


def _resumed(location: Location, name: str) -> Container | None:
    with contextlib.suppress(Unavailable):
        return location.resume(name).wait_until_ready()
    return None


def _rebuilt(container: Container) -> bool:
    with contextlib.suppress(Unavailable):
        container.rebuild()
        return True
    return False


def test_nothing_of_it_stays(place: PrivateLocation, tiny: str) -> None:
    """Whatever goes first: the container, its volume, its snapshots, what was kept of it, or what was spawned from that."""
    with session_at(place) as location:
        volume = location.node().create_volume()
        container = sleeper(location, tiny, volumes={"/data": volume})
        kepts = []
        for number in range(3):
            said(container, f"echo {number} > /data/file")
            container.snapshot(f"s{number}")
            kepts.append(container.keep(snapshot=f"s{number}" if number else ""))
        resumed = [location.resume(kept).wait_until_ready() for kept in kepts]
        kepts[0].forget()
        resumed[0].destroy()
        resumed[1].destroy()
        container.destroy()
        kepts[1].forget()
        volume.destroy()
        kepts[2].forget()
        assert said(resumed[2], "cat /data/file") == "2"


def test_a_persistent_volume_is_as_it_is_by_then(location: Location, tiny: str) -> None:
    volume = location.node().create_volume(persistent=True)
    container = sleeper(location, tiny, volumes={"/data": volume})
    said(container, "echo 1 | tee /file > /data/file")
    kept = container.keep()
    said(container, "echo 2 | tee /file > /data/file")
    resumed = location.resume(kept).wait_until_ready()
    assert said(resumed, "cat /file /data/file").split() == ["1", "2"]
    assert resumed.volumes["/data"].uuid == volume.uuid
    resumed.destroy()
    container.destroy()
    volume.destroy()
    with pytest.raises(WrongState, match=r"persistent volume .* mounted on /data, which is gone"):
        location.resume(kept)
    kept.forget()


def test_a_name_is_one_snapshots(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    first = container.keep("name")
    with pytest.raises(WrongState, match=first.id):
        container.keep("name")
    assert [kept.id for kept in location.kept()] == [first.id]
    said(container, "echo 1 > /file")
    second = container.keep("name", replace=True)
    assert [kept.id for kept in location.kept()] == [second.id]
    with pytest.raises(NotFound, match="name"):
        location.kept_snapshot("other")
    assert location.kept_snapshot("name").id == location.kept_snapshot(second.id).id == second.id
    second.forget()
    with pytest.raises(NotFound):
        second.forget()
    with pytest.raises(NotFound):
        location.resume(second)


def test_what_cannot_be_wished_anew(location: Location, tiny: str) -> None:
    kept = sleeper(location, tiny, ready=ready.exec("test -e /never || true")).keep()
    with pytest.raises(BadRequest, match="env, command cannot be given"):
        location.resume(kept, env={"A": "1"}, command=["true"])
    resumed = location.resume(kept, tag="again", ready=ready.exec("touch /probed"), pids=50).wait_until_ready()
    assert resumed.tag == "again"
    said(resumed, "cat /probed")
    kept.forget()


def test_one_that_cannot_boot_leaves_nothing(place: PrivateLocation, tiny: str) -> None:
    with session_at(place) as location:
        volume = location.node().create_volume()
        kept = sleeper(location, tiny, volumes={"/data": volume}).keep()
        resumed = location.resume(kept, ready=ready.exec("false"))
        with pytest.raises(TimeoutError):
            resumed.wait_until_ready(0.2)
        kept.forget()


def test_what_keeping_costs(location: Location, tiny: str) -> None:
    """Its size is what it holds by itself, with what it keeps from going, and without its image."""
    container = sleeper(location, tiny)
    said(container, "head -c 3000000 /dev/urandom > /big; sync")
    container.snapshot("base")
    kept = [container.keep(), container.keep(snapshot="base")]
    image = 0 if location.node().offer.storage != "directory" else 1
    for one in kept:
        assert one.size >= 3_000_000
        assert image or one.size < 6_000_000
        one.forget()


def test_it_goes_by_itself(location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    kept = container.keep(seconds=0.5)
    assert kept.expires is not None
    until(lambda: location.kept() == [], "its end")
    assert time.time() >= kept.expires
    with pytest.raises(BadRequest, match="seconds=-1"):
        container.keep(seconds=-1)

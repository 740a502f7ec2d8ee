"""Several containers that roll back as one, by real ones: an app and its database, booted among themselves and swapped in
one go; what nobody must notice of the next generation before that; and what there is when one of them fails.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping

import pytest

from tests.support.chain import Chain, make_chain
from tests.support.daemons import PrivateLocation, gone, until
from tests.support.line import PORT, Spawn, private_location, said, sleeper
from tests.support.outside import generation_processes, main_process, processes_of
from tests.support.tcp_clients import reached
from tfcore.errors import BadRequest, NotFound, WrongState
from tfcore.wire.containers import RollBackTogether, RolledBack
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture
def chain(location: Location, tiny: str) -> Chain:
    return make_chain(location, tiny)


def with_spare(*containers: Container) -> None:
    """Leave a trace in each, and wait until a rollback would find a generation of all of them."""
    for container in containers:
        said(container, "true")
    until(lambda: containers[0].status().spares, "a generation that was booted ahead", seconds=60)


def tiers(done: Mapping[Container, RolledBack]) -> set[str]:
    return {rolled.tier for rolled in done.values()}


def until_clean(location: Location, *containers: Container) -> None:
    """Nothing happens to them any more: that is seen when their boot's last processes are there. What boots is left in
    peace, since one that is hurried is not looked at for long enough to be known again.
    """

    def clean() -> bool:
        until(lambda: containers[0].status().spares, "a generation that was booted ahead", seconds=60)
        return tiers(location.rollback(containers)) == {"clean"}

    until(clean, "a clean rollback", seconds=60)


def two_sleepers(location: Location, tiny: str, **wish: object) -> tuple[Container, Container]:
    one, other = sleeper(location, tiny), sleeper(location, tiny, **wish)
    one.allow_connection_from(other)
    return one, other


def test_an_app_and_its_database_are_swapped_in_together(location: Location, chain: Chain) -> None:
    assert chain.order() == "1 orders, 1 boots"
    location.snapshot([chain.app, chain.db], "base")
    before = str(chain.app.ip), str(chain.db.ip), chain.app.tunnel(PORT).localport
    for n in range(4):
        chain.order()
        with_spare(chain.app, chain.db)
        assert chain.look() == f"2 orders, {2 if n else 1} boots", "a spare has spoken to the living"
        old = [generation_processes(one, one.status().generation) for one in (chain.app, chain.db)]
        assert tiers(location.rollback([chain.app, chain.db])) == {"spare"}
        for pid in set().union(*old):
            gone(pid)
        assert chain.look() == "1 orders, 2 boots", "its app has not reached its own database"
        assert chain.sql("select count(*) from orders") == "1"
    assert (str(chain.app.ip), str(chain.db.ip), chain.app.tunnel(PORT).localport) == before


def test_a_rollback_waits_for_the_generation_that_boots(location: Location, chain: Chain) -> None:
    location.snapshot([chain.db, chain.app])
    said(chain.app, "true")
    assert tiers(location.rollback([chain.db, chain.app])) == {"booting"}
    assert chain.order() == "1 orders, 2 boots"


def test_all_are_clean_or_none_is(location: Location, tiny: str) -> None:
    one, other = two_sleepers(location, tiny)
    location.snapshot([one, other])
    with_spare(one, other)
    until_clean(location, one, other)
    generations = one.status().generation, other.status().generation
    assert tiers(location.rollback([one, other])) == {"clean"}
    assert (one.status().generation, other.status().generation) == generations
    said(other, "true")
    assert "clean" not in tiers(location.rollback([one, other]))


def test_a_chain_that_nobody_has_used_is_clean(location: Location, chain: Chain) -> None:
    """What its app and its database said to each other before they were swapped in is nobody's trace."""
    location.snapshot([chain.app, chain.db])
    with_spare(chain.app, chain.db)
    assert tiers(location.rollback([chain.app, chain.db])) == {"spare"}
    until_clean(location, chain.app, chain.db)


def test_one_that_stays_serves_all_generations(location: Location, chain: Chain, serve: Spawn) -> None:
    third = serve()
    for one in (chain.app, chain.db):
        third.allow_connection_from(one)
    before = main_process(third)
    location.snapshot([chain.app, chain.db])
    for _ in range(2):
        with_spare(chain.app, chain.db)
        assert tiers(location.rollback([chain.app, chain.db])) == {"spare"}
        assert reached(chain.app, third) == reached(third, chain.app) == "echo"
        assert main_process(third) == before


def test_beside_one_that_goes_back_by_itself_they_are_started_anew(
    location: Location, chain: Chain, serve: Spawn
) -> None:
    third = serve()
    chain.app.allow_connection_from(third)
    third.snapshot()
    chain.order()
    location.snapshot([chain.app, chain.db], "base")
    chain.order()
    for _ in range(2):
        assert tiers(location.rollback([chain.app, chain.db])) <= {"created", "cold"}
        assert chain.look() == "1 orders, 2 boots"


def test_a_member_can_go_back_alone_and_so_can_all_afterwards(location: Location, chain: Chain) -> None:
    location.snapshot([chain.app, chain.db], "base")
    with_spare(chain.app, chain.db)
    assert chain.app.rollback("base").tier in ("created", "cold")
    assert chain.look() == "0 orders, 2 boots"
    chain.order()
    assert tiers(location.rollback([chain.app, chain.db], "base")) <= {"spare", "booting"}
    assert chain.look() == "0 orders, 2 boots"


def test_a_database_that_is_stopped_for_it(location: Location, tiny: str) -> None:
    chain = make_chain(location, tiny, clean_stop=True)
    chain.order()
    location.snapshot([chain.app, chain.db])
    with_spare(chain.app, chain.db)
    assert tiers(location.rollback([chain.app, chain.db])) == {"spare"}
    assert chain.order() == "2 orders, 2 boots"


def test_a_session_volume_comes_back_with_them(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    one, other = two_sleepers(location, tiny, volumes={"/data": volume})
    said(other, "echo kept > /data/file")
    location.snapshot([one, other])
    for _ in range(3):
        said(other, "echo spoilt > /data/file; touch /data/new")
        with_spare(one, other)
        assert tiers(location.rollback([one, other])) == {"spare"}
        assert said(other, "cat /data/*") == "kept"


def test_each_may_go_to_another_snapshot(location: Location, tiny: str) -> None:
    one, other = two_sleepers(location, tiny)
    for name in ("first", "second"):
        for container in (one, other):
            said(container, f"echo {name} > /file")
        location.snapshot([one, other], name)
    location.rollback([one, other], {one: "first", other: "second"})
    assert (said(one, "cat /file"), said(other, "cat /file")) == ("first", "second")


def test_one_that_does_not_come_up_fails_all_and_says_what_there_is(location: Location, tiny: str) -> None:
    one, other = two_sleepers(location, tiny, after_boot="test ! -e /poison")
    last = sleeper(location, tiny)
    said(other, "touch /poison")
    location.snapshot([one, other, last], "base")
    said(one, "true")
    with pytest.raises(WrongState, match="after_boot") as caught:
        location.rollback([one, other, last])
    message = str(caught.value)
    assert f"{one.uuid} is back at 'base' and runs" in message
    for container in (other, last):
        assert f"{container.uuid} has the files of snapshot 'base' but does not run" in message
    assert said(one, "echo up") == "up"
    assert [container.status().state for container in (one, other, last)] == ["ready", "failed", "failed"]


def test_what_cannot_be_is_refused_before_anything_changes(location: Location, tiny: str) -> None:
    volume = location.node().create_volume()
    one, other = two_sleepers(location, tiny, volumes={"/data": volume})
    third = sleeper(location, tiny, volumes={"/data": volume})
    generations = one.status().generation, other.status().generation
    one.snapshot("mine")
    with pytest.raises(NotFound, match="no snapshot 'mine'"):
        location.rollback([one, other], "mine")
    with pytest.raises(WrongState, match="has a snapshot 'mine' already"):
        location.snapshot([other, one], "mine")
    with pytest.raises(NotFound, match="no snapshot 'mine'"):
        other.rollback("mine")
    with pytest.raises(BadRequest, match="share volume"):
        location.snapshot([other, third])
    with pytest.raises(BadRequest, match="no containers were given"):
        location.snapshot([])
    third.destroy()
    with pytest.raises(BadRequest, match="destroyed"):
        location.rollback([one, third])
    assert (one.status().generation, other.status().generation) == generations


def test_containers_of_another_session_are_none_of_ours(location: Location, place: PrivateLocation, tiny: str) -> None:
    mine = sleeper(location, tiny)
    with place.connect() as stranger:
        theirs = sleeper(stranger, tiny)
        theirs.snapshot("base")
        with pytest.raises(NotFound, match=mine.uuid):
            stranger._call(RollBackTogether(containers=(theirs.uuid, mine.uuid)), target=theirs.uuid)
        assert theirs.status().generation == 1


def test_a_member_that_is_destroyed_takes_the_spares_along(
    location: Location, place: PrivateLocation, chain: Chain
) -> None:
    location.snapshot([chain.app, chain.db], "base")
    with_spare(chain.app, chain.db)
    assert "iif" in routing_rules(place)
    chain.db.destroy()
    until(lambda: "iif" not in routing_rules(place), "the rules of the spare to go")
    until(lambda: len(processes_of(chain.app)) == 1, "its spare to go")
    assert chain.app.status().spares == 0


def routing_rules(place: PrivateLocation) -> str:
    command = ["nsenter", f"--net=/proc/{place.node.agent}/ns/net", "ip", "rule"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_agent_dies_while_a_group_stands_still(place: PrivateLocation, location: Location, chain: Chain) -> None:
    chain.order()
    location.snapshot([chain.app, chain.db], "base")
    with_spare(chain.app, chain.db)
    living = processes_of(chain.app) | processes_of(chain.db)
    place.node.kill_agent()
    for pid in living:
        gone(pid)
    until(lambda: chain.app.end is not None and chain.db.end is not None, "their owner to be told")
    until(lambda: chain.db.node.alive, "the node to be back", seconds=60)
    chain.db.rebuild("base")
    chain.app.rebuild("base")
    assert chain.look() == "1 orders, 2 boots"
    chain.order()
    for _ in range(2):
        location.rollback([chain.app, chain.db], "base")
        assert chain.look() == "1 orders, 2 boots"

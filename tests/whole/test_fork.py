"""Forks: containers that go on from the state another one is in, each by itself."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation
from tests.support.line import PORT, Spawn, private_location, said, session_at, sleeper
from tests.support.tcp_clients import echoed
from tfcore.errors import BadRequest, ContainerDied, DeadlineExceeded
from tfnz import ready
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location("overlay") as made:
        yield made


def test_each_goes_on_by_itself(location: Location, serve: Spawn) -> None:
    volume = location.node().create_volume()
    container = serve(volumes={"/data": volume})
    said(container, "echo 0 | tee /file > /data/file")
    forks = container.fork(3)
    everybody = [container, *forks]
    assert len({str(one.ip) for one in everybody}) == 4
    for number, one in enumerate(everybody):
        said(one, f"echo {number} | tee -a /file >> /data/file")
    for number, one in enumerate(everybody):
        assert said(one, "cat /file /data/file").split() == ["0", str(number)] * 2
        assert echoed(one.tunnel(PORT).localport)
    assert location.kept() == []


def test_a_fork_rolls_back_and_is_forked(location: Location, serve: Spawn) -> None:
    (fork,) = serve().fork()
    said(fork, "echo 1 > /file")
    fork.snapshot("one")
    (again,) = fork.fork()
    for one in (fork, again):
        said(one, "echo 2 > /file")
        one.snapshot("two")
        said(one, "echo 3 > /file")
        one.rollback("two")
        assert said(one, "cat /file") == "2"
        assert echoed(one.tunnel(PORT).localport)
    fork.rollback("one")
    assert said(fork, "cat /file") == "1"


def test_a_database_is_forked_while_it_works(location: Location) -> None:
    container = location.node().spawn_container(
        example_images.reference("postgres"), env={"POSTGRES_HOST_AUTH_METHOD": "trust"}
    )
    container.wait_until_ready()

    def connected(to: object) -> psycopg.Connection:
        port = to.tunnel(5432).localport  # type: ignore[attr-defined]
        return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres", autocommit=True)

    with connected(container) as db:
        db.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
        with db.transaction():
            db.execute("INSERT INTO t VALUES (0)")
            forks = container.fork(2)
        for one in forks:
            with connected(one) as theirs:
                assert theirs.execute("SELECT count(*) FROM t").fetchone() == (1000,)
                theirs.execute("DELETE FROM t")
        assert db.execute("SELECT count(*) FROM t").fetchone() == (1001,)


def test_if_one_fails_none_is_left(place: PrivateLocation, tiny: str) -> None:
    with session_at(place) as location:
        volume = location.node().create_volume()
        container = sleeper(
            location,
            tiny,
            volumes={"/data": volume},
            ready=ready.exec("test ! -e /broken"),
            before_snapshot="touch /broken",
        )
        before = set(location.containers), set(location.volumes)
        with pytest.raises((DeadlineExceeded, ContainerDied)):
            container.fork(2, timeout=0.5)
        assert (set(location.containers), set(location.volumes)) == before
        assert location.kept() == []
        with pytest.raises(BadRequest, match="0 is no number"):
            container.fork(0)

"""The PostgreSQL component: a real server, a real driver, a tunnel between them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.daemons import PrivateLocation
from tests.support.example_images import reference
from tests.support.line import private_location
from tfcore.errors import BadRequest
from tfnz.components.postgresql import Postgresql
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """One kind of storage will do."""
    with private_location() as made:
        yield made


def connect(server: Postgresql, password: str, database: str = "postgres") -> psycopg.Connection:
    return psycopg.connect(
        host="127.0.0.1", port=server.tunnel(5432).localport, user="postgres", password=password, dbname=database,
        autocommit=True,
    )  # fmt: skip


def rows(server: Postgresql) -> list[tuple[int]]:
    with connect(server, server.password(), 'it\'s a "shop"') as connection:
        return connection.execute("SELECT n FROM kept ORDER BY n").fetchall()


def test_a_server_its_databases_and_their_way_back(location: Location) -> None:
    location.ensure_image_uploaded(reference("postgres"), name="postgres")
    node = location.node()
    volume = node.create_volume()
    server = Postgresql(node, volume).wait_until_ready()
    assert server.ensure_database('it\'s a "shop"')
    assert not server.ensure_database('it\'s a "shop"')
    assert server.password not in repr(server) + str(server.logs()) + repr(server.password)
    with connect(server, server.password, 'it\'s a "shop"') as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        server.snapshot("seeded")
        connection.execute("INSERT INTO kept VALUES (2)")
    assert rows(server) == [(1,), (2,)]
    server.rollback()
    assert rows(server) == [(1,)]
    server.destroy()

    again = Postgresql(node, volume, password="another's word").wait_until_ready()
    with pytest.raises(psycopg.OperationalError, match="password"):
        connect(again, server.password)
    assert rows(again) == [(1,)]
    again.destroy()


def test_what_is_wrong_is_refused_before_anything_is_made(location: Location) -> None:
    node = location.node()
    for arguments in ({"volume": "data"}, {"volume": node.create_volume(), "password": ""}):
        with pytest.raises(BadRequest):
            Postgresql(node, **arguments)
    assert location.containers == {}

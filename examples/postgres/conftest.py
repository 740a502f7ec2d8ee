"""One PostgreSQL for all tests, seeded once.

The seed is an ordinary session fixture. The baseline is taken after it, so every test starts with the seed in place and
nothing else; there is no TRUNCATE, no transaction trick and no second cluster.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pytest_tf import Container, container

PASSWORD = "not a secret"

db = container(
    "oci:{images}/postgres:latest",
    env={"POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "shop"},
    clean_stop=True,  # the baseline is taken of a stopped server, so that no rollback has to recover
)


def connect(db: Container) -> psycopg.Connection:
    port = db.tunnel(5432).localport
    return psycopg.connect(
        host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="shop", autocommit=True
    )


@pytest.fixture(scope="session")
def shop(db: Container) -> Container:
    """The database with its tables and some bread in them."""
    with connect(db) as connection:
        connection.execute("CREATE TABLE bread (name text PRIMARY KEY, price numeric NOT NULL, stock int NOT NULL)")
        connection.execute("INSERT INTO bread VALUES ('rye', 3.50, 12), ('wheat', 2.90, 30), ('spelt', 4.20, 5)")
        connection.execute("CREATE TABLE sold AS SELECT g AS id, 'rye' AS name FROM generate_series(1, 10000) AS g")
    return db


@pytest.fixture
def sql(shop: Container) -> Iterator[psycopg.Connection]:
    """A connection for one test."""
    with connect(shop) as connection:
        yield connection

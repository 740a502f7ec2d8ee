"""Tests that create, drop and corrupt tables and files. Each one finds the shop as it was seeded."""

from __future__ import annotations

import psycopg
import pytest

from pytest_tf import Container


def stock(sql: psycopg.Connection) -> dict[str, int]:
    return dict(sql.execute("SELECT name, stock FROM bread ORDER BY name").fetchall())


SEED = {"rye": 12, "spelt": 5, "wheat": 30}


def test_the_seed_is_there(sql: psycopg.Connection) -> None:
    assert stock(sql) == SEED


def test_bread_is_sold(sql: psycopg.Connection) -> None:
    sql.execute("UPDATE bread SET stock = stock - 1 WHERE name = 'rye'")
    assert stock(sql)["rye"] == 11


def test_bread_is_sold_again_and_there_is_as_much_as_before(sql: psycopg.Connection) -> None:
    sql.execute("UPDATE bread SET stock = stock - 1 WHERE name = 'rye'")
    assert stock(sql)["rye"] == 11


@pytest.mark.parametrize("table", ["bread", "sold"])
def test_a_table_is_dropped(sql: psycopg.Connection, table: str) -> None:
    sql.execute(f"DROP TABLE {table}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql.execute(f"SELECT count(*) FROM {table}")


def test_a_table_and_a_role_are_created(sql: psycopg.Connection) -> None:
    sql.execute("CREATE TABLE cake (name text)")
    sql.execute("CREATE ROLE baker LOGIN")
    assert sql.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'baker'").fetchone() == (1,)


def test_neither_is_there_for_the_next_test(sql: psycopg.Connection) -> None:
    """Roles belong to the whole cluster: a template database would not have taken this one back."""
    assert sql.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'baker'").fetchone() == (0,)
    with pytest.raises(psycopg.errors.UndefinedTable):
        sql.execute("SELECT count(*) FROM cake")


def test_the_whole_database_is_dropped(sql: psycopg.Connection, shop: Container) -> None:
    sql.execute("CREATE DATABASE elsewhere")
    dropped = shop.run_process(
        "dropdb --force --username=postgres --host=/run/postgresql --maintenance-db=elsewhere shop"
    )
    assert dropped.exit_code == 0, dropped.stderr
    with pytest.raises(psycopg.OperationalError):
        sql.execute("SELECT 1")


def test_a_table_s_file_is_overwritten(sql: psycopg.Connection, shop: Container) -> None:
    row = sql.execute("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('sold')").fetchone()
    assert row is not None
    sql.execute("CHECKPOINT")
    shop.put(row[0], b"\xff" * 8192)
    assert shop.run_process(f"head -c 4 {row[0]}").stdout == b"\xff" * 4


def test_the_server_is_killed(shop: Container) -> None:
    """Its main process ends, and with it the container. The next test gets it back."""
    shop.run_process("kill -QUIT 1")


def test_all_is_well_after_all_that(sql: psycopg.Connection) -> None:
    assert stock(sql) == SEED
    assert sql.execute("SELECT count(*), max(id) FROM sold").fetchone() == (10000, 10000)

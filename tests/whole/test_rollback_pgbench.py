"""PostgreSQL under pgbench: snapshot, more writes, rollback, and not a page torn, not a transaction in part.

TF_ROUNDS says how often (10 rounds); before a release it is 200.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, until
from tests.support.line import SECONDS, private_location, said
from tfnz.container import Container
from tfnz.location import Location

ROUNDS = int(os.environ.get("TF_ROUNDS", "10"))

pytestmark = [pytest.mark.leaks("module"), pytest.mark.timeout(120 + 30 * ROUNDS)]

IN_ONE_CONTAINER = 25
"""Each round's snapshot grows from the one before: more than an overlay stacks without merging."""
WRITTEN = 40
"""Transactions before a snapshot, and again before the rollback."""

PGBENCH = "PGDATABASE=postgres pgbench -U postgres -h 127.0.0.1"
LOAD = f"({PGBENCH} -n -c 4 -T 1000 > /tmp/pgbench.log 2>&1 &)"

LEDGER = """
    SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),
           (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)
"""
"""Each transaction changes all four by the same amount."""
COUNT = "SELECT count(*) FROM pgbench_history"
CHECK_INDEXES = """
    SELECT bt_index_check(c.oid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am am ON am.oid = c.relam WHERE am.amname = 'btree' AND i.indisvalid AND c.relpersistence <> 't'
"""
CHECK_TABLES = "SELECT * FROM pg_class c, verify_heapam(c.oid) WHERE c.relname LIKE 'pgbench%' AND c.relkind = 'r'"


@pytest.fixture(scope="module", params=["overlay", "btrfs"])
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    with private_location(request.param) as made:
        yield made


class Bench:
    """A database under pgbench, in one container; pgbench runs inside and ends with each rollback."""

    def __init__(self, container: Container) -> None:
        self.container = container
        port = container.attach_tunnel(5432).localport
        self._address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout={SECONDS:.0f}"
        said(container, f"{PGBENCH} -i -q -s 1")
        self._rows("CREATE EXTENSION amcheck")

    def _rows(self, query: str) -> list[tuple[int, ...]]:
        with psycopg.connect(self._address, autocommit=True) as db:
            cursor = db.execute(query)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def transactions(self) -> int:
        """How many the database has confirmed."""
        return int(self._rows(COUNT)[0][0])

    def until_written(self) -> int:
        """Wait for more transactions; returns how many there are."""
        wanted = self.transactions() + WRITTEN
        until(lambda: self.transactions() >= wanted, f"{WRITTEN} more transactions of pgbench")
        return wanted

    def assert_consistent(self) -> None:
        """The books balance, every index has every row, and every page can be read."""
        accounts, branches, tellers, history = self._rows(LEDGER)[0]
        assert accounts == branches == tellers == history
        self._rows(CHECK_INDEXES)
        assert self._rows(CHECK_TABLES) == []

    def round(self) -> None:
        """Write, keep, write, go back, check."""
        said(self.container, LOAD)
        at_least = self.until_written()
        self.container.snapshot()
        after = self.until_written()
        self.container.rollback()
        assert at_least <= self.transactions() < after, "what was written after the snapshot is still there"
        self.assert_consistent()


def test_postgresql_under_pgbench(location: Location) -> None:
    for first in range(0, ROUNDS, IN_ONE_CONTAINER):
        container = location.node().spawn_container(
            example_images.reference("postgres"), env={"POSTGRES_HOST_AUTH_METHOD": "trust"}
        )
        bench = Bench(container.wait_until_ready())
        for _ in range(first, min(first + IN_ONE_CONTAINER, ROUNDS)):
            bench.round()
        container.destroy()

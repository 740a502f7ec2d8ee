"""Real databases under rollback: PostgreSQL recovers from a snapshot taken while it writes; Redis gets its memory back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg
import pytest
import redis

from tests.support import example_images
from tests.support.daemons import PrivateLocation, until
from tests.support.line import SECONDS, private_location, said
from tfcore.errors import WrongState
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

ROUNDS = {"overlay": 8, "directory": 1}
"""By storage driver; `directory` copies the whole image for each snapshot and each generation."""
WRITERS = 3
ACCOUNTS, BALANCE = 200, 1000

SCHEMA = f"""
    CREATE EXTENSION amcheck;
    CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, note text);
    CREATE TABLE entry (writer int, number int, PRIMARY KEY (writer, number));
    CREATE INDEX ON account (balance);
    INSERT INTO account SELECT n, {BALANCE}, repeat('x', 200) FROM generate_series(1, {ACCOUNTS}) n;
"""

CHECK_INDEXES = """
    SELECT bt_index_check(c.oid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_am am ON am.oid = c.relam WHERE am.amname = 'btree' AND i.indisvalid AND c.relpersistence <> 't'
"""
CHECK_TABLES = "SELECT * FROM verify_heapam('account') UNION ALL SELECT * FROM verify_heapam('entry')"


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[PrivateLocation]:
    with private_location(getattr(request, "param", "overlay")) as made:
        yield made


class Writer(threading.Thread):
    """Transfers money between accounts, one transaction after the other, and counts those the database has confirmed.

    Attributes:
        begun: the number of the last transaction it has begun.
        confirmed: the number of the last one that was committed for certain.
    """

    def __init__(self, number: int, address: str, going: threading.Event, done: threading.Event) -> None:
        super().__init__()
        self.number = number
        self.begun = self.confirmed = 0
        self.paused = threading.Event()
        self._address = address
        self._going = going
        self._done = done

    def run(self) -> None:
        while not self._done.is_set():
            if not self._going.wait(0.05):
                self.paused.set()
                continue
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._address, autocommit=True) as db:
                self._take_up(db)
                while self._going.is_set() and not self._done.is_set():
                    self._transfer(db)

    def _take_up(self, db: psycopg.Connection) -> None:
        row = db.execute("SELECT coalesce(max(number), 0) FROM entry WHERE writer = %s", [self.number]).fetchone()
        assert row is not None
        self.begun = self.confirmed = row[0]

    def _transfer(self, db: psycopg.Connection) -> None:
        number = self.begun + 1
        one, other = (number * 7 + self.number) % ACCOUNTS + 1, (number * 13 + self.number + 1) % ACCOUNTS + 1
        self.begun = number
        with db.transaction():
            for account, change in sorted([(one, -1), (other, 1)]):
                db.execute("UPDATE account SET balance = balance + %s, note = md5(%s) WHERE id = %s",
                           [change, str(number), account])  # fmt: skip
            db.execute("INSERT INTO entry VALUES (%s, %s)", [self.number, number])
        self.confirmed = number


class Bank:
    """A database under writes."""

    def __init__(self, container: Container) -> None:
        self.container = container
        port = container.attach_tunnel(5432).localport
        self.address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout={SECONDS:.0f}"
        self._going, self._done = threading.Event(), threading.Event()
        self.writers = [Writer(number, self.address, self._going, self._done) for number in range(WRITERS)]

    def begin(self) -> None:
        for writer in self.writers:
            writer.paused.clear()
        self._going.set()

    def pause(self) -> None:
        self._going.clear()
        for writer in self.writers:
            assert writer.paused.wait(SECONDS)

    def end(self) -> None:
        self._done.set()
        for writer in self.writers:
            writer.join(2 * SECONDS)

    def until_written(self, transactions: int) -> None:
        """Wait until every writer has confirmed so many more."""
        wanted = [writer.confirmed + transactions for writer in self.writers]
        until(lambda: all(w.confirmed >= n for w, n in zip(self.writers, wanted, strict=True)), "the writers to write")

    def assert_consistent(self, *, at_least: list[int], at_most: list[int]) -> None:
        """All that was confirmed before the snapshot, nothing that was begun after it, and no torn page."""
        with psycopg.connect(self.address, autocommit=True) as db:
            total = db.execute("SELECT sum(balance), count(*) FROM account").fetchone()
            assert total == (ACCOUNTS * BALANCE, ACCOUNTS)
            for writer in self.writers:
                found = db.execute(
                    "SELECT count(*), coalesce(max(number), 0) FROM entry WHERE writer = %s", [writer.number]
                ).fetchone()
                assert found is not None
                assert found[0] == found[1], "a transaction is missing between others"
                assert at_least[writer.number] <= found[0] <= at_most[writer.number]
            db.execute(CHECK_INDEXES)
            assert db.execute(CHECK_TABLES).fetchall() == []


@pytest.fixture
def bank(location: Location) -> Iterator[Bank]:
    container = location.node().spawn_container(
        example_images.reference("postgres"), env={"POSTGRES_HOST_AUTH_METHOD": "trust"}
    )
    made = Bank(container.wait_until_ready())
    with psycopg.connect(made.address, autocommit=True) as db:
        db.execute(SCHEMA)
    for writer in made.writers:
        writer.start()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.parametrize("place", ROUNDS, indirect=True, scope="module")
def test_postgresql_under_writes(place: PrivateLocation, bank: Bank) -> None:
    for _ in range(ROUNDS[place.storage]):
        bank.begin()
        bank.until_written(3)
        at_least = [writer.confirmed for writer in bank.writers]
        bank.container.snapshot()
        at_most = [writer.begun for writer in bank.writers]
        bank.until_written(3)
        bank.container.rollback()
        bank.pause()
        bank.container.rollback()
        bank.assert_consistent(at_least=at_least, at_most=at_most)


def test_postgresql_after_a_clean_stop(location: Location) -> None:
    container = location.node().spawn_container(
        example_images.reference("postgres"), env={"POSTGRES_HOST_AUTH_METHOD": "trust"}, clean_stop=True
    )
    container.wait_until_ready()
    bank = Bank(container)
    with psycopg.connect(bank.address, autocommit=True) as db:
        db.execute(SCHEMA)
    mark = container.log_mark()
    container.snapshot()
    for _ in range(2):
        with psycopg.connect(bank.address, autocommit=True) as db:
            db.execute("DROP TABLE account")
        said(container, "echo garbage > /var/lib/postgresql/data/global/pg_control")
        container.rollback()
        bank.assert_consistent(at_least=[0] * WRITERS, at_most=[0] * WRITERS)
    words = "".join(line["log"] for line in container.logs(mark))
    assert "database system was shut down" in words
    assert "not properly shut down" not in words


def test_redis_whose_memory_is_flushed_before_each_snapshot(location: Location) -> None:
    container = location.node().spawn_container(example_images.reference("redis"), before_snapshot="redis-cli save")
    container.wait_until_ready()
    with redis.Redis(port=container.attach_tunnel(6379).localport, decode_responses=True) as client:
        client.mset({"one": "1", "other": "2"})
        container.snapshot()
        for _ in range(2):
            client.flushall()
            client.set("new", "3")
            container.rollback()
            assert sorted(client.keys()) == ["one", "other"]
            assert client.get("one") == "1"


def test_redis_whose_memory_is_loaded_after_each_boot(location: Location) -> None:
    container = location.node().spawn_container(
        example_images.reference("redis"),
        pre_boot_files={"/seed": "SET one 1\nSET other 2\n"},
        after_boot="redis-cli < /seed",
    )
    container.wait_until_ready()
    with redis.Redis(port=container.attach_tunnel(6379).localport, decode_responses=True) as client:
        assert client.get("one") == "1"
        container.snapshot()
        client.flushall()
        container.rollback()
        assert client.get("other") == "2"


def test_a_command_that_fails_fails_what_it_belongs_to(location: Location) -> None:
    image = example_images.reference("redis")
    container = location.node().spawn_container(image, before_snapshot="echo the disk is full; exit 9")
    container.wait_until_ready()
    with pytest.raises(WrongState, match=r"before_snapshot .* status 9: the disk is full"):
        container.snapshot()
    assert said(container, "redis-cli ping") == "PONG"
    other = location.node().spawn_container(image, after_boot="echo no such seed; exit 4")
    with pytest.raises(ValueError, match=r"after_boot .* status 4: no such seed"):
        other.wait_until_ready()

"""The services that are measured: how each is asked, filled, dirtied as a test would, and checked to be clean again.

Everything is done through an address, as a test does it, so that ours and a peer's container are treated alike.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.measuring.rounds import until
from tfnz import ready

if TYPE_CHECKING:
    import psycopg

    from tfnz.container import Container

Address = tuple[str, int]

ANSWER = 2.0
"""Seconds one attempt may take."""

DEFACED = b"defaced by a test"
PAGE = "/usr/share/nginx/html/index.html"
USER = "test"

ROWS_OF_10_MB, ROWS_OF_60_MB, ROWS_OF_520_MB = 200, 24_400, 246_500
"""Rows of PostgreSQL's table, of 2 kB each, and how large the database is with them (pg_database_size)."""

SPOILT = 100
"""Rows of it that a test changes."""


@dataclass(frozen=True)
class Service:
    """An image and how to treat it.

    Attributes:
        name: in tables.
        image: which example image it is.
        answers: one new connection, one request; False if that failed.
        fill: what a session fixture does once, before the snapshot.
        dirty: what a test does.
        clean: False if anything of `dirty` is still to be seen.
        options: further arguments of `spawn_container`.
    """

    name: str
    image: str
    port: int
    answers: Callable[[Address], bool]
    fill: Callable[[Address], None]
    dirty: Callable[[Container], None]
    clean: Callable[[Address], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def wait(self, address: Address) -> None:
        """Ask until it answers.

        Raises:
            TimeoutError: it does not.
        """
        until(lambda: self.answers(address), what=f"{self.name} at port {address[1]}")

    def address_of(self, container: Container) -> Address:
        """Where a container of ours is reached: the tunnel's end here."""
        return _local(container, self.port)


def _local(container: Container, port: int) -> Address:
    return "127.0.0.1", int(container.tunnel(port).localport)


# nginx


def get(address: Address) -> bytes:
    """A page, with status line and head; OSError if nobody answers."""
    with socket.create_connection(address, timeout=ANSWER) as web:
        web.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        return b"".join(iter(lambda: web.recv(65536), b""))


def serves(address: Address) -> bool:
    """True if the page is there."""
    try:
        return get(address)[9:12] == b"200"
    except OSError:
        return False


NGINX = Service(
    name="nginx",
    image="nginx",
    port=80,
    answers=serves,
    fill=lambda _: None,
    dirty=lambda container: container.put(PAGE, DEFACED),
    clean=lambda address: DEFACED not in get(address),
)


# Redis


def say(address: Address, *words: str) -> bytes:
    """One command; the first piece of Redis's answer (RESP, redis.io/docs/reference/protocol-spec)."""
    with socket.create_connection(address, timeout=ANSWER) as redis:
        redis.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        return redis.recv(65536)


def pongs(address: Address) -> bool:
    """True if it answers a PING."""
    try:
        return say(address, "PING").startswith(b"+PONG")
    except OSError:
        return False


REDIS = Service(
    name="Redis",
    image="redis",
    port=6379,
    answers=pongs,
    fill=lambda address: _done(say(address, "SET", "seed", "sown")),
    dirty=lambda container: _done(say(_local(container, 6379), "FLUSHALL")),
    clean=lambda address: b"sown" in say(address, "GET", "seed"),
    options={"before_snapshot": "redis-cli save"},
)


def _done(reply: bytes) -> None:
    if not reply.startswith(b"+OK"):
        raise RuntimeError(f"Redis refused: {reply!r}")


# PostgreSQL


def connect(address: Address, database: str = USER) -> psycopg.Connection[Any]:
    """A new connection that commits each statement."""
    import psycopg

    host, port = address
    return psycopg.connect(host=host, port=port, user=USER, dbname=database, connect_timeout=2, autocommit=True)


def selects(address: Address) -> bool:
    """True if it answers `SELECT 1`."""
    import psycopg

    try:
        with connect(address) as database:
            return database.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def fill(address: Address, *, rows: int, database: str = USER) -> None:
    """A table of so many rows of 2 kB, and twenty small ones. Few long rows, so that a large database takes seconds."""
    with connect(address, database) as connection:
        connection.execute("CREATE TABLE t (id int, a text, b text)")
        connection.execute("ALTER TABLE t ALTER b SET STORAGE PLAIN")  # neither compressed nor put elsewhere
        connection.execute(
            f"INSERT INTO t SELECT i, md5(i::text), repeat(md5((i + 1)::text), 60) FROM generate_series(1, {rows:d}) i"
        )
        connection.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
        for number in range(1, 21):
            connection.execute(f"CREATE TABLE s{number:d} (id serial PRIMARY KEY, v text)")
            connection.execute(f"INSERT INTO s{number:d} (v) SELECT md5(i::text) FROM generate_series(1, 10) i")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def spoil(address: Address) -> None:
    """Change, remove, add."""
    with connect(address) as database:
        database.execute(f"UPDATE t SET a = 'x' WHERE id <= {SPOILT:d}")
        database.execute("DROP TABLE s1, s2")
        database.execute("CREATE TABLE stray AS SELECT * FROM t LIMIT 100")


def unspoilt(address: Address, *, rows: int) -> bool:
    """True if nothing of `spoil` is to be seen. Looks where it has been, not at every row of a large table."""
    with connect(address) as database:
        found = database.execute(
            "SELECT (SELECT max(id) FROM t), (SELECT count(*) FROM t WHERE id <= %s AND a <> 'x'),"
            " (SELECT count(*) FROM pg_tables WHERE schemaname = 'public')",
            [SPOILT],
        ).fetchone()
    return found == (rows, SPOILT, 21)


def postgres(name: str, rows: int, **options: Any) -> Service:
    """PostgreSQL with a table of `rows` rows; `options` are further arguments of `spawn_container`."""
    return Service(
        name=name,
        image="postgres",
        port=5432,
        answers=selects,
        fill=functools.partial(fill, rows=rows),
        dirty=lambda container: spoil(_local(container, 5432)),
        clean=functools.partial(unspoilt, rows=rows),
        environment={"POSTGRES_USER": USER, "POSTGRES_DB": USER, "POSTGRES_HOST_AUTH_METHOD": "trust"},
        options={"clean_stop": True, **options},
    )


POSTGRES = postgres("PostgreSQL, 10 MB", ROWS_OF_10_MB)
POSTGRES_60_MB = postgres("PostgreSQL, 60 MB", ROWS_OF_60_MB)
POSTGRES_520_MB = postgres("PostgreSQL, 520 MB", ROWS_OF_520_MB)

POSTGRES_BY_LOG = postgres(
    "PostgreSQL, ready by its log", ROWS_OF_10_MB, ready=ready.log("ready to accept connections")
)
"""The image's own health check is a process started in the container at every boot; a line of the log costs nothing."""

"""What isolation *inside* one running PostgreSQL costs: for whoever weighs one kind against the other.

Nothing here is a competitor to be beaten: a savepoint isolates one connection, DELETE one schema, a template database one
database. A rollback of the container isolates everything in it. The database runs in a container of ours, whose disk does
not wait for fsync, which flatters all of these.
"""

from __future__ import annotations

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import POSTGRES, ROWS_OF_60_MB, USER, Address, connect, fill
from benchmarks.measuring.report import Report
from benchmarks.measuring.rounds import Contestant, Turn, interleave, milliseconds

ROUNDS = 15
LARGE = "large"
TABLES = [f"s{number}" for number in range(3, 21)]


def run(bench: Bench) -> Report:
    """Measure one after another in each round."""
    report = Report("in_database", "isolation inside one running PostgreSQL, for comparison")
    with bench.location() as location:
        address = POSTGRES.address_of(bench.spawn(location, POSTGRES))
        POSTGRES.fill(address)
        with connect(address) as database:
            database.execute(f"CREATE DATABASE {LARGE}")
        fill(address, rows=ROWS_OF_60_MB, database=LARGE)
        contestants = [
            Contestant("savepoint, rolled back", _savepoint(address)),
            Contestant(f"DELETE from {len(TABLES)} tables", _emptied(address, *(f"DELETE FROM {t}" for t in TABLES))),
            Contestant(f"TRUNCATE of {len(TABLES)} tables", _emptied(address, f"TRUNCATE {', '.join(TABLES)}")),
            Contestant("template database, 10 MB", template_database(address, USER)),
            Contestant("template database, 60 MB", template_database(address, LARGE)),
        ]
        bench.progress.step("in-database isolation")
        found = interleave("in-database", contestants, rounds=bench.times(ROUNDS), progress=bench.progress)
    for who, samples in found.items():
        report.row("PostgreSQL", who, samples)
    return report


def _savepoint(address: Address) -> Turn:
    """What the isolation adds to a test's own statements: opening and rolling back, on a connection that is open."""

    def turn() -> float:
        with connect(address) as database:
            opening = milliseconds(lambda: (database.execute("BEGIN"), database.execute("SAVEPOINT test")))
            database.execute("INSERT INTO s3 (v) VALUES ('x')")
            return opening + milliseconds(lambda: database.execute("ROLLBACK"))

    return turn


def _emptied(address: Address, *statements: str) -> Turn:
    """Rows of a test are removed by it from every table, in one transaction."""

    def turn() -> float:
        with connect(address) as database:
            for table in TABLES:
                database.execute(f"INSERT INTO {table} (v) SELECT 'x' FROM generate_series(1, 10)")

            def empty() -> None:
                with database.transaction():
                    for statement in statements:
                        database.execute(statement)

            return milliseconds(empty)

    return turn


def template_database(address: Address, template: str) -> Turn:
    """A copy of a database for one test: made, connected to, dropped."""

    def turn() -> float:
        with connect(address, "postgres") as server:

            def use() -> None:
                server.execute(f"CREATE DATABASE copy TEMPLATE {template}")
                with connect(address, "copy") as copy:
                    copy.execute("SELECT 1")
                server.execute("DROP DATABASE copy WITH (FORCE)")

            return milliseconds(use)

    return turn

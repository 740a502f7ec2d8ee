"""The store: transactions, migrations, two processes at once; and who is told apart by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tfcore import keys
from tfcore.clock import JumpingClock
from tfcore.errors import NotFound, WrongState
from tflocation.auth.accounts import Accounts
from tflocation.auth.principals import Principal, parse
from tflocation.peers import Peers
from tflocation.store.database import Database
from tflocation.throttle import REMEMBERED, Throttle


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "store.sqlite")
    yield opened
    opened.close()


def count(database: Database) -> int:
    (number,) = database.execute("SELECT count(*) FROM principal").fetchone()
    return int(number)


def add(database: Database, name: str) -> None:
    Accounts(database).add("account", name, keys.generate().public)


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    def half() -> None:
        with database.transaction():
            add(database, "alice")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half()
    assert count(database) == 0
    with database.transaction():
        add(database, "alice")
    assert count(database) == 1


def test_only_this_user_can_read_the_file(tmp_path: Path, database: Database) -> None:
    assert (tmp_path / "store.sqlite").stat().st_mode & 0o777 == 0o600


def test_opening_again_finds_everything_and_migrates_nothing_twice(tmp_path: Path, database: Database) -> None:
    add(database, "alice")
    again = Database(tmp_path / "store.sqlite")
    assert count(again) == 1
    again.close()


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path, database: Database) -> None:
    database.execute("PRAGMA user_version=999")
    with pytest.raises(WrongState, match="newer"):
        Database(tmp_path / "store.sqlite")


def test_changes_by_another_process_are_noticed_once(tmp_path: Path, database: Database) -> None:
    other = Database(tmp_path / "store.sqlite")
    add(database, "alice")
    assert not database.changed_elsewhere(), "our own do not count"
    add(other, "bob")
    assert database.changed_elsewhere()
    assert not database.changed_elsewhere()
    other.close()


def test_a_principals_text_is_read_back_and_nothing_else_is() -> None:
    principal = Principal(role="account", name="alice.b-c_d", number=12)
    assert parse(principal.text) == ("account", "alice.b-c_d", 12)
    for text in ("", "account:alice", "king:alice#1", "account:#1", "account:a b#1", "account:a#1\n", "account:a#x"):
        assert parse(text) is None, text


def test_names_and_keys_are_used_once_but_a_revoked_one_may_come_again(database: Database) -> None:
    accounts = Accounts(database)
    key = keys.generate().public
    first = accounts.add("account", "alice", key)
    with pytest.raises(WrongState, match="alice"):
        accounts.add("account", "alice", keys.generate().public)
    with pytest.raises(WrongState, match="key"):
        accounts.add("node", "rack1", key)
    accounts.revoke("account", "alice")
    assert accounts.by_key(key) is accounts.by_text(first.text) is None
    second = accounts.add("account", "alice", key)
    assert second.number != first.number
    assert accounts.by_text(first.text) is None
    assert accounts.by_text(second.text) == second
    assert [(entry.name, entry.revoked is None) for entry in accounts.entries("account")] == [
        ("alice", False),
        ("alice", True),
    ]


def test_revoking_nobody_says_so(database: Database) -> None:
    with pytest.raises(NotFound, match="alice"):
        Accounts(database).revoke("account", "alice")


def test_nodes_have_ids_and_accounts_have_none(database: Database) -> None:
    accounts = Accounts(database)
    assert accounts.add("node", "rack1", keys.generate().public).id.startswith("n-")
    assert accounts.add("account", "rack1", keys.generate().public).id == ""
    assert [node.name for node in accounts.living("node")] == ["rack1"]


# who is at which connection


class Somebody:
    def __init__(self, principal: str) -> None:
        self.principal = principal
        self.identity = b""


def test_a_peer_is_known_by_identity_and_key_together() -> None:
    peers, alice = Peers(), Somebody("account:alice#1")
    peers.attach(alice, b"here")
    assert peers.at(b"here", "account:alice#1") is alice
    assert peers.at(b"there", "account:alice#1") is None
    assert peers.at(b"here", "account:alice#2") is None
    assert alice.identity == b"", "she cannot be there if somebody else is"
    assert peers.at(b"here", "account:alice#1") is None


def test_a_peer_that_moves_leaves_its_old_place() -> None:
    peers, alice, bob = Peers(), Somebody("a"), Somebody("b")
    peers.attach(alice, b"one")
    peers.attach(alice, b"two")
    assert peers.at(b"one", "a") is None
    peers.attach(bob, b"two")
    assert (alice.identity, bob.identity) == (b"", b"two")
    peers.detach(alice)
    assert peers.at(b"two", "b") is bob
    assert len(peers) == 1


def test_a_throttle_lets_one_thing_of_a_kind_through() -> None:
    clock = JumpingClock(5.0)
    throttle = Throttle(clock, seconds=10)
    assert [throttle.lets("a"), throttle.lets("a"), throttle.lets("b")] == [True, False, True]
    clock.jump(9.9)
    assert not throttle.lets("a")
    clock.jump(0.1)
    assert throttle.lets("a")
    for number in range(5 * REMEMBERED):
        throttle.lets(number)
    assert len(throttle._next) == REMEMBERED

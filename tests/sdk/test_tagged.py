"""Collections by id and tag; the rules for tags; what of them a session is told."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sdk.conftest import Connect
from tests.sdk.fake_location import FakeLocation
from tests.support.waiting import eventually
from tfcore.errors import BadTag, NotFound, WrongState
from tfcore.tags import check_tag
from tfcore.wire.sessions import ExternalOffer, ExternalUpdated
from tfnz import Taggable, TaggedCollection

ONE, TWO = "v-" + "1" * 22, "v-" + "2" * 22
DB = ExternalOffer(id="c-" + "5" * 22, node="n-" + "1" * 22, address="10.117.0.9", tag="db")


ALICES = namedtuple("At", "account")("alice")


@dataclass(eq=False)
class Thing(Taggable):
    """Something of alice's."""

    uuid: str
    tag: str = ""
    location: Any = ALICES


@pytest.fixture
def one() -> Thing:
    return Thing(ONE, "pgdata")


@pytest.fixture
def things(one: Thing) -> TaggedCollection[Thing]:
    return TaggedCollection({ONE: one, TWO: Thing(TWO)}, account="alice", what="thing")


def test_names_for_people_and_programs(one: Thing) -> None:
    assert one.display_name() == f"{ONE}:pgdata"
    assert one.global_display_name() == f"alice:{ONE}:pgdata"
    assert Thing(TWO).display_name() == TWO


@pytest.mark.parametrize("key", [ONE, "pgdata", f"{ONE}:pgdata", b"pgdata", ONE.encode()])
def test_found_by_id_tag_or_both(things: TaggedCollection[Thing], one: Thing, key: str | bytes) -> None:
    assert things.get("alice", key) is things.find(key) is one


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("alice", "other"),
        ("bob", "pgdata"),
        ("bob", ONE),
        ("alice", f"{TWO}:pgdata"),
        ("alice", ""),
        ("alice", b"\xff"),
    ],
)
def test_what_is_not_there(things: TaggedCollection[Thing], user: str, key: str | bytes) -> None:
    """A `KeyError`, as gen 2's programs expect, and a `ValueError`, as everywhere in the SDK."""
    for expected in (KeyError, ValueError, NotFound):
        with pytest.raises(expected):
            things.get(user, key)


def test_it_is_as_a_dict_by_ids(things: TaggedCollection[Thing], one: Thing) -> None:
    assert len(things) == 2
    assert set(things) == {ONE, TWO}
    assert things[ONE] is things[ONE.encode()] is one
    assert ONE in things
    assert "pgdata" in things
    assert "other" not in things
    assert things() == {one, things[TWO]}
    with pytest.raises(KeyError):
        things["pgdata"]


@pytest.mark.parametrize("tag", ["a", "web-1", "pg_data.old", "0", "x" * 64])
def test_what_can_be_a_tag(tag: str) -> None:
    assert check_tag(tag) == tag


@pytest.mark.parametrize(
    "tag", ["Ab", "a b", "a/b", "a:b", "ü", "x" * 65, ONE, "a\n", "01234567-89ab-cdef-0123-456789abcdef"]
)
def test_what_cannot(tag: str) -> None:
    """One good letter does not make a tag good, and none may be taken for an id."""
    with pytest.raises(BadTag):
        check_tag(tag)


# --- externals


def test_externals_come_and_go(fake: FakeLocation, connect: Connect) -> None:
    location = connect(fake)
    with pytest.raises(NotFound, match="db"):
        location.external_container("db")
    fake.tell(ExternalUpdated(external=DB))
    eventually(lambda: location.externals)
    ended: list[tuple[object, object]] = []
    external = location.external_container(f"{DB.id}:db", termination_callback=lambda *told: ended.append(told))
    assert external is location.external_container("db") is location.externals.get(location.user_pk, DB.id)
    assert (external.private_ip(), external.ip, external.ip()) == (DB.address,) * 3
    assert external.global_display_name() == f"{location.account}:{DB.id}:db"
    fake.tell(ExternalUpdated(external=DB, gone=True))
    fake.tell(ExternalUpdated(external=DB, gone=True))
    eventually(lambda: ended)
    assert len(location.externals) == 0
    with pytest.raises(WrongState, match="gone"):
        external.allow_connection_from(None)  # type: ignore[arg-type]
    location.disconnect()
    assert ended == [(external, None)]


def test_an_external_that_went_during_a_cut_is_gone(fake: FakeLocation, connect: Connect) -> None:
    fake.externals = (DB,)
    location = connect(fake)
    ended: list[object] = []
    location.external_container("db").termination_callback = ended.append
    fake.externals = ()
    fake.stop()
    fake.start()
    eventually(lambda: ended)
    assert len(location.externals) == 0

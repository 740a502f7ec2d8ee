"""When kept snapshots go, and what a container spawned from one is wished to be like: pure."""

from __future__ import annotations

import pytest

from tfcore.clock import JumpingClock
from tfcore.ids import new_id
from tfcore.wire.containers import ContainerWish, Limits, Mount, Probe
from tfcore.wire.kept import MomentKept
from tflocation.gc.mark import mark
from tflocation.handlers.resuming import wish_of
from tflocation.kept.expiry import GIVEN_UP, beyond, overdue
from tflocation.kept.shelf import Kept, State


def kept(
    name: str,
    *,
    created: float = 0.0,
    expires: float | None = None,
    size: int = 10,
    evictable: bool = False,
    state: State = "kept",
    wish: ContainerWish | None = None,
) -> Kept:
    moment = MomentKept(size=size, wish=wish or ContainerWish(image="web"), config=b"{}", layers=())
    return Kept(
        id=name, account="a", node="n", image="web", created=created, expires=expires, evictable=evictable, state=state,
        moment=None if state == "making" else moment,
    )  # fmt: skip


def names(found: list[Kept]) -> list[str]:
    return [one.id for one in found]


def test_what_has_expired_goes_and_nothing_before() -> None:
    clock = JumpingClock(1000.0)
    all_kept = [kept("for ever"), kept("soon", expires=1010.0), kept("later", expires=1020.0)]
    gone = []
    for _ in range(4):
        gone.append(names(overdue(all_kept, clock())))
        clock.jump(9.0)
    assert gone == [[], [], ["soon"], ["soon", "later"]]


def test_what_nobody_finishes_goes_after_a_while() -> None:
    left, asked = kept("left", state="making"), kept("asked", state="making")
    assert overdue([left, asked], GIVEN_UP - 1) == []
    assert names(overdue([left, asked], GIVEN_UP, under_way={"asked"})) == ["left"]


def test_what_is_forgotten_does_not_expire_again() -> None:
    assert overdue([kept("gone", expires=1.0, state="forgotten")], 100.0) == []


@pytest.mark.parametrize(
    ("limit", "going"), [(40, []), (39, ["e1"]), (30, ["e1"]), (29, ["e1", "e2"]), (0, ["e1", "e2"])]
)
def test_the_oldest_evictable_ones_go_until_the_rest_fits(limit: int, going: list[str]) -> None:
    mine = [
        kept("e2", created=3.0, evictable=True),
        kept("solid", created=1.0),
        kept("e1", created=2.0, evictable=True),
        kept("newest", created=4.0),
    ]
    assert names(beyond(mine, limit)) == going


def test_what_is_just_being_spawned_from_stays() -> None:
    mine = [kept("old", created=1.0, evictable=True), kept("new", created=2.0, evictable=True)]
    assert names(beyond(mine, 0, used={"old"})) == ["new"]


def test_what_is_not_there_any_more_does_not_count() -> None:
    assert beyond([kept("gone", state="forgotten", evictable=True), kept("here", evictable=True)], 10) == []


# --- what a node has


def test_a_node_and_the_location_agree_on_what_is_kept() -> None:
    known = [kept("here"), kept("lost"), kept("coming", state="making")]
    verdict = mark(
        [], [], has_containers=frozenset(), has_volumes=frozenset(), open_sessions=frozenset(), kept=known,
        has_kept=frozenset({"here", "coming", "nobody's"}),
    )  # fmt: skip
    assert (verdict.unkept, verdict.unwanted) == (("lost",), ("nobody's",))


def test_one_that_is_being_made_is_not_missed() -> None:
    verdict = mark(
        [], [], has_containers=frozenset(), has_volumes=frozenset(), open_sessions=frozenset(),
        kept=[kept("coming", state="making")],
    )  # fmt: skip
    assert (verdict.unkept, verdict.unwanted) == ((), ())


# --- wishes


WAS = ContainerWish(
    image="web",
    env=(("A", "1"),),
    command=("serve",),
    hostname="db",
    limits=Limits(memory=100),
    ready=Probe(kind="tcp", port=80),
    after_boot="load",
    mounts=(Mount(volume=new_id("v"), path="/data"),),
)


def test_what_was_wished_then_is_wished_again() -> None:
    mounts = (Mount(volume=new_id("v"), path="/data"),)
    wish = wish_of(kept("x", wish=WAS), ContainerWish(image="web"), mounts)
    assert (wish.env, wish.command, wish.hostname, wish.mounts) == (WAS.env, WAS.command, "db", mounts)
    assert (wish.limits, wish.ready, wish.after_boot) == (WAS.limits, WAS.ready, "load")


def test_what_is_given_is_wished_instead() -> None:
    given = ContainerWish(
        image="other", env=(("B", "2"),), limits=Limits(pids=5), ready=Probe(kind="running"), after_boot="other",
        before_snapshot="save", always_roll_back=True,
    )  # fmt: skip
    wish = wish_of(kept("x", wish=WAS), given, ())
    assert (wish.image, wish.env) == ("web", WAS.env)
    assert (wish.limits, wish.ready, wish.after_boot) == (given.limits, given.ready, "other")
    assert (wish.before_snapshot, wish.always_roll_back) == ("save", True)

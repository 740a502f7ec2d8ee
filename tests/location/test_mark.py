"""What a node should have against what it has: pure."""

from __future__ import annotations

from tflocation.gc.mark import mark
from tflocation.holdings import Container, Volume


def container(name: str, session: str = "open") -> Container:
    return Container(id=name, session=session, account="a", node="n", address="10.117.0.1", image="web")


def volume(name: str, session: str = "open", *, persistent: bool = False) -> Volume:
    return Volume(id=name, session=session, account="a", node="n", persistent=persistent)


OPEN = frozenset({"open"})


def test_when_both_agree_nothing_is_done() -> None:
    verdict = mark(
        [container("c1")], [volume("v1")],
        has_containers=frozenset({"c1"}), has_volumes=frozenset({"v1"}), open_sessions=OPEN,
    )  # fmt: skip
    assert (verdict.end, verdict.gone, verdict.lost, verdict.strangers, verdict.owed) == ((), (), (), (), ())
    assert verdict.back == ("c1",)


def test_unknown_containers_are_ended_running_or_not() -> None:
    verdict = mark(
        [],
        [],
        has_containers=frozenset({"c2", "c1"}),
        has_dormant=frozenset({"c3"}),
        has_volumes=frozenset(),
        open_sessions=OPEN,
    )
    assert verdict.end == ("c1", "c2", "c3")


def test_a_dormant_container_of_an_open_session_is_gone_but_kept() -> None:
    verdict = mark(
        [container("c1")],
        [],
        has_containers=frozenset(),
        has_dormant=frozenset({"c1"}),
        has_volumes=frozenset(),
        open_sessions=OPEN,
    )
    assert ([held.id for held in verdict.gone], verdict.end) == (["c1"], ())


def test_missing_things_are_reported_if_somebody_still_wants_them() -> None:
    verdict = mark(
        [container("c1"), container("c2", "over")],
        [volume("v1"), volume("v2", "over"), volume("v3", "over", persistent=True)],
        has_containers=frozenset(), has_volumes=frozenset(), open_sessions=OPEN,
    )  # fmt: skip
    assert [held.id for held in verdict.gone] == ["c1"]
    assert verdict.lost == ("v1", "v3")
    assert verdict.owed == ("over",)


def test_what_is_being_made_is_not_missing() -> None:
    verdict = mark(
        [container("c1")], [volume("v1")], has_containers=frozenset(), has_volumes=frozenset(),
        open_sessions=OPEN, unborn=frozenset({"c1", "v1"}),
    )  # fmt: skip
    assert (verdict.gone, verdict.lost) == ((), ())


def test_sessions_that_ended_are_owed_once_for_containers_and_mortal_volumes_only() -> None:
    verdict = mark(
        [container("c1", "x"), container("c2", "x")],
        [volume("v1", "y"), volume("v2", "z", persistent=True)],
        has_containers=frozenset({"c1", "c2"}), has_volumes=frozenset({"v1", "v2"}), open_sessions=OPEN,
    )  # fmt: skip
    assert verdict.owed == ("x", "y")
    assert verdict.end == (), "they are the session's path to free"


def test_unknown_volumes_are_left_alone() -> None:
    verdict = mark([], [], has_containers=frozenset(), has_volumes=frozenset({"v9"}), open_sessions=OPEN)
    assert verdict.strangers == ("v9",)
    assert verdict.end == ()

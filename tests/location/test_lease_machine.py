"""The lease machine: lists of events, and the instructions that must follow. No clock but the events' own times."""

from __future__ import annotations

import itertools
import random

import pytest

from tflocation.leases import events as e
from tflocation.leases.machine import STORY, LeaseMachine, Terms

TERMS = Terms(session=120.0, node=10.0, retry=30.0)
S, N = "s-1", "n-1"


def told(*happened: e.Event) -> tuple[LeaseMachine, list[e.Instruction]]:
    """The machine after all this, and every instruction it gave."""
    machine = LeaseMachine(TERMS)
    given: list[e.Instruction] = []
    for event in happened:
        given += machine.handle(event)
        machine.validate()
    return machine, given


def test_a_session_that_is_heard_of_lives() -> None:
    _, given = told(
        e.SessionOpened(S, 0), e.TimePassed(119), e.SessionSeen(S, 100), e.TimePassed(219), e.SessionSeen(S, 219),
        e.TimePassed(338),
    )  # fmt: skip
    assert given == []


def test_a_silent_session_is_freed_when_its_lease_is_over() -> None:
    machine, given = told(e.SessionOpened(S, 0), e.TimePassed(120), e.TimePassed(121), e.TimePassed(500))
    assert given == [e.FreeSession(S, "its client was not heard of for 120 s")]
    assert machine.sessions[S].state == "freeing"


@pytest.mark.parametrize("sign", [e.SessionSeen(S, 500), e.SessionEnded(S, "again"), e.SessionOpened(S, 500)])
def test_nothing_brings_back_a_session_that_is_being_freed(sign: e.Event) -> None:
    machine, given = told(e.SessionOpened(S, 0), e.SessionEnded(S, "closed"), sign, e.TimePassed(1000))
    assert given == [e.FreeSession(S, "closed")]
    assert machine.sessions[S].reason == "closed"


def test_a_freed_session_is_forgotten() -> None:
    machine, given = told(e.SessionOpened(S, 0), e.SessionEnded(S, "closed"), e.SessionFreed(S, 1))
    assert machine.sessions == {}
    assert machine.handle(e.TimePassed(1e6)) == []
    assert machine.handle(e.SessionSeen(S, 2)) == machine.handle(e.SessionEnded(S, "late")) == []
    assert len(given) == 1


def test_a_sign_of_life_that_comes_late_does_not_shorten_the_lease() -> None:
    _, given = told(e.SessionOpened(S, 100), e.SessionSeen(S, 50), e.TimePassed(219))
    assert given == []


def test_what_could_not_be_freed_is_tried_again_until_it_is() -> None:
    machine, given = told(
        e.SessionOpened(S, 0), e.SessionEnded(S, "closed"), e.SessionFreed(S, 10, rest=True), e.TimePassed(39),
        e.TimePassed(40), e.SessionFreed(S, 41, rest=True), e.TimePassed(71), e.SessionFreed(S, 72),
    )  # fmt: skip
    assert given == [e.FreeSession(S, "closed")] * 3
    assert machine.sessions == {}


def test_a_session_owed_by_a_node_is_freed_when_the_node_joins() -> None:
    _, given = told(
        e.SessionOpened(S, 0), e.SessionEnded(S, "closed"), e.SessionFreed(S, 1, rest=True), e.NodeJoined(N, 2, (S,))
    )
    assert given == [e.FreeSession(S, "closed")] * 2


def test_a_local_client_that_does_not_come_back_after_a_restart_has_given_up() -> None:
    _, given = told(e.SessionExpected(S, 5, local=True), e.SessionSeen(S, 5), e.TimePassed(14), e.TimePassed(15))
    assert given == [e.FreeSession(S, "its client was not heard of for 10 s")]
    _, given = told(e.SessionExpected(S, 0, local=True), e.SessionSeen(S, 9), e.TimePassed(128))
    assert given == []
    _, given = told(e.SessionExpected(S, 0), e.TimePassed(119), e.TimePassed(120))
    assert given == [e.FreeSession(S, "its client was not heard of for 120 s")]


@pytest.mark.parametrize("before", [(), (e.SessionOpened(S, 0),), (e.SessionOpened(S, 0), e.SessionEnded(S, "closed"))])
def test_a_join_frees_nothing_that_is_not_owed(before: tuple[e.Event, ...]) -> None:
    machine, given = told(*before)
    assert machine.handle(e.NodeJoined(N, 2, (S, "s-2"))) == []
    assert len(given) == len([event for event in before if isinstance(event, e.SessionEnded)])


def test_what_a_former_life_left_is_freed_at_once() -> None:
    _, given = told(e.SessionLeftOver(S, 5), e.TimePassed(5))
    assert [type(i) for i in given] == [e.FreeSession]


def test_freed_is_believed_only_of_what_is_being_freed() -> None:
    machine, _ = told(e.SessionOpened(S, 0), e.SessionFreed(S, 1), e.SessionFreed("s-9", 1))
    assert machine.sessions[S].state == "open"


def test_a_silent_node_is_lost_once() -> None:
    machine, given = told(e.NodeJoined(N, 0), e.NodeSeen(N, 5), e.TimePassed(14), e.TimePassed(15), e.TimePassed(99))
    assert given == [e.LoseNode(N, "it was not heard of for 10 s")]
    assert machine.nodes == {}


def test_a_lost_node_is_not_there_until_it_joins() -> None:
    machine, _ = told(e.NodeJoined(N, 0), e.TimePassed(10), e.NodeSeen(N, 11))
    assert machine.nodes == {}
    assert machine.handle(e.NodeJoined(N, 12)) == []
    assert machine.handle(e.TimePassed(22)) == [e.LoseNode(N, "it was not heard of for 10 s")]


def test_an_expected_node_has_its_lease_to_come() -> None:
    _, given = told(e.NodeExpected(N, 0), e.TimePassed(9), e.TimePassed(10))
    assert given == [e.LoseNode(N, "it was not heard of for 10 s")]


def test_a_dismissed_node_is_lost_if_it_was_there() -> None:
    _, given = told(e.NodeDismissed(N), e.NodeJoined(N, 0), e.NodeDismissed(N), e.NodeDismissed(N), e.TimePassed(99))
    assert given == [e.LoseNode(N, "its key was revoked")]


def test_the_story_holds_what_happened_but_not_every_breath() -> None:
    machine, _ = told(e.SessionOpened(S, 0), e.SessionSeen(S, 1), e.TimePassed(2), e.SessionEnded(S, "closed"))
    assert list(machine.story) == [e.SessionOpened(S, 0), e.SessionEnded(S, "closed"), e.FreeSession(S, "closed")]
    for number in range(10 * STORY):
        machine.handle(e.NodeJoined(f"n-{number}", 0))
    assert len(machine.story) == STORY


def test_validate_sees_a_session_forgotten_too_early() -> None:
    machine, _ = told(e.SessionOpened(S, 0), e.SessionEnded(S, "closed"))
    del machine.sessions[S]
    with pytest.raises(AssertionError, match="before it was freed"):
        machine.validate()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_the_invariants_hold_and_nobody_is_freed_twice_at_a_time(seed: int) -> None:
    dice = random.Random(seed)
    machine = LeaseMachine(TERMS)
    freeing: set[str] = set()
    now = 0.0
    for number in itertools.count():
        if number == 400:
            break
        now += dice.choice([0, 0, 1, 7, 50])
        session, node = f"s-{dice.randrange(4)}", f"n-{dice.randrange(2)}"
        event = dice.choice([
            e.SessionOpened(session, now), e.SessionSeen(session, now), e.SessionEnded(session, "closed"),
            e.SessionFreed(session, now, rest=dice.random() < 0.5), e.SessionLeftOver(session, now),
            e.SessionExpected(session, now, local=dice.random() < 0.5),
            e.NodeJoined(node, now, (session,)), e.NodeSeen(node, now), e.NodeDismissed(node), e.TimePassed(now),
        ])  # fmt: skip
        if isinstance(event, e.SessionFreed):
            freeing.discard(event.session)
        for instruction in machine.handle(event):
            if isinstance(instruction, e.FreeSession):
                assert instruction.session not in freeing
                freeing.add(instruction.session)
        machine.validate()
    assert {s for s, lease in machine.sessions.items() if lease.state == "freeing"} == freeing

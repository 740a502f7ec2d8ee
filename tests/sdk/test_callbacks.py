"""Callbacks in lanes: order, turns, and what goes on while one of them waits for the SDK."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tests.support.waiting import eventually
from tfnz.callbacks import Callbacks, fitting, runs_callback_of, standing_aside
from tfnz.delivery import AHEAD, Delivery
from tfnz.portal import Portal

SECONDS = 30.0


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    made = Callbacks("test")
    yield made
    made.close()


def test_those_of_one_object_keep_their_order_and_no_two_run_at_once(callbacks: Callbacks) -> None:
    ran: list[tuple[str, int]] = []
    inside = threading.Lock()

    def run(lane: str, number: int) -> None:
        assert inside.acquire(blocking=False), "two callbacks at the same time"
        ran.append((lane, number))
        inside.release()

    for number in range(200):
        for lane in "abc":
            callbacks.post(run, lane, number, lane=lane)
    callbacks.close()
    assert {lane: [n for found, n in ran if found == lane] for lane in "abc"} == {lane: [*range(200)] for lane in "abc"}


def test_while_one_waits_for_the_sdk_others_run_but_none_of_its_own(callbacks: Callbacks) -> None:
    ran: list[str] = []
    other_ran, may_end = threading.Event(), threading.Event()

    def waits() -> None:
        with standing_aside():
            assert other_ran.wait(SECONDS)
            assert may_end.wait(SECONDS)
        ran.append("one")

    callbacks.post(waits, lane="a")
    callbacks.post(ran.append, "one, next", lane="a")
    callbacks.post(lambda: (ran.append("other"), other_ran.set()), lane="b")
    assert other_ran.wait(SECONDS)
    assert ran == ["other"]
    may_end.set()
    callbacks.close()
    assert ran == ["other", "one", "one, next"]


def test_who_comes_back_waits_for_his_turn(callbacks: Callbacks) -> None:
    running: list[str] = []
    inside, back, over = threading.Event(), threading.Event(), threading.Event()

    def waits() -> None:
        with standing_aside():
            assert inside.wait(SECONDS)
        assert not running, "another callback is not finished"
        back.set()

    def holds() -> None:
        running.append("b")
        inside.set()
        assert not back.wait(0.05)  # a broken one is back at once
        running.pop()
        over.set()

    callbacks.post(waits, lane="a")
    callbacks.post(holds, lane="b")
    assert back.wait(SECONDS)
    assert over.is_set()


def test_a_thread_knows_whose_callback_it_runs(callbacks: Callbacks) -> None:
    lane, told = object(), []
    callbacks.post(lambda: told.append((runs_callback_of(lane), runs_callback_of(object()))), lane=lane)
    callbacks.close()
    assert told == [(True, False)]
    assert not runs_callback_of(lane)


def test_what_one_raises_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Exception] = []
    callbacks = Callbacks("test", told.append)
    callbacks.post(lambda: 1 / 0)
    callbacks.close()
    assert [type(failure) for failure in told] == [ZeroDivisionError]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("callback", "given"),
    [
        (lambda obj: (obj,), ("p",)),
        (lambda obj, code: (obj, code), ("p", 3)),
        (lambda obj, code=None: (obj, code), ("p", 3)),
        (lambda *args: args, ("p", 3)),
        (max, "p"),
    ],
)
def test_a_callback_gets_as_much_as_it_takes(callback: object, given: object) -> None:
    fitted = fitting(callback, *("p", 3) if callback is not max else ("p", "a"))  # type: ignore[arg-type]
    assert fitted is not None
    assert fitted() == given


# deliveries


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal("test")
    yield made
    made.close()


def test_a_slow_callback_makes_its_writer_wait(callbacks: Callbacks, portal: Portal) -> None:
    begun, may_go_on = threading.Event(), threading.Event()
    had: list[int] = []

    def callback(_subject: object, data: bytes) -> None:
        begun.set()
        assert may_go_on.wait(SECONDS)
        had.append(len(data))

    sent: list[int] = []

    async def write() -> None:
        delivery = Delivery(callbacks, "lane", callback, "subject")
        for _ in range(64):
            await delivery(bytes(AHEAD // 8))
            sent.append(AHEAD // 8)
        await delivery.drained()

    writing = asyncio.run_coroutine_threadsafe(write(), portal.loop)
    assert begun.wait(SECONDS)
    eventually(lambda: sum(sent) >= AHEAD)
    portal.call(asyncio.sleep(0))  # it would run ahead now
    assert AHEAD <= sum(sent) <= 2 * AHEAD
    may_go_on.set()
    writing.result(SECONDS)
    assert sum(had) == sum(sent) == 8 * AHEAD


def test_nobody_waits_for_callbacks_that_will_not_run(portal: Portal) -> None:
    callbacks = Callbacks("test")
    callbacks.close()

    async def write() -> None:
        delivery = Delivery(callbacks, "lane", print, "subject")
        for _ in range(3):
            await delivery(bytes(AHEAD))
        await delivery.drained()

    portal.call(write())

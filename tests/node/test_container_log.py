"""The bounded record of a container's output."""

from __future__ import annotations

import pytest

from tfnode.runtime.log import OVERHEAD, ContainerLog, Record, Stream

OUT, ERR = Stream.STDOUT, Stream.STDERR


def filled(*lines: bytes, capacity: int = 10_000) -> ContainerLog:
    log = ContainerLog(capacity=capacity, wall_clock=lambda: 5.0)
    for line in lines:
        log.append(OUT, line, generation=1)
    return log


def test_records_are_numbered_over_streams_and_generations() -> None:
    log = filled(b"a")
    log.append(ERR, b"b", generation=2)
    tail = log.since()
    assert tail.records == (Record(0, 5.0, OUT, 1, b"a"), Record(1, 5.0, ERR, 2, b"b"))
    assert (tail.next, tail.dropped) == (2, 0)


def test_asking_goes_on_where_it_stopped() -> None:
    log = filled(b"a", b"b")
    following = log.since(log.since().next)
    assert (following.records, following.next) == ((), 2)
    log.append(OUT, b"c", generation=1)
    assert [record.data for record in log.since(2).records] == [b"c"]


def test_the_oldest_are_forgotten_and_counted() -> None:
    log = filled(*(b"x" * 100 for _ in range(10)), capacity=3 * (100 + OVERHEAD))
    tail = log.since(2)
    assert [record.seq for record in tail.records] == [7, 8, 9]
    assert (tail.dropped, tail.next) == (5, 10)
    assert log.since(8).dropped == 0


def test_a_flood_of_short_lines_is_bounded_too() -> None:
    log = filled(*(b"x" for _ in range(1000)), capacity=10 * (1 + OVERHEAD))
    assert len(log.since().records) == 10


def test_the_newest_is_kept_however_large() -> None:
    assert [record.data for record in filled(b"small", b"y" * 500, capacity=100).since().records] == [b"y" * 500]


def test_an_answer_has_a_limit_but_never_stands_still() -> None:
    log = filled(b"x" * 60, b"y" * 60, b"z" * 60)
    first = log.since(0, limit=100)
    assert (len(first.records), first.next) == (1, 1)
    assert log.since(first.next, limit=1).next == 2
    assert log.since(1, limit=120).next == 3


@pytest.mark.parametrize("seq", [-5, 0])
def test_asking_from_before_the_beginning_is_asking_from_the_beginning(seq: int) -> None:
    assert filled(b"a").since(seq).dropped == 0


def test_asking_ahead_gets_nothing() -> None:
    tail = filled(b"a").since(7)
    assert (tail.records, tail.dropped) == ((), 0)


def test_a_mark_lies_between_what_was_said_and_what_comes() -> None:
    log = filled(b"before")
    mark = log.mark()
    log.append(OUT, b"after", generation=2)
    assert [record.data for record in log.since(mark).records] == [b"after"]


def test_nothing_said_is_no_record() -> None:
    assert filled(b"").mark() == 0


def test_listeners_hear_each_record_until_they_leave() -> None:
    log = filled(b"before")
    heard: list[bytes] = []
    leave = log.listen(lambda record: heard.append(record.data))
    log.append(OUT, b"one", generation=1)
    leave()
    leave()
    log.append(OUT, b"two", generation=1)
    assert heard == [b"one"]


def test_a_listener_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    log = filled()
    heard: list[bytes] = []

    def fail(record: Record) -> None:
        raise ValueError(record)

    log.listen(fail)
    log.listen(lambda record: heard.append(record.data))
    log.append(OUT, b"one", generation=1)
    assert heard == [b"one"]
    assert "listener" in caplog.text


def test_last_words_are_the_end_of_what_was_said() -> None:
    log = filled(b"first\n", b"second \xff\n", b"third\n")
    assert log.last_words() == "first\nsecond \ufffd\nthird"
    assert log.last_words(6) == "third"
    assert filled().last_words() == ""

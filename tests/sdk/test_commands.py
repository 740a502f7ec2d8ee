"""The pure parts of commands: the last lines of a log, the environment of `-e`, processor time, exit codes."""

from __future__ import annotations

import pytest

from tfcore import errors
from tfcore.wire.containers import ContainerStatus, LogRecord
from tfnz import cli
from tfnz.commands import exec as exec_command
from tfnz.commands import exits
from tfnz.commands.logs import last_lines
from tfnz.commands.ps import Seen
from tfnz.commands.top import Meter


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ps -q", "ps -q"),
        ("--location lab ps -q", "ps --location lab -q"),
        ("--loc=lab -v volumes list --json", "volumes list --loc=lab -v --json"),
        ("--local 1.2.3.4 exec web ls --location", "exec --local 1.2.3.4 web ls --location"),
        ("--location lab nginx ps", "--location lab nginx ps"),
        ("-p 80 ps", "-p 80 ps"),
        ("--location", "--location"),
        ("-v", "-v"),
    ],
)
def test_where_to_go_may_be_said_before_the_command(typed: str, meant: str) -> None:
    assert " ".join(cli.command_first(typed.split())) == meant


def records(*pieces: bytes) -> list[LogRecord]:
    return [LogRecord(seq=n, time=0.0, stream="stdout", generation=1, data=data) for n, data in enumerate(pieces)]


@pytest.mark.parametrize(
    ("pieces", "lines", "left"),
    [
        ((b"a\nb\nc\n",), 2, b"b\nc\n"),
        ((b"a\n", b"b\n", b"c\n"), 2, b"b\nc\n"),
        ((b"a\nb", b"c\nd\n"), 2, b"bc\nd\n"),
        ((b"a\nb\n", b"unfinished"), 2, b"b\nunfinished"),
        ((b"a\n", b"b\n"), 5, b"a\nb\n"),
        ((b"a\n",), 0, b""),
        ((), 3, b""),
        ((b"\n\n\n",), 2, b"\n\n"),
    ],
)
def test_the_last_lines(pieces: tuple[bytes, ...], lines: int, left: bytes) -> None:
    assert b"".join(record.data for record in last_lines(records(*pieces), lines)) == left


def test_the_environment_is_given_or_taken_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "x")
    monkeypatch.delenv("ABSENT", raising=False)
    given = ["A=1", "B=", "C=d=e", "HERE", "ABSENT"]
    assert exec_command.environment(given) == [("A", "1"), ("B", ""), ("C", "d=e"), ("HERE", "x")]


def test_processor_time_is_a_share_of_the_time_between_two_looks() -> None:
    def seen(spent: float | None, generation: int = 1) -> Seen:
        return Seen("ready", ContainerStatus(state="ready", generation=generation, cpu_seconds=spent))

    meter = Meter()
    looks = [(0, seen(1.0)), (2, seen(2.0)), (4, seen(0.5, 2)), (5, seen(1.5, 2)), (6, seen(None)), (7, Seen("gone"))]
    assert [meter.cpu("one", look, now) for now, look in looks] == [None, 0.5, None, 1.0, None, None]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.HostLacks, exits.ENVIRONMENT),
        (errors.SessionLost, exits.CONNECT),
        (errors.UnknownKey, exits.CONNECT),
        (errors.Exhausted, exits.NODE),
        (errors.ImageNotFound, exits.SPAWN),
        (errors.NotFound, exits.FAILED),
        (errors.BadRequest, exits.FAILED),
    ],
)
def test_an_error_has_an_exit_code(error: type[errors.TfError], code: int) -> None:
    assert exits.code_of(error("x")) == code
    with pytest.raises(exits.Stopped) as stopped, exits.otherwise(exits.SPAWN):
        raise error("x")
    assert stopped.value.code == (exits.SPAWN if code == exits.FAILED else code)

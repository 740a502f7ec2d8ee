"""What becomes of a container while it boots, as `tf run` sees it. By stand-ins: the moments cannot be met on purpose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tfcore.errors import ContainerDied, DeadlineExceeded, TfError, WrongState
from tfcore.wire.containers import ContainerEnded
from tfnz.commands import exits
from tfnz.container import Container
from tfnz.location import Location
from tfnz.running.session import Wish, _Running

ID = "c-" + "1" * 22


class Booting:
    """A container that will not become ready."""

    uuid = ID

    def __init__(self, failure: TfError, end: ContainerEnded | None = None) -> None:
        self._failure = failure
        self._end = end

    def wait_until_ready(self, _timeout: float) -> None:
        raise self._failure


def booted(failure: TfError, end: ContainerEnded | None = None) -> bool:
    wish: Any = SimpleNamespace(given=SimpleNamespace(quiet=True))
    running = _Running(cast(Location, None), cast(Wish, wish), None)
    if end is not None:
        running._ended.set()
    return running._boot(cast(Container, Booting(failure, end)))


@pytest.mark.parametrize("failure", [ContainerDied("it ended"), WrongState("it is ended")], ids=repr)
def test_a_command_may_end_before_anybody_asks_whether_it_is_ready(failure: TfError) -> None:
    assert booted(failure, ContainerEnded(container=ID, reason="exit 3", exit_code=3)) is False


def test_one_that_never_ran_is_an_error() -> None:
    with pytest.raises(exits.Stopped) as stopped:
        booted(ContainerDied("there is no such program"), ContainerEnded(container=ID, reason="failed", exit_code=None))
    assert stopped.value.code == exits.SPAWN
    assert "there is no such program" in str(stopped.value)


def test_one_that_takes_long_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert booted(DeadlineExceeded("port 80 does not answer")) is True
    assert "port 80 does not answer" in capsys.readouterr().err

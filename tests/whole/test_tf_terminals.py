"""`tf -ti` and `tf exec -ti` in a real terminal (tmux)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location, sleeper
from tests.support.python_image import python_image
from tests.support.tmux import Tmux, has_tmux
from tfnz.location import Location

pytestmark = [
    pytest.mark.leaks("module"),
    pytest.mark.skipif(not has_tmux(), reason="there is no tmux here to be a terminal"),
]

FULL_SCREEN = """
import curses, sys

def show(screen):
    curses.curs_set(0)
    curses.mousemask(curses.ALL_MOUSE_EVENTS)
    key = ""
    while key != "q":
        rows, columns = screen.getmaxyx()
        screen.erase()
        screen.addstr(1, 1, f"full screen {columns}x{rows} key={key}")
        screen.refresh()
        key = screen.getkey()

curses.wrapper(show)
sys.exit(5)
"""

AWAIT_SIZE = """perl -e 'do {{ ioctl(STDIN, 0x5413, $w = ""); $s = join("x", unpack("S2", $w)) }} until $s eq "{size}";
print "size $s\\n"'""".replace("\n", " ")
"""Rows and columns by TIOCGWINSZ, until they are as wanted."""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return python_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def tmux(place: PrivateLocation) -> Iterator[Tmux]:
    with Tmux(os.environ | place.environment) as made:
        yield made


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "full.py"
    path.write_text(FULL_SCREEN)
    return path


TF = f"{sys.executable} -m tfnz.cli"


def as_it_was(tmux: Tmux, code: int | str) -> None:
    """The shell has its terminal back: it echoes, edits lines, and has a cursor on its own screen."""
    tmux.until(rf"^rc={code}$")
    assert not tmux.other_screen
    tmux.type("stty -a | tr -d ';' | tr ' ' '\\n' | grep -cxE 'echo|icanon|isig|opost'; echo done")
    tmux.until(r"^4\ndone$")


def test_a_shell_has_our_size_our_keys_and_our_exit_code(tmux: Tmux, tiny: str) -> None:
    tmux.type(f"{TF} --location local --name shell -ti {tiny} sh; echo rc=$?")
    tmux.until(r"^#$")
    tmux.type("test -t 0 && test -t 1 && echo a-terminal-$TERM")
    tmux.until("^a-terminal-xterm$")
    tmux.type("sleep 1000")
    tmux.press("C-c")
    tmux.type("echo code-$?")
    tmux.until("^code-130$")
    tmux.type(AWAIT_SIZE.format(size="30x100"))
    tmux.until("^size 30x100$")
    tmux.type(AWAIT_SIZE.format(size="20x90"))
    tmux.resize(90, 20)
    tmux.until(r"^size 20x90\n#$")
    tmux.type("exit 3")
    as_it_was(tmux, 3)


def test_a_full_screen_program_works_and_leaves_the_screen_as_it_was(tmux: Tmux, python: str, program: Path) -> None:
    tmux.type(f"{TF} --location local -ti -f {program}:/ {python} python3 /full.py; echo rc=$?")
    tmux.until("full screen 100x30")
    assert tmux.other_screen
    tmux.press("x")
    tmux.until("key=x$")
    tmux.resize(80, 24)
    tmux.until("full screen 80x24")
    tmux.press("q")
    as_it_was(tmux, 5)


def test_leaving_and_being_killed_put_the_terminal_back_whatever_is_on_it(
    tmux: Tmux, python: str, program: Path
) -> None:
    typed = f"{TF} --location local -ti -f {program}:/ {python} python3 /full.py; echo rc=$?"
    tmux.type(typed)
    tmux.until("full screen")
    tmux.press("C-]", "C-]", "z")
    tmux.until("key=z$")
    tmux.press("C-]", "C-]", "C-]")
    as_it_was(tmux, 0)
    tmux.type(f"clear; {typed}")
    tmux.until("full screen")
    os.kill(tmux.foreground, signal.SIGTERM)
    as_it_was(tmux, 143)


def test_a_container_that_is_lost_gives_the_terminal_back(
    tmux: Tmux, place: PrivateLocation, python: str, program: Path
) -> None:
    tmux.type(f"{TF} --location local -ti -f {program}:/ {python} python3 /full.py; echo rc=$?")
    tmux.until("full screen")
    place.node.kill_agent()
    as_it_was(tmux, "[1-9].*")


def test_a_second_terminal_in_the_same_container(tmux: Tmux, place: PrivateLocation, tiny: str) -> None:
    tmux.type(f"{TF} --location local --name both -ti {tiny} sh; echo rc=$?")
    tmux.until(r"^#$")
    tmux.type("echo first > /tmp/seen")
    with Tmux(os.environ | place.environment) as second:
        second.type(f"{TF} exec --location local -ti both sh; echo rc=$?")
        second.until(r"^#$")
        second.type("cat /tmp/seen; exit 4")
        second.until("^first$")
        as_it_was(second, 4)
    tmux.press("C-d")
    as_it_was(tmux, 0)


def test_a_kept_container_is_looked_into_at_a_terminal(tmux: Tmux, location: Location, tiny: str) -> None:
    container = sleeper(location, tiny)
    container.put("/left", "by a test\n")
    kept = container.keep("left-by-a-test", labels={"container": "db"})
    tmux.type(f"{TF} resume --location local left-by-a-test; echo rc=$?")
    tmux.until(r"^#$")
    tmux.type("test -t 0 && cat /left; exit 3")
    tmux.until("^by a test$")
    as_it_was(tmux, 3)
    kept.forget()


def test_a_location_that_is_lost_gives_the_terminal_back(tmux: Tmux, place: PrivateLocation, tiny: str) -> None:
    tmux.type(f"{TF} --location local -ti {tiny} sh; echo rc=$?")
    tmux.until(r"^#$")
    place.kill()
    as_it_was(tmux, 5)
    assert "has ended: it could not be reached" in tmux.screen
    assert "Warning" not in tmux.screen

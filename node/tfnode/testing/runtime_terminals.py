"""Terminals, as every runtime gives them to main processes and commands; part of `runtime_suite`."""

from __future__ import annotations

import os
import select
import signal

import pytest

from tfcore.clock import monotonic
from tfcore.errors import CommandFailed, WrongState
from tfnode.runtime.bundle import TERMINALS
from tfnode.runtime.console import Console, farewell, read, resize
from tfnode.runtime.interface import Command, Exit, Process, Stdio
from tfnode.testing.runtime_play import SECONDS, Fixtures, Playground

SHELL = ("sh", "-c")

PATIENCE = 60.0
"""Seconds until a terminal must show something, on a machine that has much else to do."""


class Screen:
    """Our end of a process's terminal, and what it has shown so far."""

    def __init__(self, console: Console) -> None:
        self.fd = console.take()
        self.console = console
        self.shown = b""

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def until(self, wanted: bytes) -> bytes:
        """Read until it shows this; all it has shown since it was last asked."""
        end = monotonic() + PATIENCE
        while wanted not in self.shown:
            assert select.select([self.fd], [], [], max(0.0, end - monotonic()))[0], f"it only shows {self.shown!r}"
            piece = read(self.fd, 65536)
            assert piece, f"it ended with {self.shown!r}"
            self.shown += piece
        shown, self.shown = self.shown, b""
        return shown

    def close(self) -> None:
        """Hang up."""
        os.close(self.fd)
        self.console.close()

    def rest(self) -> bytes:
        """All it shows until its end."""
        self.console.let_end()
        while select.select([self.fd], [], [], PATIENCE)[0] and (piece := read(self.fd, 65536)):
            self.shown += piece
        return self.shown


class TerminalSuite(Fixtures):
    """A process with a terminal instead of pipes."""

    @pytest.fixture
    def screens(self) -> object:
        screens: list[Screen] = []
        yield screens
        for screen in screens:
            screen.close()

    def talk(
        self, play: Playground, screens: list[Screen], script: str, *, echo: bool = True, **wishes: str
    ) -> tuple[Process, Screen]:
        """A command at a terminal of 91 columns and 33 rows."""
        console = Console(91, 33, echo=echo)
        command = Command((*SHELL, script), **wishes)  # type: ignore[arg-type]
        process = play.runtime.exec("c1", command, Stdio(console=console))
        screens.append(Screen(console))
        return process, screens[-1]

    def test_a_command_has_a_terminal_of_the_size_asked_for(self, running: Playground, screens: list[Screen]) -> None:
        size = 'until [ "$(stty size)" = "33 91" ]; do sleep 0.01; done'
        process, screen = self.talk(running, screens, f"tty; {size}; test -t 0 && test -t 1 && test -t 2 && echo all")
        shown = screen.until(b"all").split()
        assert shown == [b"/dev/pts/0", b"all"], shown
        assert running.runtime.wait(process, SECONDS) == Exit(code=0)

    def test_it_is_told_of_another_size(self, running: Playground, screens: list[Screen]) -> None:
        script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done"
        _, screen = self.talk(running, screens, script)
        screen.until(b"ready")
        resize(screen.fd, 120, 40)
        screen.until(b"40 120")

    def test_ctrl_c_is_an_interrupt_and_reaches_what_is_in_front(
        self, running: Playground, screens: list[Screen]
    ) -> None:
        script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
        process, screen = self.talk(running, screens, script)
        screen.until(b"ready")
        screen.type(b"\x03")
        screen.until(b"caught")
        assert running.runtime.wait(process, SECONDS) == Exit(code=9)

    def test_the_end_of_its_input_is_ctrl_d_also_in_the_middle_of_a_line(
        self, running: Playground, screens: list[Screen]
    ) -> None:
        process, screen = self.talk(running, screens, "cat; echo over", echo=False)
        screen.type(b"one\ntwo")
        screen.type(farewell(b"o"))
        shown = screen.until(b"over")
        assert shown.split() == [b"one", b"twoover"], shown
        assert running.runtime.wait(process, SECONDS) == Exit(code=0)

    def test_it_shows_what_is_typed_or_not(self, running: Playground, screens: list[Screen]) -> None:
        for echo in (True, False):
            _, screen = self.talk(running, screens, "read line; echo got", echo=echo)
            screen.type(b"typed\n")
            assert (b"typed" in screen.until(b"got")) is echo

    def test_another_user_owns_its_terminal(self, running: Playground, screens: list[Screen]) -> None:
        script = 'until [ "$(stat -c %U "$(tty)")" = web ]; do sleep 0.01; done; echo > /dev/stdout && echo done'
        _, screen = self.talk(running, screens, script, user="web")
        assert screen.until(b"done").split() == [b"done"]

    def test_who_hangs_up_ends_the_session(self, running: Playground, screens: list[Screen]) -> None:
        process, screen = self.talk(running, screens, "echo ready; cat")
        screen.until(b"ready")
        screens.remove(screen)
        screen.close()
        assert running.runtime.wait(process, SECONDS) in (Exit(signal=signal.SIGHUP), Exit(code=0))

    def test_a_main_process_has_one(self, play: Playground, screens: list[Screen]) -> None:
        console = Console(91, 33)
        spec = play.spec("c1", *SHELL, "stty size; test -c /dev/console && read line; echo $line; exit 3")
        play.create(spec, Stdio(console=console))
        screens.append(Screen(console))
        play.runtime.start("c1")
        screens[0].until(b"33 91")
        screens[0].type(b"hello\n")
        assert screens[0].rest().endswith(b"hello\r\nhello\r\n")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=3)

    def test_a_container_cannot_have_all_the_terminals_there_are(self, running: Playground) -> None:
        program = f"for (1..{TERMINALS} + 50) {{ open($f[$_], '+<', '/dev/ptmx') or last; $n = $_ }} print $n"
        assert running.exec("c1", "perl", "-e", program).words == str(TERMINALS)

    def test_what_cannot_start_leaves_no_terminal(self, running: Playground) -> None:
        console = Console(80, 24)
        with pytest.raises(CommandFailed, match="no-such-program"):
            running.runtime.exec("c1", Command(("no-such-program",)), Stdio(console=console))
        console.close()
        with pytest.raises(WrongState):
            console.take()

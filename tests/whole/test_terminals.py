"""Terminals in containers: shells with callbacks, main processes that are talked with, and what they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, sleeper
from tfcore.errors import BadRequest, WrongState
from tfnz.container import Container
from tfnz.conversation import Conversation
from tfnz.location import Location
from tfnz.process import Process, Terminal

pytestmark = pytest.mark.leaks("module")

SECONDS = 30.0


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def session(place: PrivateLocation) -> Iterator[Location]:
    with place.connect() as location:
        yield location


@pytest.fixture(scope="module")
def shell(session: Location, tiny: str) -> Container:
    return sleeper(session, tiny, env={"GREETING": "image"})


class Screen:
    """What a terminal has shown."""

    def __init__(self) -> None:
        self.shown = b""
        self.over = threading.Event()

    def data(self, _subject: object, data: bytes) -> None:
        self.shown += data

    def until(self, wanted: bytes) -> bytes:
        """All it shows up to this and more; the next time only what came since."""
        until(lambda: wanted in self.shown, f"{wanted!r} on the terminal")
        shown, self.shown = self.shown, b""
        return shown


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def typing(shell: Container, screen: Screen) -> Iterator[Process]:
    process = shell.spawn_shell(screen.data, lambda *_: screen.over.set(), columns=91, rows=33, env={"PS1": "> "})
    yield process
    if process.running:
        process.destroy()


def test_a_shell_knows_its_terminal(typing: Process, screen: Screen) -> None:
    typing.stdin("stty size; echo $TERM $GREETING $(tty) end'ed'\n")
    shown = screen.until(b"ended")
    assert b"33 91\r\n" in shown
    assert b"xterm image /dev/pts/" in shown
    typing.resize(120, 40)
    typing.stdin("stty size; echo end'ed'\n")
    assert b"40 120\r\n" in screen.until(b"ended")
    with pytest.raises(ValueError, match="columns"):
        typing.resize(0, 40)


def test_ctrl_c_interrupts_what_is_in_front_and_not_the_shell(typing: Process, screen: Screen) -> None:
    typing.stdin("sh -c 'echo run''ning; exec sleep 1000'; echo came back $?\n")
    screen.until(b"running")
    typing.stdin(b"\x03")
    assert typing.running
    typing.stdin("echo still he''re\n")
    screen.until(b"still here")


def test_a_shell_has_job_control(typing: Process, screen: Screen) -> None:
    typing.stdin("sh -c 'echo run''ning; exec sleep 1000'\n")
    screen.until(b"running")
    typing.stdin(b"\x1a")
    typing.stdin("jobs; kill %1; echo a''fter\n")
    assert b"Stopped" in screen.until(b"after")


def test_ctrl_d_or_the_end_of_stdin_ends_it(typing: Process, screen: Screen) -> None:
    typing.stdin("false\n")
    typing.stdin(b"")
    assert typing.wait_until_complete(SECONDS) == b""
    assert typing.exit_code == 1, "as the last command"
    assert screen.over.wait(SECONDS)
    with pytest.raises(WrongState, match="has ended"):
        typing.resize(80, 24)


def test_what_is_typed_is_shown_or_not(shell: Container) -> None:
    for echo in (True, False):
        process = shell.spawn_shell(echo=echo)
        reply = process.stdin("echo typ''ed\n", return_reply=True)
        assert reply is not None
        assert b"typed\r\n" in reply
        assert (b"typ''ed" in reply) is echo
        process.destroy()


def test_a_reply_without_its_echo(typing: Process, screen: Screen) -> None:
    screen.until(b"> ")
    assert typing.stdin("echo re''ply\n", return_reply=True, drop_echo=True) == b"reply\r\n> "


def test_which_shell_a_user_has(shell: Container, screen: Screen) -> None:
    shell.put("/bin/own", "#!/bin/sh\necho own shell of $(id -u) in $PWD\n", mode=0o755)
    passwd = shell.fetch("/etc/passwd")
    users = b"fancy:x:700:700::/tmp:/bin/own\nlost:x:701:701::/:/no/such/shell\nnone:x:702:702::/:/sbin/nologin\n"
    shell.put("/etc/passwd", passwd + users)
    shell.spawn_shell(screen.data, user="fancy")
    screen.until(b"own shell of 700 in /")
    for user in ("lost", "none"):
        process = shell.spawn_shell(screen.data, user=user)
        process.stdin("echo $0\n")
        screen.until(b"/bin/sh\r\n")
        process.destroy()
    shell.put("/etc/passwd", passwd)


# without callbacks


def test_a_conversation_at_a_terminal(shell: Container) -> None:
    with shell.open_process(shell=True, terminal=Terminal(columns=70, rows=20, term="dumb")) as talk:
        talk.write(b"stty size; echo $TERM; exit 4\n")
        shown = b"".join(iter(talk.read, b""))
        assert b"20 70\r\ndumb\r\n" in shown
        assert talk.read_errors() == b""
        assert talk.wait(SECONDS).exit_code == 4


def test_leaving_a_terminal_hangs_up_and_leaves_what_was_to_stay(shell: Container) -> None:
    with shell.open_process(shell=True, terminal=Terminal(), env={"PS1": "> "}) as talk:
        talk.write(b"(trap '' HUP; exec sleep 7101) > /dev/null 2>&1 & echo be''gun\n")
        _shows(talk, b"begun")
        talk.write(b"sh -c 'echo run''ning; exec sleep 7102'\n")
        _shows(talk, b"running")
    with shell.open_process("trap '' HUP; echo on; exec sleep 7103", terminal=Terminal()) as talk:
        _shows(talk, b"on")
    until(lambda: shell.all_processes() == [] and not _runs(shell, "7102") and not _runs(shell, "7103"), "their end")
    assert _runs(shell, "7101")
    shell.run_process("kill $(grep -lz 7101 /proc/[0-9]*/cmdline | sed 's,/proc/,,;s,/cmdline,,')")


def _runs(container: Container, word: str) -> bool:
    return word.encode() in container.run_process("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout.split()


def test_a_process_with_pipes_has_no_size(shell: Container) -> None:
    with shell.open_process(argv=["cat"]) as talk:
        with pytest.raises(BadRequest, match="no terminal"):
            talk.resize(80, 24)
        talk.write(b"whole")
        talk.finish()
        assert talk.read() == b"whole"
        assert talk.wait(SECONDS).exit_code == 0


# the main process


def _shows(talk: Conversation, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        piece = talk.read()
        assert piece, f"it ended with {shown!r}"
        shown += piece
    return shown


def test_a_main_process_at_a_terminal_goes_on_when_its_user_leaves(session: Location, tiny: str) -> None:
    terminal = Terminal(columns=77, rows=11)
    container = session.node().spawn_container(tiny, command=["sh"], tty=terminal, env={"PS1": "> "})
    with container.attach(0) as talk:
        talk.write(b"stty size\n")
        _shows(talk, b"11 77")
        talk.resize(100, 30)
        talk.write(b"stty size; left=here\n")
        _shows(talk, b"30 100")
    with container.attach() as talk:
        talk.write(b"echo $left aga''in\n")
        _shows(talk, b"here again")
        container.snapshot("one")
        talk.write(b"left=more; echo ty''ped\n")
        _shows(talk, b"typed")
        assert container.rollback("one").tier != "clean", "what is typed leaves its traces"
        talk.write(b"echo [$left]; stty size\n")
        assert b"[]" in _shows(talk, b"30 100"), "another life, of the size that was asked for last"
        talk.write(b"exit 6\n")
        while talk.read():
            pass
        assert talk.wait(SECONDS).exit_code == 6
    container.destroy()


def test_a_main_process_with_pipes_is_heard_and_spoken_to(session: Location, tiny: str) -> None:
    heard = Screen()
    script = "echo begun; echo noise >&2; while read line; do echo got $line; done; echo over; exit 3"
    ended: list[tuple[Container, int | None]] = []
    container = session.node().spawn_container(
        tiny,
        command=["sh", "-c", script],
        stdout_callback=heard.data,
        termination_callback=lambda *told: ended.append(told),
    )
    assert heard.until(b"begun\n") == b"begun\n"
    container.stdin("one\n")
    container.stdin(b"x" * 200_000 + b"\n")
    assert heard.until(b"x\n").startswith(b"got one\ngot xxx")
    container.snapshot("one")
    container.stdin("two\n")
    heard.until(b"got two\n")
    container.rollback("one")
    heard.until(b"begun\n")
    container.stdin(b"")
    heard.until(b"over\n")
    until(lambda: ended == [(container, 3)], "its end to be told")
    with pytest.raises(ValueError, match="ended"):
        container.stdin("more\n")
    container.destroy()


# logs


def test_logs_as_they_are_written_over_rollbacks(session: Location, tiny: str) -> None:
    script = "echo life; echo fault >&2; while read line; do echo $line; done"
    container = session.node().spawn_container(tiny, command=["sh", "-c", script]).wait_until_ready()
    container.snapshot("one")
    lines = container.stream_logs()
    assert [next(lines)["log"], next(lines)["stream"]] == ["life\n", "stderr"]
    container.stdin("said\n")
    assert next(lines)["log"] == "said\n"
    container.rollback("one")
    assert {next(lines)["log"], next(lines)["log"]} == {"life\n", "fault\n"}
    container.stdin(b"")
    assert list(lines) == [], "it has ended"
    assert [line["log"] for line in container.logs()] == ["life\n", "fault\n", "said\n", "life\n", "fault\n"]
    again = container.stream_logs(since=container.log_mark())
    container.reboot()
    assert next(again)["log"] in {"life\n", "fault\n"}
    container.destroy()
    assert len(list(again)) <= 1

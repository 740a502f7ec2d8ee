"""Processes in containers: spawned, fed, heard, killed (seed 001, Launching Processes; seed 002, Using Callbacks)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, remote_location, said, sleeper
from tfcore.errors import CommandFailed, ContainerDied, DeadlineExceeded, Exhausted, Unavailable, WrongState
from tfnz.container import Container
from tfnz.location import Location
from tfnz.process import Process

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
    """A container that only waits; tests leave it as it was."""
    return sleeper(session, tiny, env={"GREETING": "image"})


class Heard:
    """Callbacks, and what they were told in which order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.over = threading.Event()

    def out(self, _process: Process, data: bytes) -> None:
        self.told.append(("out", data))

    def err(self, _process: Process, data: bytes) -> None:
        self.told.append(("err", data))

    def end(self, _process: Process, code: int | None) -> None:
        self.told.append(("end", code))
        self.over.set()

    def joined(self, kind: str) -> bytes:
        return b"".join(data for what, data in self.told if what == kind and isinstance(data, bytes))


@pytest.fixture
def heard() -> Heard:
    return Heard()


# run to the end


def test_a_process_run_to_its_end_gives_its_output(shell: Container) -> None:
    process = shell.spawn_process(
        "echo $GREETING $MINE $(pwd); echo err >&2; exit 3", env={"MINE": "own"}, workdir="/tmp"
    )
    assert process.wait_until_complete(SECONDS) == b"image own /tmp\n"
    assert (process.exit_code, process.reason, process.running) == (3, "", False)
    assert process not in shell.all_processes()
    process.destroy()  # it has ended by itself, which nobody could know


def test_callbacks_of_both_generations(shell: Container, heard: Heard) -> None:
    shell.spawn_process("echo one; echo two >&2; exit 7", heard.out, heard.end, heard.err)
    assert heard.over.wait(SECONDS)
    assert heard.told[-1] == ("end", 7)
    assert (heard.joined("out"), heard.joined("err")) == (b"one\n", b"two\n")
    ended: list[Process] = []
    process = shell.spawn_process("true", termination_callback=lambda obj: ended.append(obj))
    assert process.wait_until_complete(SECONDS) == b""
    until(lambda: ended == [process], "gen 1's termination callback")


def test_its_stdin_is_open_until_it_is_closed(shell: Container, heard: Heard) -> None:
    process = shell.spawn_process("while read line; do echo got $line; done; echo over", heard.out)
    process.stdin(b"one\n")
    assert process.stdin("two\n", return_reply=True) is not None
    assert process in shell.all_processes()
    process.stdin(b"")
    assert process.wait_until_complete(SECONDS) == b"", "its callback had it"
    assert heard.joined("out") == b"got one\ngot two\nover\n"
    with pytest.raises(WrongState, match="has ended"):
        process.stdin(b"more")


def test_a_process_that_cannot_be_is_an_error_at_once(shell: Container, session: Location, tiny: str) -> None:
    with pytest.raises(ValueError, match="no-such-user"):
        shell.spawn_process("true", user="no-such-user")
    with pytest.raises(ValueError, match="one string"):
        shell.spawn_process(["true"])  # type: ignore[arg-type]
    with pytest.raises(CommandFailed, match="no-such-program"):
        shell.open_process(argv=["no-such-program"])
    assert shell.all_processes() == []


def test_a_wait_has_an_end(shell: Container) -> None:
    process = shell.spawn_process("sleep 1000")
    with pytest.raises(DeadlineExceeded, match="still runs"):
        process.wait_until_complete(0.1)
    shell.destroy_process(process)
    assert process.exit_code == 137
    with pytest.raises(ValueError, match="destroyed"):
        process.destroy()


def test_destroying_a_process_takes_what_it_has_started_and_nothing_else(shell: Container, heard: Heard) -> None:
    other = shell.spawn_process("sleep 7001")
    process = shell.spawn_process("sleep 7002 & sh -c 'sleep 7003; true' & echo up; wait", heard.out, heard.end)
    until(lambda: heard.joined("out") == b"up\n" and b"7003" in _commands(shell), "all to run")
    process.destroy()
    assert heard.over.wait(SECONDS)
    assert heard.told[-1] == ("end", 137)
    until(lambda: not {b"7002", b"7003"} & set(_commands(shell).split()), "its children to be gone")
    assert b"7001" in _commands(shell)
    other.destroy()


def test_what_it_leaves_behind_goes_on_and_is_not_waited_for(shell: Container) -> None:
    process = shell.spawn_process("sleep 7004 & echo left")
    assert process.wait_until_complete(SECONDS) == b"left\n"
    assert b"7004" in _commands(shell)
    shell.run_process("kill $(grep -lz 7004 /proc/[0-9]*/cmdline | sed 's,/proc/,,;s,/cmdline,,')")


def _commands(container: Container) -> bytes:
    return container.run_process("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout


# callbacks


def test_a_callback_may_call_back_and_wait_for_other_callbacks(shell: Container, heard: Heard) -> None:
    def answer(process: Process, data: bytes) -> None:
        inner: list[bytes] = []
        done = shell.run_process("seq 300000", data_callback=lambda _, piece: inner.append(piece))
        other = shell.spawn_process("echo inside", heard.out)
        other.wait_until_complete(SECONDS)
        heard.told.append(("run", (done.exit_code, b"".join(inner).split()[-1])))
        process.stdin(b"")

    process = shell.spawn_process("echo begin; cat", data_callback=answer)
    process.wait_until_complete(SECONDS)
    assert heard.told == [("out", b"inside\n"), ("run", (0, b"300000"))]


def test_a_process_can_be_destroyed_by_its_own_callback_with_its_output_unread(shell: Container, heard: Heard) -> None:
    def enough(process: Process, data: bytes) -> None:
        if not heard.told:
            process.destroy()
            heard.told.append(("destroyed", b"/dev/zero" in _commands(shell)))

    process = shell.spawn_process("cat /dev/zero", enough, heard.end)
    assert heard.over.wait(SECONDS)
    assert heard.told == [("destroyed", False), ("end", 137)]
    assert process.wait_until_complete(SECONDS) == b""


def test_a_callback_cannot_wait_for_the_end_of_its_own_process(shell: Container) -> None:
    refused: list[BaseException] = []

    def wait(process: Process, _data: bytes) -> None:
        with pytest.raises(WrongState, match="cannot wait for the end of that process") as error:
            process.wait_until_complete()
        refused.append(error.value)

    shell.spawn_process("echo x", wait).wait_until_complete(SECONDS)
    assert len(refused) == 1


def test_what_a_callback_raises_is_raised_by_run(place: PrivateLocation, tiny: str) -> None:
    def fail(_process: Process, data: bytes) -> None:
        raise LookupError(data.decode())

    with place.connect() as location:
        sleeper(location, tiny).spawn_process("printf cause", fail)
        with pytest.raises(LookupError, match="cause"):
            location.run()
        with pytest.raises(ValueError, match="disconnected"):
            location.node().create_volume()


# too much


def test_output_nobody_waits_for_is_bounded_and_that_is_said(shell: Container) -> None:
    process = shell.spawn_process("head -c 20000000 /dev/zero")
    until(lambda: not process.running, "its end")
    with pytest.raises(Exhausted, match="more than 16 MiB"):
        process.wait_until_complete()
    waited = shell.spawn_process("read go; head -c 20000000 /dev/zero")
    threading.Timer(0.01, waited.stdin, (b"go\n",)).start()
    assert len(waited.wait_until_complete(SECONDS)) == 20_000_000


def test_a_late_reader_gets_everything(shell: Container) -> None:
    with shell.open_process("head -c 100000 /dev/zero; echo end >&2") as talk:
        until(lambda: b"head" not in _commands(shell), "it to have ended, its output unread")
        assert talk.read_errors() == b"end\n"
        received = b""
        while piece := talk.read():
            received += piece
        assert len(received) == 100_000
        assert talk.wait(SECONDS).exit_code == 0
        with pytest.raises(WrongState, match="has ended"):
            talk.write(b"late")


# ends with its container


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        ("reboot", "rolled back or booted anew"),
        ("rollback", "rolled back or booted anew"),
        ("destroy", "was destroyed"),
        ("end", "killed by signal 9"),
    ],
)
def test_a_process_ends_with_its_container_and_says_why(
    session: Location, tiny: str, heard: Heard, deed: str, why: str
) -> None:
    container = sleeper(session, tiny)
    container.snapshot("before")
    process = container.spawn_process("echo up; sleep 1000", heard.out, heard.end)
    until(lambda: heard.joined("out"), "it to run")
    if deed == "end":
        with container.attach(speak=False) as main:
            main.signal(9)
    else:
        getattr(container, deed)()
    with pytest.raises(ContainerDied, match=why):
        process.wait_until_complete(SECONDS)
    assert heard.over.wait(SECONDS)
    assert heard.told[-1] == ("end", 137)
    assert container.all_processes() == []


def test_a_process_is_lost_with_its_node(tiny: str, heard: Heard) -> None:
    with private_location() as place, place.connect() as location:
        process = sleeper(location, tiny).spawn_process("echo up; sleep 1000", heard.out, heard.end)
        until(lambda: heard.joined("out"), "it to run")
        place.node.kill_agent()
        with pytest.raises(Unavailable):
            process.wait_until_complete(SECONDS)
        assert heard.over.wait(SECONDS)
        assert heard.told[-1] == ("end", None), "nobody knows"
        with pytest.raises(WrongState, match="has ended"):
            process.stdin(b"more")


def test_a_process_does_not_notice_that_the_location_is_restarted(tiny: str, heard: Heard) -> None:
    with remote_location(lease=30) as place, place.connect() as location:
        until(lambda: [node for node in location.nodes.values() if node.alive], "a node")
        container = sleeper(location, tiny)
        count = "n=0; while [ ! -e /end ]; do echo $n; n=$((n+1)); sleep 0.02; done; read word; echo $word; exit 5"
        counting = container.spawn_process(count, heard.out, heard.end)
        shell = container.spawn_shell(echo=False)
        until(lambda: len(heard.told) > 3, "it to count")
        place.kill("location")
        place.start_location()
        place.until_joined()
        shell.resize(99, 22)
        assert b"22 99" in (shell.stdin("stty size\n", return_reply=True) or b"")
        container.put("/end", b"")
        counting.stdin("word\n")
        assert counting.wait_until_complete(SECONDS) == b""
        *numbers, word = heard.joined("out").split()
        assert [int(number) for number in numbers] == list(range(len(numbers))), "none lost, none twice"
        assert (word, counting.exit_code) == (b"word", 5)


def test_a_process_of_a_client_that_is_killed_is_gone_though_its_container_is_not(
    place: PrivateLocation, session: Location, tiny: str
) -> None:
    container = sleeper(session, tiny, tag="visited")
    program = (
        "import sys; from tfnz.visiting import Visit\n"
        "with Visit('local') as visit:\n"
        "    process = visit.container('visited').spawn_process('sleep 7005 & sleep 7006')\n"
        "    print('up', flush=True); sys.stdin.read()\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | place.environment,
    )  # fmt: skip
    with client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"up\n"
        until(lambda: b"7006" in _commands(container), "it to run")
        client.kill()
    until(lambda: not {b"7005", b"7006"} & set(_commands(container).split()), "it to be gone")
    assert said(container, "echo alive") == "alive"
    container.destroy()

"""Commands and shells by the real ssh client, rsync over it, and who is let in, in a container without ssh software."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, session_at, sleeper
from tests.support.openssh import SECONDS, OpenSsh, make_key
from tests.support.terminal import Terminal
from tfnz.container import Container
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module")
def session(place: PrivateLocation) -> Iterator[Location]:
    with session_at(place) as made:
        yield made


@pytest.fixture(scope="module")
def box(session: Location, tiny: str) -> Container:
    return sleeper(session, tiny, env={"FROM_SPAWN": "spawned"})


@pytest.fixture(scope="module")
def client(place: PrivateLocation, box: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    home = tmp_path_factory.mktemp("user")
    (home / "root").mkdir()
    with place.effective():
        server = box.create_ssh_server(0, authorized_keys=[make_key(home)])
    yield OpenSsh(home / "root", server)
    box.destroy_ssh_server(server)


# commands


def test_a_command_and_its_exit_status(client: OpenSsh) -> None:
    done = client.ssh("echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 7)
    assert client.ssh("true").returncode == 0


def test_a_signal_is_told_as_one(client: OpenSsh) -> None:
    done = client.ssh("kill -TERM $$", options=["-v"])
    assert done.returncode == 255
    assert b"exit-signal" in done.stderr


def test_input_to_its_end(client: OpenSsh) -> None:
    content = os.urandom(8 << 20)
    assert client.ssh("cat", stdin=content).stdout == content
    assert client.ssh("wc -c", stdin=content).stdout.split() == [str(len(content)).encode()]
    assert client.ssh("head -c 5", stdin=content).stdout == content[:5]


def test_the_environment(client: OpenSsh) -> None:
    done = client.ssh("echo $FROM_SPAWN $SENT $USER $HOME; pwd", options=["-o", "SetEnv=SENT=by-ssh"])
    assert done.stdout == b"spawned by-ssh root /root\n/root\n"
    web = OpenSsh(client.home, client.server, user="web")
    assert web.ssh("id -u; id -gn; pwd").stdout == b"101\nweb\n/srv/web\n"
    unknown = OpenSsh(client.home, client.server, user="somebody")
    assert unknown.ssh("id -u").stdout == b"0\n"


def test_who_goes_away_leaves_nothing_running(client: OpenSsh, box: Container) -> None:
    marker = "sleep 4711"
    with subprocess.Popen(client.argv(f"echo on; exec {marker}"), stdout=subprocess.PIPE) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"on\n"
        ssh.send_signal(signal.SIGKILL)
    until(lambda: marker not in box.run_process("ps -ef").stdout.decode(), "the command to end", seconds=SECONDS)


def test_many_at_once(client: OpenSsh) -> None:
    running = [
        subprocess.Popen(client.argv(f"read line; echo {number} $line"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(8)
    ]
    for number, ssh in enumerate(running):
        said, _ = ssh.communicate(b"and back\n", timeout=SECONDS)
        assert said == f"{number} and back\n".encode()


# terminals


def test_a_shell_with_a_terminal(client: OpenSsh) -> None:
    with Terminal(client.argv(options=["-tt"]), columns=111, rows=33) as terminal:
        terminal.say("stty size; echo $TERM; tty; echo rea''dy\n")
        shown = terminal.until("ready")
        assert "33 111" in shown
        assert "/dev/pts/" in shown
        terminal.resize(columns=77, rows=22)
        terminal.say("until stty size | grep '22 77'; do sleep 0.05; done; echo aga''in\n")
        terminal.until("again")
        terminal.say("trap \"echo inter''rupted; exit 5\" INT; echo set''tled; while :; do sleep 0.05; done\n")
        terminal.until("settled")  # what is typed before is lost with the interrupt
        terminal.say("\x03")
        terminal.until("interrupted")
        assert terminal.wait() == 5


def test_a_command_with_a_terminal(client: OpenSsh) -> None:
    with Terminal(client.argv("tty; read line; echo got:$line", options=["-t"]), columns=80, rows=24) as terminal:
        terminal.until("/dev/pts/")
        terminal.say("words\n")
        terminal.until("got:words")
        assert terminal.wait() == 0
    assert client.ssh("tty", options=["-T"]).stdout == b"not a tty\n"


# rsync


def test_rsync(client: OpenSsh, box: Container, tmp_path: Path) -> None:
    program = shutil.which("rsync")
    if program is None:
        pytest.skip("there is no rsync on this machine")
    put_program(box, Path(program))
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom(4 << 20))
    (tree / "sub/file").write_text("one")
    (tree / "sub/link").symlink_to("file")
    for words in (["-a", f"{tree}/", ":/srv/rsync"], ["-a", ":/srv/rsync/", str(tmp_path / "back")]):
        done = client.rsync(*words)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back/large").read_bytes() == (tree / "large").read_bytes()
    assert os.readlink(tmp_path / "back/sub/link") == "file"
    (tree / "sub/file").write_text("three")
    (tree / "large").unlink()
    done = client.rsync("-a", "--delete", "--itemize-changes", f"{tree}/", ":/srv/rsync")
    assert done.returncode == 0, done.stderr
    assert box.fetch("/srv/rsync/sub/file") == b"three"
    assert not box.exists("/srv/rsync/large")


def put_program(container: Container, program: Path) -> None:
    """With the libraries it needs."""
    container.put(f"/bin/{program.name}", program.resolve(), mode=0o755)
    for line in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout.splitlines():
        for word in line.split():
            if word.startswith("/") and not container.exists(word):
                container.put(word, Path(word), mode=0o755)


# who is let in


def test_strangers_are_not_let_in(client: OpenSsh, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    make_key(tmp_path)
    stranger = OpenSsh(tmp_path / "home", client.server)
    done = stranger.ssh("true")
    assert (done.returncode, done.stdout) == (255, b"")
    assert b"Permission denied (publickey)" in done.stderr


def test_a_password_that_was_made(place: PrivateLocation, box: Container, client: OpenSsh, tmp_path: Path) -> None:
    with place.effective():
        server = box.create_ssh_server(0, authorized_keys=[], password=True)
    (tmp_path / "home").mkdir()
    user = OpenSsh(tmp_path / "home", server)
    assert server.host_key == client.server.host_key, "kept with the account"

    def ask(word: str) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "say").write_text(f"#!/bin/sh\necho {shlex.quote(word)}\n")
        (tmp_path / "say").chmod(0o700)
        argv = [word for word in user.argv("echo in") if word not in ("BatchMode=yes", "IdentitiesOnly=yes")]
        argv = [word for word, after in zip(argv, [*argv[1:], ""], strict=True) if (word, after) != ("-o", "-o")]
        env = {**os.environ, "SSH_ASKPASS": str(tmp_path / "say"), "SSH_ASKPASS_REQUIRE": "force"}
        return subprocess.run(
            argv, env=env, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False
        )

    assert ask("wrong").returncode == 255
    assert ask(server.password).stdout == b"in\n"
    box.destroy_ssh_server(server)


def test_it_listens_on_loopback_only_and_says_when_a_port_is_taken(
    place: PrivateLocation, box: Container, client: OpenSsh
) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    port = f":{client.server.port:04X}"
    local = [line.split()[1] for line in listening.splitlines() if line.split()[1].endswith(port) and " 0A " in line]
    assert local == [f"0100007F{port}"]
    with place.effective(), pytest.raises(ValueError, match="in use"):
        box.create_ssh_server(client.server.port, authorized_keys=[f"{client.key}.pub"])


# the end


def test_it_ends_with_its_container_and_with_its_session(place: PrivateLocation, tiny: str, client: OpenSsh) -> None:
    before = set(threading.enumerate())
    with place.connect() as session, place.effective():
        keys = [f"{client.key}.pub"]
        container, other = sleeper(session, tiny), sleeper(session, tiny)
        server = container.create_ssh_server(0, authorized_keys=keys)
        user = OpenSsh(client.home, server)
        with subprocess.Popen(user.argv("echo on; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
            assert ssh.stdout is not None
            assert ssh.stdout.readline() == b"on\n"
            container.destroy()
            assert ssh.wait(SECONDS) == 255
        assert container.all_ssh_servers() == []
        other.create_ssh_server(0, authorized_keys=keys)
    assert not [thread for thread in set(threading.enumerate()) - before if "ssh" in thread.name]


def test_a_shell_ends_with_a_rollback_and_the_next_is_in_the_new_life(client: OpenSsh, box: Container) -> None:
    box.snapshot("before-ssh")
    with subprocess.Popen(
        client.argv("echo > /trace; echo on; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdout.readline() == b"on\n"
        box.rollback("before-ssh")
        assert ssh.wait(SECONDS) != 0
    assert client.ssh("test -e /trace || echo gone").stdout == b"gone\n"

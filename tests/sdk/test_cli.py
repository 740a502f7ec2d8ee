"""`tf` as people type it, against files and a real location on a TCP port of loopback."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfcore import VERSION
from tfcore.ids import new_id
from tfcore.keys import generate
from tfcore.wire.sessions import NodeOffer
from tfnz import accounts, cli, commands, doctor
from tfnz.location import Location
from tfnz.node import Node

pytestmark = pytest.mark.leaks("module")

NAME = "lab.example.org"
SECONDS = 60


class Lab:
    """A location without nodes, made and run by its own command."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.operator("init", "--name", NAME, "--address", self.endpoint, "--listen", self.endpoint)
        self.daemon = subprocess.Popen(
            [*_program("tflocation"), "serve", "--dir", str(root)], stderr=subprocess.PIPE, text=True
        )
        assert self.daemon.stderr is not None
        seen = []
        for line in self.daemon.stderr:
            seen.append(line)
            if "listens on" in line:
                return
        raise AssertionError(f"the location ended: {''.join(seen)}")

    def operator(self, *arguments: str) -> str:
        """What `tf-location` prints."""
        command = [*_program("tflocation"), *arguments, "--dir", str(self.root)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout

    def invite(self, account: str) -> str:
        """An invitation, as `tf account accept` takes it."""
        return self.operator("account", "add", account).split()[-1]

    def stop(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.communicate(timeout=SECONDS)


def _program(package: str) -> list[str]:
    return [sys.executable, "-m", f"{package}.cli"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab") / "location")
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's accounts but the test's."""
    path = tmp_path / ".20ft"
    monkeypatch.setenv("TF_HOME", str(path))
    return path


def tf(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `tf` as a program; it must end with `status`, and never with a traceback."""
    done = subprocess.run([*_program("tfnz"), *arguments], capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    return done


def account(name: str) -> None:
    accounts.store(name, keys=generate(), address=name, server_key=generate().public)


# help and wrong usage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("account", "doctor", "tf account accept INVITATION")),
        (("account",), ("accept", "list", "default")),
        (("account", "accept"), ("INVITATION", "invitation", "good once")),
        (("doctor",), ("--location NAME",)),
    ],
    ids=str,
)
def test_help(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    said = tf(*arguments, "--help").stdout
    assert [word for word in words if word.lower() not in said.lower()] == []


def test_the_installed_command() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "tf", "--version"], capture_output=True, text=True, check=True, timeout=SECONDS
    )
    assert done.stdout.strip() == f"tf {VERSION}"


@pytest.mark.parametrize(
    "arguments", [(), ("account",), ("run",), ("account", "accept"), ("account", "default")], ids=str
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert "usage: tf" in tf(*arguments, status=2).stderr


@pytest.mark.parametrize("name", commands.NAMES)
def test_every_command_explains_itself(name: str) -> None:
    """Each verb, too: what it does, its options with a word on each, and what its exit codes mean."""
    for program, command in commands.find(name).below(f"tf {name}"):
        text = command.parser(program).format_help()
        assert text.startswith(f"usage: {program}")
        assert command.summary == command.summary.strip().rstrip(".")
        assert len(command.summary) < 80
        assert bool(command.verbs) != bool(command.run)
        bare = [a.dest for a in command.parser(program)._actions if not a.help and not a.choices]
        assert bare == []


def test_help_loads_nothing_heavy() -> None:
    heavy = ("zmq", "msgspec", "requests", "docker", "libnacl", "rich", "asyncio", "subprocess")
    program = (
        f"import sys; from tfnz import cli; cli.main(['--help']); sys.exit(any(m in sys.modules for m in {heavy}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL, timeout=SECONDS)


# accounts


def test_list_without_accounts() -> None:
    done = tf("account", "list")
    assert done.stdout == ""
    assert "no accounts here; ask an operator for an invitation" in done.stderr


def test_list_marks_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    account("one.test")
    account("two.test")
    assert cli.main(["account", "list"]) == 0
    assert capsys.readouterr().out == "* one.test\n  two.test\n"
    assert cli.main(["account", "default", "two.test"]) == 0
    assert cli.main(["account", "list"]) == 0
    assert capsys.readouterr().out == "  one.test\n* two.test\n"


def test_the_default_must_be_an_account() -> None:
    account("one.test")
    said = tf("account", "default", "two.test", status=1).stderr
    assert said.startswith("tf: there is no account for location 'two.test'")
    assert accounts.default_location() == "one.test"


def test_an_invitation_makes_an_account_that_works(lab: Lab, home: Path) -> None:
    done = tf("account", "accept", lab.invite("alice"))
    assert done.stdout.splitlines() == [
        f"you have an account at {NAME} now; its key is {home / NAME}",
        "it is your default location",
    ]
    assert "alice" in lab.operator("account", "list")
    with Location() as location:
        assert (location.name, location.account) == (NAME, "alice")


def test_the_second_name_makes_an_account(lab: Lab) -> None:
    """`tfnz LOCATION TOKEN`, as of old."""
    tfnz = Path(sys.executable).parent / "tfnz"
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False, timeout=SECONDS)
    invitation = lab.invite("frank")
    other = run([tfnz, "elsewhere.test", invitation])
    assert (other.returncode, accounts.known()) == (1, [])
    assert other.stderr == f"tfnz: this invitation is for {NAME}, not for elsewhere.test\n"
    assert run([tfnz, NAME, invitation]).returncode == 0
    assert run([tfnz, "account", "list"]).stdout == f"* {NAME}\n"


def test_an_invitation_is_good_once(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation = lab.invite("bob")
    tf("account", "accept", invitation)
    monkeypatch.setenv("TF_HOME", str(tmp_path / "thief"))
    said = tf("account", "accept", invitation, status=5).stderr
    assert "invitation" in said
    assert accounts.known() == [], "nothing was written"


def test_an_account_is_not_overwritten(lab: Lab, home: Path) -> None:
    tf("account", "accept", lab.invite("carol"))
    before = (home / NAME).read_bytes()
    invitation = lab.invite("carol-again")
    said = tf("account", "accept", invitation, status=1).stderr
    assert f"there is an account for {NAME} here already" in said
    assert f"move {home / NAME}* away" in said
    assert (home / NAME).read_bytes() == before
    for file in home.iterdir():
        file.unlink()
    tf("account", "accept", invitation)


@pytest.mark.parametrize("invitation", ["", "tf1", "tf1nonsense", "an invitation", "tf9" + "A" * 200])
def test_what_is_no_invitation(invitation: str) -> None:
    assert tf("account", "accept", invitation, status=1).stderr.startswith("tf: ")
    assert accounts.known() == []


def test_a_node_s_invitation_makes_no_account(lab: Lab) -> None:
    invitation = lab.operator("node", "add", "rack1").split()[-1]
    assert "tf-node enrol" in tf("account", "accept", invitation, status=1).stderr
    assert accounts.known() == []


def test_a_revoked_account_is_told_so(lab: Lab) -> None:
    tf("account", "accept", lab.invite("dave"))
    lab.operator("account", "revoke", "dave")
    said = tf("doctor", status=1).stdout
    assert "LACK location" in said
    assert "key" in said


# doctor


def test_doctor_says_what_works_and_what_lacks(lab: Lab) -> None:
    tf("account", "accept", lab.invite("erin"))
    done = tf("doctor", status=1)  # no node has joined, so it cannot end well
    lines = {line[5:16].strip(): line for line in done.stdout.splitlines()}
    assert lines["accounts"].startswith(f"ok   accounts   {NAME} in ")
    assert lines["location"].startswith(f"ok   location   {NAME}: session opened as erin in ")
    assert lines["nodes"].split() == ["LACK", "nodes", "none"]
    assert "docker" in lines


def test_doctor_names_a_node_whose_disk_is_nearly_full() -> None:
    def node(disk: int) -> Node:
        offer = NodeOffer(id=new_id("n"), name="rack1", disk=disk << 30, disk_total=100 << 30)
        return Node(None, offer)  # type: ignore[arg-type]

    assert list(doctor._disk(node(6))) == []
    (finding,) = doctor._disk(node(3))
    assert (finding.ok, finding.what) == (False, "rack1")
    assert finding.sentence.startswith("3.0 GiB of disk left, 3 %")


def test_doctor_of_a_location_nobody_knows() -> None:
    done = tf("doctor", "--location", "nowhere.test", status=1)
    assert "LACK location   there is no account for location 'nowhere.test'" in done.stdout


def test_doctor_names_loose_keys(home: Path) -> None:
    account("one.test")
    (home / "one.test").chmod(0o644)
    assert f"chmod 600 {home / 'one.test'}" in tf("doctor", status=1).stdout


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(accounts, "default_location", interrupt)
    assert cli.main(["account", "list"]) == 130


def test_doctor_without_libsodium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What everything else needs is looked for first, and nothing falls over it."""
    package = tmp_path / "libnacl"
    package.mkdir()
    (package / "__init__.py").write_text("raise OSError('Could not locate nacl lib')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ourselves, *rest = tf("doctor", status=1).stdout.splitlines()
    assert ourselves.startswith(f"ok   tf         version {VERSION}, Python ")
    assert rest == ["LACK libsodium  Could not locate nacl lib (on Debian and Ubuntu: apt-get install libsodium23)"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("nginx", "nginx"), ("x" * 36, "x" * 36), ("x" * 30 + "/images/tiny.tar", "…" + "x" * 19 + "/images/tiny.tar")],
)
def test_top_shows_the_end_of_what_is_too_long(text: str, shown: str) -> None:
    from tfnz.commands.top import shortened

    assert shortened(text) == shown

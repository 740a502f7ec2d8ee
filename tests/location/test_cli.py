"""`tf-location` as an operator uses it: real processes, a real TCP port, keys in files."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.location.world import Client, FakeNode
from tfcore import invitations, keys
from tfcore.errors import BadRequest, NotFound
from tfcore.rpc import enrol
from tfcore.wire import sessions as s
from tflocation import options
from tflocation.cli import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "location"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serving(root: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A daemon on a TCP port, up."""
    endpoint = f"tcp://127.0.0.1:{port}"
    assert (
        main(["init", "--dir", str(root), "--name", "lab.example.org", "--address", endpoint, "--listen", endpoint])
        == 0
    )
    daemon = start(root)
    yield daemon
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=30)


def start(root: Path) -> subprocess.Popen[str]:
    daemon = subprocess.Popen(
        [sys.executable, "-m", "tflocation.cli", "serve", "--dir", str(root)], stderr=subprocess.PIPE, text=True
    )
    wait_for(daemon, "listens on")
    return daemon


def wait_for(daemon: subprocess.Popen[str], words: str) -> str:
    assert daemon.stderr is not None
    seen = ""
    for line in daemon.stderr:
        seen += line
        if words in line:
            return line
    raise AssertionError(f"the daemon ended without saying {words!r}: {seen}")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == status
    captured = capsys.readouterr()
    return captured.out if status == 0 else captured.err


def test_init_says_everything_that_is_needed_next(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "init", "--dir", str(root), "--name", "lab.example.org")
    public = keys.text_of(keys.load(root / "location.key").public)
    assert f'lab.example.org. IN TXT "20ft-key={public}"' in text
    assert "tcp://127.0.0.1:5555" in text, "this machine only, unless asked for more"
    assert "tcp://lab.example.org:5555" in text
    assert f"tf-location serve --dir {root}" in text
    assert root.stat().st_mode & 0o777 == 0o700
    assert "holds a location already" in said(capsys, "init", "--dir", str(root), status=1)


def test_init_that_was_interrupted_can_be_repeated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init", "--dir", str(root), "--name", "lab")
    operator = (root / "operator").read_text()
    (root / "location.key").unlink()
    said(capsys, "init", "--dir", str(root), "--name", "lab")
    assert (root / "operator").read_text() == operator


@pytest.mark.parametrize(
    "arguments",
    [("--name", "x-"), ("--name", "a b"), ("--listen", "5555"), ("--listen", "tcp://:x"), ("--address", "a b:c")],
)
def test_init_refuses_what_makes_no_sense(
    root: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "init", "--dir", str(root), "--name", "lab", *arguments, status=1)
    assert not root.exists()


def test_commands_without_a_location_name_the_way_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["serve"], ["account", "list"], ["account", "add", "x"], ["node", "revoke", "x"], ["status"]):
        text = said(capsys, *command, "--dir", str(root), status=1)
        assert str(root) in text
        assert "tf-location init" in text or "--dir" in text


def test_a_directory_others_can_write_to_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init", "--dir", str(root), "--name", "lab")
    root.chmod(0o777)
    assert "chmod 700" in said(capsys, "account", "list", "--dir", str(root), status=1)
    root.chmod(0o700)
    (root / "location.key").chmod(0o644)
    assert "chmod 600" in said(capsys, "serve", "--dir", str(root), status=1)


def test_accounts_are_listed_with_their_state(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init", "--dir", str(root), "--name", "lab")
    public = keys.text_of(keys.generate().public)
    said(capsys, "account", "add", "alice", "--key", public, "--dir", str(root))
    said(capsys, "account", "add", "bob", "--dir", str(root))
    listed = said(capsys, "account", "list", "--dir", str(root))
    assert re.search(rf"^alice +active +{re.escape(public)}$", listed, re.M)
    assert re.search(r"^bob +invited until \d{4}-\d\d-\d\d", listed, re.M)
    assert re.search(r"^operator +operator +", listed, re.M)
    assert "void" in said(capsys, "account", "revoke", "bob", "--dir", str(root))
    said(capsys, "account", "revoke", "alice", "--dir", str(root))
    listed = said(capsys, "account", "list", "--dir", str(root))
    assert "bob" not in listed
    assert re.search(r"^alice +revoked ", listed, re.M)
    assert "no account called alice" in said(capsys, "account", "revoke", "alice", "--dir", str(root), status=1)
    assert "base64" in said(capsys, "account", "add", "carol", "--key", "?", "--dir", str(root), status=1)


def test_a_user_and_a_node_are_invited_to_a_running_location(
    root: Path, serving: subprocess.Popen[str], capsys: pytest.CaptureFixture[str]
) -> None:
    account = said(capsys, "account", "add", "alice", "--dir", str(root)).split()
    assert account[:3] == ["tf", "account", "accept"]
    node = said(capsys, "node", "add", "rack1", "--dir", str(root)).split()
    assert node[:2] == ["tf-node", "enrol"]

    async def scenario() -> None:
        to_alice = invitations.parse(account[-1], role="client")
        to_rack = invitations.parse(node[-1], role="node")
        alice, rack = keys.generate(), keys.generate()
        await enrol.accept(to_alice, alice.public)
        await enrol.accept(to_rack, rack.public)
        machine = FakeNode(to_rack.address, to_rack.server_key, rack, "rack1")
        client = Client(to_alice.address, to_alice.server_key, alice)
        await machine.join()
        welcome = await client.hello()
        assert (welcome.account, [offer.name for offer in welcome.nodes]) == ("alice", ["rack1"])
        text = await asyncio.to_thread(said, capsys, "status", "--dir", str(root))
        assert "location lab.example.org" in text
        assert re.search(r"^rack1 +joined ", text, re.M)
        assert welcome.session in text
        dump = json.loads(await asyncio.to_thread(said, capsys, "status", "--json", "--dir", str(root)))
        assert dump["accounts"] == ["operator", "alice"]
        assert dump["sessions"][0]["program"] == "a test"
        own = json.loads((await client.call(s.AskStatus())).report)
        assert [session["id"] for session in own["sessions"]] == [welcome.session]
        assert "accounts" not in own
        await client.close()
        await machine.close()

    asyncio.run(scenario())


def test_a_restarted_daemon_takes_its_sessions_up(root: Path, serving: subprocess.Popen[str]) -> None:
    public = keys.generate()
    main(["account", "add", "alice", "--key", keys.text_of(public.public), "--dir", str(root)])
    config = options.read(root / "location.toml")

    async def scenario() -> None:
        client = Client(config.address, keys.load(root / "location.key").public, public)
        await client.hello()
        serving.kill()
        await asyncio.to_thread(serving.communicate)
        again = await asyncio.to_thread(start, root)
        try:
            assert (await client.take_up()).resumed
            await client.close()
        finally:
            again.terminate()
            await asyncio.to_thread(again.communicate)
        assert again.returncode == 0

    asyncio.run(scenario())


def test_a_taken_port_is_named(root: Path, port: int, serving: subprocess.Popen[str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    main(["init", "--dir", str(other), "--name", "other", "--listen", f"tcp://127.0.0.1:{port}"])
    ended = subprocess.run(
        [sys.executable, "-m", "tflocation.cli", "serve", "--dir", str(other)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert f"cannot listen on tcp://127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_status_without_a_daemon_says_how_to_start_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "init", "--dir", str(root), "--name", "lab")
    assert "tf-location serve" in said(capsys, "status", "--dir", str(root), status=1)


@pytest.mark.parametrize(
    "command", [[], ["init"], ["serve"], ["account"], ["account", "add"], ["node", "list"], ["status"]]
)
def test_everything_has_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: tf-location" in capsys.readouterr().out


# the configuration file


def test_a_written_configuration_reads_back(tmp_path: Path) -> None:
    config = options.ConfigFile(
        name='la"b', address="tcp://[::1]:5555", listen=("tcp://0.0.0.0:1", "tcp://[::]:2"), network="10.9.0.0/24",
        lease=60.5, image_space=2.5,
    )  # fmt: skip
    options.write(tmp_path / "location.toml", config)
    assert options.read(tmp_path / "location.toml") == config


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("leese = 3", "leese"),
        ("lease = 1", "lease"),
        ("listen = 7", "listen"),
        ("name = ", "line"),
        ("network = 3", "network"),
    ],
)
def test_a_wrong_line_in_the_configuration_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "location.toml"
    text = 'name = "x"\naddress = "tcp://x:1"\n'
    path.write_text((text if not line.startswith("name") else 'address = "x"\n') + line + "\n")
    with pytest.raises(BadRequest, match=complaint):
        options.read(path)


def test_a_missing_configuration_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="init"):
        options.read(tmp_path / "location.toml")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("lab.example.org", "tcp://lab.example.org:5555"),
        ("lab.example.org:99", "tcp://lab.example.org:99"),
        ("[::1]", "tcp://[::1]:5555"),
        ("[::1]:7", "tcp://[::1]:7"),
        ("tcp://10.0.0.1:5555", "tcp://10.0.0.1:5555"),
    ],
)
def test_addresses_are_written_as_people_do(text: str, endpoint: str) -> None:
    assert options.public_address(text) == endpoint


def test_a_socket_path_too_long_for_the_kernel_is_refused() -> None:
    with pytest.raises(BadRequest, match="longer than"):
        options.check_endpoint("ipc:///" + "x" * 120)

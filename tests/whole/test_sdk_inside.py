"""What is done inside a container and with it from here: processes, files, logs, tunnels (seeds 001 and 002)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.support import example_images
from tests.support.daemons import until
from tests.support.line import private_location, said, sleeper
from tfcore.errors import BadRequest, DeadlineExceeded, NotFound, TfError, WrongState
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location
from tfnz.node import Node

pytestmark = pytest.mark.leaks("module")


@pytest.fixture(scope="module")
def session() -> Iterator[Location]:
    """A session with a private location of its own."""
    with private_location() as place, place.connect() as location:
        location.ensure_image_uploaded(example_images.reference("nginx"), name="nginx")
        yield location


@pytest.fixture(scope="module")
def node(session: Location) -> Node:
    return session.node()


@pytest.fixture(scope="module")
def web(node: Node) -> Container:
    """An nginx; tests may use it but leave it as it was."""
    return node.spawn_container("nginx").wait_until_ready()


@pytest.fixture(scope="module")
def shell(session: Location, tiny: str) -> Container:
    """A container that only waits."""
    return sleeper(session, tiny, env={"GREETING": "hello"})


# processes


def test_a_process(shell: Container) -> None:
    done = shell.run_process("echo out; echo err >&2; exit 5")
    assert done == (b"out\n", b"err\n", 5)
    assert (done.stdout, done.stderr, done.exit_code) == (b"out\n", b"err\n", 5)


def test_a_process_has_the_container_s_environment_and_its_own(shell: Container) -> None:
    command = "echo $GREETING $EXTRA $(id -u) $(pwd)"
    assert shell.run_process(command).stdout == b"hello 0 /\n"
    done = shell.run_process(command, env={"EXTRA": "more"}, user="65534", workdir="/tmp")
    assert done.stdout == b"hello more 65534 /tmp\n"
    assert shell.run_process(command, env=[("GREETING", "bye")]).stdout == b"bye 0 /\n"


def test_a_user_by_name(web: Container) -> None:
    assert web.run_process("id -un", user="www-data").stdout == b"www-data\n"
    with pytest.raises(ValueError, match="no-such-user"):
        web.run_process("true", user="no-such-user")


def test_a_container_s_user_by_name(node: Node) -> None:
    container = node.spawn_container("nginx", command=["sleep", "infinity"], user="www-data", ready=ready.running())
    assert said(container, "id -un; stat -c %U /proc/1") == "www-data\nwww-data"
    container.destroy()
    nobody = node.spawn_container("nginx", user="no-such-user")
    with pytest.raises(ValueError, match="no-such-user"):
        nobody.wait_until_ready()
    nobody.destroy()


def test_a_process_where_there_is_no_shell(session: Location, tiny: str) -> None:
    container = sleeper(session, tiny)
    container.run_process("rm -f /bin/sh /usr/bin/sh")
    with pytest.raises(TfError, match="/bin/sh"):
        container.run_process("true")
    assert container.is_ready(), "it minds nothing else"
    container.destroy()


def test_a_process_reads_what_it_is_given(shell: Container) -> None:
    data = bytes(range(256)) * 4096
    assert shell.run_process("cat", stdin=data).stdout == data
    assert shell.run_process("wc -c").stdout.strip() == b"0", "nothing is an empty stdin, not an open one"


def test_output_as_it_comes(shell: Container) -> None:
    out: list[tuple[Container, bytes]] = []
    err: list[tuple[Container, bytes]] = []
    done = shell.run_process(
        "echo one; echo two >&2; echo three",
        data_callback=lambda *args: out.append(args),
        stderr_callback=lambda *args: err.append(args),
    )
    assert done == (b"", b"", 0)
    until(lambda: b"".join(data for _, data in out) == b"one\nthree\n", "stdout")
    until(lambda: b"".join(data for _, data in err) == b"two\n", "stderr")
    assert {container for container, _ in out + err} == {shell}


@pytest.mark.parametrize("command", [["echo", "x"], b"echo", None, 5])
def test_a_command_is_one_string(shell: Container, command: Any) -> None:
    with pytest.raises(ValueError, match="one string"):
        shell.run_process(command)


def test_a_process_that_takes_too_long_is_killed(shell: Container) -> None:
    with pytest.raises(DeadlineExceeded):
        shell.run_process("exec sleep 4321", timeout=0.3)
    until(lambda: "4321" not in said(shell, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "it to be gone")


# files


def test_files(shell: Container) -> None:
    shell.put("/usr/new/path", b"Some data")
    assert shell.fetch("/usr/new/path") == b"Some data"
    shell.put("/usr/new/path", "Wörter", mode=0o600)
    assert shell.fetch("/usr/new/path") == "Wörter".encode()
    shell.put("/usr/new/path", "")
    assert shell.fetch("/usr/new/path") == b""
    assert said(shell, "stat -c %a /usr/new/path") == "600", "it keeps its mode"


def test_a_file_of_some_megabytes(shell: Container) -> None:
    data = bytes(range(256)) * 20_000
    shell.put("/tmp/large", data)
    assert shell.fetch("/tmp/large") == data


@pytest.mark.parametrize(
    ("path", "error"),
    [("/no/such/file", NotFound), ("/usr", BadRequest), ("/dev/null", BadRequest), ("relative", BadRequest),
     ("/../etc/passwd", BadRequest), ("/usr/../../etc/passwd", BadRequest)],
)  # fmt: skip
def test_what_cannot_be_fetched(shell: Container, path: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        shell.fetch(path)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("path", ["/usr", "/", "relative", "/../x", "/dev/null/x"])
def test_where_nothing_can_be_put(shell: Container, path: str) -> None:
    with pytest.raises(ValueError):
        shell.put(path, b"x")


@pytest.mark.parametrize("data", [None, 5, ["x"], {"x": 1}])
def test_what_cannot_be_put(shell: Container, data: Any) -> None:
    with pytest.raises(ValueError, match="neither text nor bytes"):
        shell.put("/tmp/x", data)


def test_logs(node: Node, tiny: str) -> None:
    """Seed 001, Some Logs: a list of dictionaries."""
    before = time.time()
    program = "echo one; echo two >&2; read _; echo three; sleep infinity"
    container = node.spawn_container(tiny, command=["sh", "-c", program]).wait_until_ready()
    until(lambda: len(container.logs()) == 2, "both lines")
    assert all(set(line) == {"log", "stream", "time"} for line in container.logs())
    assert {(line["log"], line["stream"]) for line in container.logs()} == {("one\n", "stdout"), ("two\n", "stderr")}
    assert all(before - 1 < line["time"] < time.time() + 1 for line in container.logs())
    mark = container.log_mark()
    container.run_process("echo > /proc/1/fd/0")
    [line] = until(lambda: container.logs(since=mark), "the next line")
    assert line["log"] == "three\n"
    container.destroy()


# tunnels


def test_tunnels(web: Container) -> None:
    tunnel = web.attach_tunnel(80)
    assert tunnel in web.all_tunnels()
    assert tunnel in web.location.tunnels
    assert tunnel.dest_port == 80
    assert tunnel.url == f"http://127.0.0.1:{tunnel.localport}"
    assert "Welcome" in requests.get(tunnel.url, timeout=30).text
    web.destroy_tunnel(tunnel)
    assert tunnel not in web.all_tunnels()
    with pytest.raises(requests.ConnectionError):
        requests.get(tunnel.url, timeout=30)
    with pytest.raises(ValueError):
        web.destroy_tunnel(tunnel)


def test_a_local_port_of_one_s_choice(web: Container) -> None:
    free = web.attach_tunnel(80)
    port = int(free.localport)
    with pytest.raises(WrongState, match="leave localport out"):
        web.attach_tunnel(80, localport=port)
    web.destroy_tunnel(free)
    chosen = web.attach_tunnel(80, localport=port, bind="127.0.0.1")
    assert chosen.localport == port
    assert requests.get(f"http://127.0.0.1:{port}", timeout=30).ok
    web.destroy_tunnel(chosen)


def test_waiting_for_a_port(web: Container) -> None:
    web.wait_tcp(80)
    with pytest.raises(DeadlineExceeded, match="81"):
        web.wait_tcp(81, timeout=0.3)


def test_waiting_for_a_web_server(web: Container) -> None:
    tunnel = web.wait_http_200()
    assert web.wait_http_200(fqdn="www.example.org", path="index.html") is tunnel, "the same as long as it is open"
    assert requests.get(tunnel.url, timeout=30).ok
    with pytest.raises(DeadlineExceeded, match="404"):
        web.wait_http_200(path="/missing", timeout=0.3)
    mark = web.log_mark()
    assert web.http.get("/index.html").ok
    assert until(lambda: web.logs(since=mark), "the access in nginx's log")
    web.destroy_tunnel(tunnel)

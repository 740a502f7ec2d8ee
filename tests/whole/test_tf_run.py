"""`tf SOURCE …` as people type it, at a real location."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.example_images import reference
from tests.support.line import private_location
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

SECONDS = 60
PAGE = "written here, served there"


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


class Tf:
    """The command, where `place` is the private location."""

    def __init__(self, place: PrivateLocation) -> None:
        self.environment = os.environ | place.environment

    def __call__(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.typed(words),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert "Traceback" not in done.stderr
        return done

    @contextmanager
    def running(self, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; SIGKILL at the end of the block if it still does."""
        with subprocess.Popen(
            self.typed(words),
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @staticmethod
    def typed(words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "tfnz.cli", *words]


@pytest.fixture
def tf(place: PrivateLocation) -> Tf:
    return Tf(place)


def line(stream: IO[str] | None, wanted: str) -> re.Match[str]:
    """Read until a line matches; the test's own timeout is the deadline."""
    assert stream is not None
    seen = []
    for text in stream:
        seen.append(text)
        if found := re.search(wanted, text):
            return found
    raise AssertionError(f"no line like {wanted!r} in {seen}")


def test_a_command_has_its_variables_files_and_volumes_and_its_exit_code_is_ours(
    tf: Tf, tiny: str, location: Location, tmp_path: Path
) -> None:
    volume = location.node().create_volume(tag="tf-run-data", persistent=True)
    (tmp_path / "greeting").write_text("from here\n")
    script = "echo $A $B $HERE; cat /etc/greeting; echo kept > /data/file; echo to stderr >&2; exit 3"
    done = tf(
        "--location", "local", "-e", "A=1", "-e", "HOME", "-f", f"{tmp_path}/greeting:/etc/", "-m", "tf-run-data:/data",
        tiny, "B=2", "HERE=3", "sh", "-c", script,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "1 2 3\nfrom here\n", "to stderr\n")
    again = tf("run", "--loc", "local", "-m", "tf-run-data:/data", tiny, "cat", "/data/file")
    assert (again.returncode, again.stdout) == (0, "kept\n")
    volume.destroy()


def test_all_of_a_long_output_comes_and_a_reader_who_goes_ends_it(tf: Tf, tiny: str) -> None:
    done = tf("--location", "local", tiny, "seq", "100000")
    assert done.stdout.splitlines() == [str(number) for number in range(1, 100001)]
    with tf.running("--location", "local", tiny, "sh", "-c", "while echo y; do :; done") as endless:
        assert endless.stdout is not None
        endless.stdout.readline()
        endless.stdout.close()
        assert endless.wait(SECONDS) == 141


def test_what_we_are_told_is_told_to_the_container_and_what_cannot_be_written_is_an_error(tf: Tf, tiny: str) -> None:
    text = "".join(f"line {number}\n" for number in range(20000))
    for option in ("-i", "--interactive"):
        done = tf("--location", "local", option, tiny, "sh", "-c", "cat; exit 5", stdin=text)
        assert (done.returncode, done.stdout) == (5, text)
    with open("/dev/full", "w") as full:
        command = ("--location", "local", tiny, "echo", "lost")
        done = subprocess.run(
            tf.typed(command), env=tf.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS,
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_is_reached_until_a_signal_ends_it_and_nothing_is_left(
    tf: Tf, tmp_path: Path, place: PrivateLocation, number: signal.Signals
) -> None:
    record = tmp_path / "record.json"
    with tf.running("--location", "local", "--json", str(record), reference("nginx")) as process:
        port = line(process.stderr, r"^127\.0\.0\.1:(\d+) → 80$")[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=SECONDS) as answer:
            assert b"nginx" in answer.read()
        written = json.loads(record.read_text())
        assert written["pid"] == process.pid
        assert written["tunnels"] == [{"bind": "127.0.0.1", "localport": int(port), "port": 80}]
        busy = tf("--location", "local", "--json", str(record), reference("nginx"))
        assert (busy.returncode, busy.stdout) == (4, "")
        assert record.exists()
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
    assert not record.exists()
    with place.connect() as look:
        until(lambda: not [node for node in look.nodes.values() if node.offer.containers], "the container to go")


def test_a_browser_is_opened_onto_the_page(tf: Tf, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(PAGE)
    opened = tmp_path / "opened"
    words = (
        "-v",
        "--browser",
        "--path",
        "page/index.html",
        "-f",
        f"{page}:/usr/share/nginx/html/page/",
        "--location",
        "local",
    )
    with tf.running(*words, reference("nginx"), BROWSER=f"sh -c 'printf %s > {opened}'") as process:
        url = until(lambda: opened.exists() and opened.read_text(), "a browser", seconds=SECONDS)
        with urllib.request.urlopen(str(url), timeout=SECONDS) as answer:
            assert answer.read().decode() == PAGE
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130


def test_ssh_leads_into_a_container_that_sleeps(tf: Tf, tiny: str, tmp_path: Path) -> None:
    key = tmp_path / ".ssh" / "id_ed25519"
    key.parent.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    words = ("--location", "local", "--sleep", "--ssh", "0", tiny)
    with tf.running(*words, HOME=str(tmp_path), TF_HOME=str(tmp_path / ".20ft")) as process:
        port = line(process.stderr, r"^ssh -p (\d+) root@127\.0\.0\.1$")[1]
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes")
        ssh = ["ssh", "-F", "none", "-i", str(key), "-p", port, *options, "root@127.0.0.1", "echo inside; exit 6"]
        done = subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (6, "inside\n"), done.stderr
        process.send_signal(signal.SIGHUP)
        assert process.wait(SECONDS) == 129


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--location", "local", "no-such-image"), 7, "no command 'no-such-image' either"),
        (("--location", "local", "-m", "no-such-volume:/data", "nginx"), 1, "no volume 'no-such-volume'"),
        (("--location", "nowhere.example.org", "nginx"), 5, "nowhere.example.org"),
        (("-p", "http", "nginx"), 1, "not a port"),
        (("--json", "/no/such/directory/file", "nginx"), 9, "No such file"),
    ],
)
def test_what_cannot_be_is_said_with_its_exit_code(tf: Tf, words: tuple[str, ...], code: int, says: str) -> None:
    done = tf(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr

"""The programs of the seeds as they are printed, run as programs; the image `nginx` was filed under that name before.

Where they name the newest Docker build or a location's host, nginx and the private location stand in; those that use other
calls than this version has are left out. `signal.pause()` and `run()` end as they do for people: by a signal.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support import example_images
from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location

pytestmark = pytest.mark.leaks("module")

SECONDS = 60

FIRST_CONTAINER = """
import signal
from tfnz.location import Location

location = Location(debug_log=False)
node = location.best_node()
container = node.spawn('nginx')
container.attach_browser()
signal.pause()
"""

CHAINED = """
import signal
from tfnz.location import Location, last_image

Location(debug_log=False).best_node().spawn('nginx').attach_browser()
signal.pause()
"""

PREBOOT = """
import signal
from tfnz.location import Location

location = Location(debug_log=True)
preboot = {'/usr/share/nginx/html/index.html': 'Hello World!'}
container = location.best_node().spawn('nginx', pre_boot_files=preboot)
container.attach_browser()
signal.pause()
"""

FILES = """
from tfnz.location import Location, last_image

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
container.put("/usr/new/path", b'Some data')
print(container.fetch("/usr/new/path"))
print("------------------------------------")
print(str(container.fetch("/etc/nginx/nginx.conf"), 'ascii'))
"""

LOGS = """
import signal
import json
from tfnz.location import Location, last_image

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
container.attach_browser()
for log in container.logs():
    print(json.dumps(log, indent=4))
signal.pause()
"""

TUNNEL = """
import signal
from tfnz.location import Location

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
tnl = container.attach_tunnel(80, localport=1234)
signal.pause()
"""

HELLO = """
from tfnz import *

loc = location.Location()
node = loc.node()
ctr = node.spawn_container('nginx')
ctr.attach_tunnel(80, localport=8080)
loc.run()
"""

PARALLEL = """
import logging
from tfnz.location import Location

location = Location('local', debug_log=False)
location.ensure_image_uploaded('337c501c333c')
containers = []
logging.info("-----Starting")
for n in range(0, 10):
    container = location.best_node().spawn('337c501c333c', no_image_check=True)
    containers.append(container)
for container in containers:
    container.wait_http_200(fqdn="www.atomicdroplet.com")
logging.info("-----Finished")
"""

UNIT_TESTS = """
import requests
from unittest import TestCase, main
from tfnz.location import Location


class TfTest(TestCase):

    @classmethod
    def setUpClass(cls):
        cls.location = Location(debug_log=False)
        cls.location.ensure_image_uploaded('nginx')

    def test_spawn_preboot(self):
        # write configuration files before we boot
        preboot = {'/usr/share/nginx/html/index.html': 'Hello World!'}
        container = TfTest.location.best_node().spawn('nginx', pre_boot_files=preboot, no_image_check=True)
        self.assertTrue(b'Hello World!' in container.fetch('/usr/share/nginx/html/index.html'))

    def test_tunnels_http(self):
        container = TfTest.location.best_node().spawn('nginx', no_image_check=True)

        # creating a tunnel after http 200
        tnl = container.wait_http_200()
        r = requests.get('http://127.0.0.1:' + str(tnl.localport))
        self.assertTrue('<title>Welcome to nginx!</title>' in r.text, 'Did not get the expected reply')

if __name__ == '__main__':
    main()
"""


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    """A location that knows nginx, also by the number seed 001 gives an image."""
    with private_location() as made:
        with made.connect() as location:
            for name in ("nginx", "337c501c333c"):
                location.ensure_image_uploaded(example_images.reference("nginx"), name=name)
        yield made


class Program:
    """One of them, running as a user would run it: its location is the default one, its browser says what it opens."""

    def __init__(self, place: PrivateLocation, source: str, directory: Path) -> None:
        self.out, self.err = directory / "out", directory / "err"
        home = directory / ".20ft"
        home.mkdir(mode=0o700)
        (home / "default_location").write_text("local\n")
        (directory / "scratch.py").write_text(source)
        environment = os.environ | place.environment | {"TF_HOME": str(home), "BROWSER": "echo opened %s"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-u", directory / "scratch.py"], env=environment, stdout=out, stderr=err
            )

    def said(self, pattern: str) -> re.Match[str] | None:
        """What it has printed or logged; fails if it has ended without."""
        ended = self.process.poll() is not None
        text = self.out.read_text() + self.err.read_text()
        found = re.search(pattern, text)
        assert found or not ended, f"ended without {pattern!r}: {text}"
        return found

    def opened(self) -> str:
        """The address its browser was given."""
        return until(lambda: self.said(r"opened (http://localhost:\d+/)\n"), "the browser", seconds=SECONDS)[1]

    def finish(self) -> tuple[int, str]:
        """Wait for its end; exit status and stdout."""
        self.process.wait(SECONDS)
        return self.process.returncode, self.out.read_text()

    def end_by(self, number: signal.Signals) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.finish()[0]


Run = Callable[[str], Program]


@pytest.fixture
def run(place: PrivateLocation, tmp_path: Path) -> Iterator[Run]:
    """Starts a program."""
    started: list[Program] = []

    def start(source: str) -> Program:
        started.append(Program(place, source, tmp_path))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.process.kill()
            program.process.wait(SECONDS)


def gone(url: str) -> bool:
    """Nobody serves this address."""
    try:
        requests.get(url, timeout=SECONDS)
    except requests.ConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param(FIRST_CONTAINER, "Welcome to nginx!", id="first container"),
        pytest.param(CHAINED, "Welcome to nginx!", id="chained"),
        pytest.param(PREBOOT, "Hello World!", id="pre-boot files"),
        pytest.param(LOGS, "Welcome to nginx!", id="logs"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
def test_a_browser_shows_it_until_the_program_ends(run: Run, source: str, words: str, number: signal.Signals) -> None:
    program = run(source)
    url = program.opened()
    assert words in requests.get(url, timeout=SECONDS).text
    until(lambda: program.said(r"Connected onto: http://localhost:\d+/"), "the log's last line")
    assert program.end_by(number) != 0
    until(lambda: gone(url), "its tunnel to be gone")


@pytest.mark.parametrize(
    ("source", "port"), [pytest.param(TUNNEL, 1234, id="001"), pytest.param(HELLO, 8080, id="002")]
)
def test_a_tunnel_from_a_port_of_one_s_choice(run: Run, source: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"port {port}, which the program wants, is taken on this machine")
    program = run(source)
    url = f"http://127.0.0.1:{port}/"

    def answered() -> bool:
        program.said("")
        return not gone(url)

    until(answered, "the tunnel", seconds=SECONDS)
    assert "Welcome to nginx!" in requests.get(url, timeout=SECONDS).text
    status = program.end_by(signal.SIGINT)
    assert status == 0 or source is TUNNEL, "run() returns when it is interrupted, signal.pause() does not"
    until(lambda: gone(url), "its tunnel to be gone")


def test_files_are_put_and_fetched(run: Run) -> None:
    status, said = run(FILES).finish()
    assert status == 0
    first, line, *configuration = said.splitlines()
    assert first == "b'Some data'"
    assert set(line) == {"-"}
    assert "http {" in configuration


def test_ten_containers_at_once(run: Run) -> None:
    program = run(PARALLEL)
    assert program.finish() == (0, "")
    log = program.err.read_text()
    assert log.index("-----Starting") < log.index("Spawning container") < log.index("-----Finished")
    assert log.count("Connected onto: http://www.atomicdroplet.com:") == 10


def test_unit_tests(run: Run) -> None:
    program = run(UNIT_TESTS)
    assert program.finish()[0] == 0, program.err.read_text()
    assert "Ran 2 tests" in program.err.read_text()

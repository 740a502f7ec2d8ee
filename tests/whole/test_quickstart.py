"""The programs of the seeds' quick starts that use what there is so far: run as printed, by a user's interpreter.

`nginx` is an image of ours under that name; the location that is the user's default is a private one. Programs that wait for
a signal get it once they have been looked at.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
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
from tfnz.location import Location

Location(debug_log=False).best_node().spawn('nginx').attach_browser()
signal.pause()
"""

SOME_LOGS = """
import signal
import json
from tfnz.location import Location

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
container.attach_browser()
for log in container.logs():
    print(json.dumps(log, indent=4))
signal.pause()
"""

FILES = """
from tfnz.location import Location

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
container.put("/usr/new/path", b'Some data')
print(container.fetch("/usr/new/path"))
print("------------------------------------")
print(str(container.fetch("/etc/nginx/nginx.conf"), 'ascii'))
"""

TUNNEL = """
import signal
from tfnz.location import Location

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
tnl = container.attach_tunnel(80, localport=1234)
signal.pause()
"""

WEBSERVER = """
import signal
from tfnz.location import Location

location = Location(debug_log=False)
container = location.best_node().spawn('nginx')
tnl = container.attach_browser()
signal.pause()
"""

PRE_BOOT_FILES = """
import signal
from tfnz.location import Location

location = Location(debug_log=True)
preboot = {'/usr/share/nginx/html/index.html': 'Hello World!'}
container = location.best_node().spawn('nginx', pre_boot_files=preboot)
container.attach_browser()
signal.pause()
"""

CONCURRENT = """
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
"""As printed but for the location's name."""

UNIT_TEST = """
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

CLIENT_APPLICATION = """
from tfnz import *

loc = location.Location()
node = loc.node()
ctr = node.spawn_container('nginx')
ctr.attach_tunnel(80, localport=8080)
loc.run()
"""

IMAGE_ID = "337c501c333c"


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location() as made:
        with made.connect() as location:
            for name in ("nginx", IMAGE_ID):
                location.ensure_image_uploaded(example_images.reference("nginx"), name=name)
        yield made


class User:
    """Somebody with a default location, a web browser, and a directory for scratch.py."""

    def __init__(self, place: PrivateLocation, home: Path) -> None:
        self._home = home
        self._opened = home / "opened"
        browser = home / "browser"
        browser.write_text(f'#!/bin/sh\necho "$1" > {self._opened}.new && mv {self._opened}.new {self._opened}\n')
        browser.chmod(0o755)
        accounts = home / ".20ft"
        accounts.mkdir(mode=0o700)
        (accounts / "default_location").write_text("local\n")
        self._environment = {
            **os.environ,
            **place.environment,
            "TF_HOME": str(accounts),
            "BROWSER": str(browser),
            "PYTHONUNBUFFERED": "1",
        }
        self._place = place

    def start(self, program: str) -> subprocess.Popen[str]:
        """`python3 scratch.py`."""
        script = self._home / "scratch.py"
        script.write_text(program)
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, script], env=self._environment, cwd=self._home, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, program: str) -> tuple[str, str]:
        """To its end, which must be a good one; stdout and stderr."""
        process = self.start(program)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        return out, err

    def url(self, process: subprocess.Popen[str]) -> str:
        """What the browser was opened onto."""
        until(lambda: self._opened.exists() or process.poll() is not None, "the browser to be opened")
        assert self._opened.exists(), process.communicate()
        return self._opened.read_text().strip()

    def interrupt(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Ctrl-C; stdout and stderr."""
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=SECONDS)


@pytest.fixture
def user(place: PrivateLocation, tmp_path: Path) -> Iterator[User]:
    """Whatever their programs made must be gone when they have ended."""
    yield User(place, tmp_path)
    with place.connect() as location:
        assert location.containers == {}


def messages(log: str) -> list[str]:
    """The log's lines as seed 001 shows them, without time and level."""
    return [line.split(maxsplit=2)[2] for line in log.splitlines() if line[:1].isdigit()]


@pytest.mark.parametrize("program", [FIRST_CONTAINER, CHAINED, WEBSERVER], ids=["first", "chained", "webserver"])
def test_a_browser_shows_the_container(user: User, program: str) -> None:
    process = user.start(program)
    url = user.url(process)
    assert "<title>Welcome to nginx!</title>" in requests.get(url, timeout=SECONDS).text
    _, log = user.interrupt(process)
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=SECONDS)
    said = messages(log)
    assert said[0] == "Connecting to: local"
    assert "Ensuring layers are uploaded for: nginx" in said
    for beginning in ("Spawning container: c-", "Created tunnel object onto: c-", "Connected onto: http://localhost:"):
        assert [line for line in said if line.startswith(beginning)], said


def test_some_logs(user: User) -> None:
    process = user.start(SOME_LOGS)
    user.url(process)
    assert process.stdout is not None
    line = [process.stdout.readline().strip() for _ in range(5)]
    user.interrupt(process)
    assert line[0] == "{"
    assert line[1].startswith('"log": "')
    assert line[2] == '"stream": "stdout",'
    assert line[3].startswith('"time": ')
    assert line[4] == "}"


def test_putting_and_fetching_files(user: User) -> None:
    out, _ = user.run(FILES)
    assert out.startswith("b'Some data'\n------------------------------------\n")
    assert "http {" in out


@pytest.mark.parametrize(
    ("program", "port"), [pytest.param(TUNNEL, 1234, id="gen 1"), pytest.param(CLIENT_APPLICATION, 8080, id="gen 2")]
)
def test_a_tunnel(user: User, program: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            pytest.skip(f"something else listens on port {port}, which the program wants")
    process = user.start(program)
    page = ""
    while "Welcome to nginx!" not in page:
        assert process.poll() is None, process.communicate()
        try:
            page = requests.get(f"http://127.0.0.1:{port}/", timeout=SECONDS).text
        except requests.ConnectionError:
            time.sleep(0.01)
    _, log = user.interrupt(process)
    assert program == TUNNEL or (process.returncode, log) == (0, "")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/", timeout=SECONDS)


def test_pre_boot_files(user: User) -> None:
    process = user.start(PRE_BOOT_FILES)
    assert requests.get(user.url(process), timeout=SECONDS).text == "Hello World!"
    user.interrupt(process)


def test_concurrent_booting(user: User) -> None:
    _, log = user.run(CONCURRENT)
    said = messages(log)
    started, finished = said.index("-----Starting"), said.index("-----Finished")
    spawned = [number for number, line in enumerate(said) if line.startswith("Spawning container: ")]
    connected = [line for line in said if line.startswith("Connected onto: http://www.atomicdroplet.com:")]
    assert len(spawned) == len(connected) == 10
    assert started < min(spawned) <= max(spawned) < finished


def test_unit_testing(user: User) -> None:
    _, log = user.run(UNIT_TEST)
    assert "Ran 2 tests" in log
    assert log.rstrip().endswith("OK")

"""Every program that seeds 001 and 002 print, run as printed: `seed_programs/` holds them, word for word.

They find what the seeds take for granted: an account at tiny.20ft.nz, their default location; a local Docker that has
nginx, with ps and vmstat in it, and what was built last; a browser; the ports 1234 and 8080. Each runs in a network
namespace of its own, so that nobody else can have these ports; the browser writes down what it is shown.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemons import RemoteLocation
from tests.support.docker_daemon import DockerDaemon, DockerImage, image_of_layout
from tests.support.example_images import directory
from tests.support.images import Layer, program
from tests.support.line import short_directory
from tests.support.rootfs import libraries_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.leaks("module")

PROGRAMS = Path(__file__).parent / "seed_programs"
LOCATION = "tiny.20ft.nz"
SECONDS = 90.0
"""A program that ends by itself has ended by then."""

TAKES_TEN_SECONDS = "001_processes_with_callbacks"

BUILD = "91e2255020fe" + "0" * 52
HEAVY = "337c501c333c" + "0" * 52
"""Images by the ids the seed prints."""

BROWSER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=30) as page, open(sys.argv[2], "a") as seen:
    seen.write(sys.argv[1] + "\\n" + page.read().decode().rstrip() + "\\n")
"""
FETCH = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


def procps() -> Layer:
    """ps and vmstat of this machine, with their own libraries, whatever the image has."""
    found = [Path(shutil.which(name) or pytest.skip(f"there is no {name}")) for name in ("ps", "vmstat")]
    layer: dict[str, object] = {}
    for path in (*found, *libraries_of(found)):
        layer[f"opt/procps/{path.name}"] = program(path.resolve().read_bytes())
    (loader,) = (path.name for path in libraries_of(found) if path.name.startswith("ld-"))
    for name in ("ps", "vmstat"):
        script = f'#!/bin/sh\nexec /opt/procps/{loader} --library-path /opt/procps /opt/procps/{name} "$@"\n'
        layer[f"usr/bin/{name}"] = program(script.encode())
    return layer  # type: ignore[return-value]


@dataclass
class Running:
    """A program that runs.

    Attributes:
        work: its directory: `out` and `err` are what it says, `seen` is what its browser was shown.
    """

    process: subprocess.Popen[bytes]
    work: Path

    def said(self, where: str) -> str:
        """What is in the file `out`, `err` or `seen` by now."""
        path = self.work / where
        return path.read_text() if path.exists() else ""

    def shown(self) -> tuple[str, str]:
        """URL and page its browser was shown."""
        eventually(lambda: self.said("seen").endswith("\n") or self.process.poll() is not None)
        url, _, page = self.said("seen").partition("\n")
        assert page, self.said("err")
        return url, page

    def fetch(self, url: str) -> str:
        """What the program's own machine is answered; "" if nothing."""
        command = ["nsenter", "--net", "--target", str(self.process.pid), sys.executable, "-c", FETCH, url]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS)

    def end(self) -> str:
        """Wait for its end by itself, and that all is well; returns all it said."""
        assert self.process.wait(SECONDS) == 0, self.said("err")
        return self.said("out") + self.said("err")


class Scene:
    """What a user of the seeds has.

    Attributes:
        early: the program that takes ten seconds, which begins first.
    """

    early: Running

    def __init__(self, place: RemoteLocation, docker: Path, ipc: Path) -> None:
        self.place = place
        self.home = place.directory / "home"
        self._docker = docker
        self._number = 0
        accounts = self.home / ".20ft"
        shutil.copytree(place.directory / "alice", accounts)
        server = accounts / f"{LOCATION}.server"
        server.write_text(json.dumps(json.loads(server.read_text()) | {"address": f"ipc://{ipc}"}))
        assert (accounts / "default_location").read_text().strip() == LOCATION
        (self.home / "browser.py").write_text(BROWSER)

    @contextlib.contextmanager
    def run(self, name: str) -> Iterator[Running]:
        """One of the programs, as `python3 NAME.py`."""
        self._number += 1
        work = self.home / f"{self._number}"
        work.mkdir()
        shutil.copy(PROGRAMS / f"{name}.txt", work / f"{name}.py")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("TF_")},
            "HOME": str(self.home),
            "BROWSER": f"{sys.executable} {self.home / 'browser.py'} %s {work / 'seen'} &",
            "DOCKER_HOST": f"unix://{self._docker}",
            "PYTHONUNBUFFERED": "1",
        }
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "-", sys.executable, f"{name}.py"]
        with (work / "out").open("wb") as out, (work / "err").open("wb") as err:
            process = subprocess.Popen(command, cwd=work, env=environment, stdout=out, stderr=err)
        try:
            yield Running(process, work)
        finally:
            process.kill()
            process.wait()

    def is_free_of(self, name: str) -> bool:
        """Nothing is left of that program's session."""
        report = self.place.status()
        open_ones = {one["id"] for one in report["sessions"]}
        programs = {one["program"] for one in report["sessions"]}
        return f"{name}.py" not in programs and all(one["session"] in open_ones for one in report["containers"])


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    top = image_of_layout(directory() / "nginx", id="0" * 60 + "beef", name="")
    nginx = top.with_layer(procps(), id="05a60462f8ba" + "0" * 52, name="nginx:latest", created=1)
    build = nginx.with_layer({"usr/share/nginx/html/index.html": "Hello World!\n"}, id=BUILD, created=3)
    heavy = DockerImage(id=HEAVY, config=build.config, layers=build.layers, created=2)
    with short_directory() as path, DockerDaemon(path / "docker.sock", [nginx, build, heavy]):
        place = RemoteLocation(path, name=LOCATION, ipc=path / "ipc")
        try:
            made = Scene(place, path / "docker.sock", path / "ipc")
            with made.run(TAKES_TEN_SECONDS) as made.early:
                yield made
        finally:
            place.stop()


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("001_first_container", "<title>Welcome to nginx!</title>"),
        ("001_browser", "<title>Welcome to nginx!</title>"),
        ("001_docker_workflow", "Hello World!"),
        ("001_chained", "Hello World!"),
        ("001_preboot", "Hello World!"),
    ],
)
def test_a_browser_is_shown_the_page(scene: Scene, name: str, page: str) -> None:
    """And with the program's end, by Ctrl-C, everything goes."""
    with scene.run(name) as running:
        url, shown = running.shown()
        assert re.fullmatch(r"http://localhost:\d+/", url)
        assert page in shown
        running.interrupt()
    err = running.said("err")
    said = [line for line in err.splitlines() if " INFO " in line]
    for expected in ("Connecting to: tiny.20ft.nz", "Ensuring layers are uploaded for: ", "Spawning container: "):
        assert any(re.match(rf"\d{{10}}\.\d{{3}} INFO     {re.escape(expected)}", line) for line in said), err
    assert f"Connected onto: {url}" in err
    assert (" DEBUG " in err) == (name == "001_preboot")
    eventually(lambda: scene.is_free_of(name))


def test_logs(scene: Scene) -> None:
    with scene.run("001_logs") as running:
        running.shown()
        running.interrupt()
    lines = [json.loads(text) for text in re.findall(r"^\{.*?^\}", running.said("out"), re.MULTILINE | re.DOTALL)]
    assert lines
    assert all(set(line) == {"log", "stream", "time"} for line in lines)


def test_files(scene: Scene) -> None:
    with scene.run("001_files") as running:
        said = running.end()
    assert "b'Some data'\n------------------------------------\n" in said
    assert "worker_processes" in said


@pytest.mark.parametrize(("name", "port"), [("001_tunnel", 1234), ("002_hello_world", 8080)])
def test_a_tunnel_by_the_port_that_was_wished(scene: Scene, name: str, port: int) -> None:
    with scene.run(name) as running:
        eventually(lambda: "Welcome to nginx!" in running.fetch(f"http://127.0.0.1:{port}/"))
        running.interrupt()
        if name == "002_hello_world":
            assert running.process.returncode == 0, "loc.run() ends in order"
    eventually(lambda: scene.is_free_of(name))


def test_a_process_to_its_end(scene: Scene) -> None:
    with scene.run("001_process_to_its_end") as running:
        said = running.end()
    assert "USER" in said
    assert "nginx: master process" in said


def test_processes_with_callbacks(scene: Scene) -> None:
    said = scene.early.end()
    assert "procs" in said
    assert len(re.findall(r"^ *\d+ +\d+ +\d+ ", said, re.MULTILINE)) >= 5
    assert said.index("---Sleep terminated---") < said.index("Vmstat terminated")


def test_a_container_asleep(scene: Scene) -> None:
    with scene.run("001_asleep") as running:
        eventually(lambda: running.said("out").count("PID") == 2 or running.process.poll() is not None)
        running.interrupt()
    before, after = running.said("out").split("PID")[1:]
    assert "nginx" not in before
    assert "nginx" in after


@pytest.mark.parametrize("name", ["001_one_after_another", "001_all_at_once"])
def test_ten_containers(scene: Scene, name: str) -> None:
    with scene.run(name) as running:
        said = running.end()
    _, _, after = said.partition("-----Starting")
    meanwhile, finished, _ = after.partition("-----Finished")
    assert finished
    assert meanwhile.count("Spawning container: ") == 10
    assert meanwhile.count("Connected onto: http://www.atomicdroplet.com:") == 10


def test_unit_tests(scene: Scene) -> None:
    with scene.run("001_unit_tests") as running:
        assert "Ran 2 tests" in running.end()

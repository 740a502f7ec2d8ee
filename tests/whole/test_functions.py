"""Functions of a Python file in a container with a real Python: from a program, and by `tf x.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation
from tests.support.line import private_location
from tests.support.python_image import python_image
from tfnz.functions import RemoteError
from tfnz.location import Location

pytestmark = pytest.mark.leaks("module")

SECONDS = 60

SOURCE = '''\
# /// script
# requires-python = ">=3.8"
# dependencies = ["tf-test-greeting"]
# [tool.tf]
# include = ["data"]
# ///
"""Shapes and greetings."""
import os, sys, time
import greeting

def area(width: int, height: int = 1) -> int:
    """Of a rectangle."""
    print("computing")
    print("with care", file=sys.stderr)
    return width * height

def greeted(name: str):
    return {greeting.greet(name), open("data/word").read()}

def count(directory="/var"):
    seen = os.path.join(directory, "seen")
    before = os.path.exists(seen)
    open(seen, "w").close()
    return before

async def later(x):
    return x

class Closed(Exception):
    pass

def closed():
    raise Closed("until nine")

def missing(key):
    return {}[key]

def leave():
    sys.exit(7)

def killed():
    os.kill(os.getpid(), 9)

def forever():
    print("begun", flush=True)
    time.sleep(1000)
'''


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def image(place: PrivateLocation, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Python's own image of our version, as far as the location knows; so it is the one that is taken."""
    name = f"python:3.{sys.version_info.minor}-slim"
    with place.connect() as session:
        session.ensure_image_uploaded(python_image(tmp_path_factory.mktemp("image")), name=name)
    return name


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, and an index of wheels that has what it depends on."""
    wheel = tmp_path / "wheels" / "tf_test_greeting-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("greeting.py", "def greet(name): return f'hello {name}'\n")
        info = "tf_test_greeting-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tf-test-greeting\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "word").write_text("from beside")
    path = tmp_path / "shapes.py"
    path.write_text(SOURCE)
    return path


def test_a_function_takes_returns_prints_and_raises_as_if_it_were_here(
    location: Location, shapes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with location.function(shapes, "area", keep=False) as area:
        assert area(2, height=3) == 6
        assert capsys.readouterr() == ("computing\n", "with care\n")
        with pytest.raises(TypeError, match="missing a required argument: 'width'"):
            area()
        assert area.module["greeted"]("you") == {"hello you", "from beside"}
        everything = {"a": (1, b"\0"), "b": [None, {2}]}
        assert area.module["later"](everything) == everything
        with pytest.raises(KeyError) as own:
            area.module["missing"]("q")
        assert own.value.args == ("q",)
        assert f'File "{shapes}", line' in own.value.__notes__[0]
        assert "inside.py" not in own.value.__notes__[0]
        with pytest.raises(RemoteError, match=r"shapes\.Closed: until nine"):
            area.module["closed"]()
        with pytest.raises(RemoteError, match="killed by signal 9"):
            area.module["killed"]()
        with pytest.raises(SystemExit) as left:
            area.module["leave"]()
        assert left.value.code == 7


def test_each_call_begins_from_the_same_state_unless_that_is_not_wished(location: Location, shapes: Path) -> None:
    with location.function(shapes, "count", keep=False) as count:
        assert [count() for _ in range(3)] == [False, False, False]
        assert len(location.containers) == 1
    assert not location.containers
    with location.function(shapes, "count", rollback=False, keep=False) as count:
        assert [count() for _ in range(3)] == [False, True, True]


def test_what_dependencies_make_of_an_image_is_kept_for_later_runs_of_any_file(
    place: PrivateLocation, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.connect() as first, first.function(shapes, "greeted") as greeted:
        greeted("you")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", str(shapes.with_name("another")))
    shapes.write_text(SOURCE.replace("def greeted", "def saluted"))
    with place.connect() as second:
        (kept,) = second.kept()
        with second.function(shapes, "saluted") as saluted:
            assert saluted("them") == {"hello them", "from beside"}
        assert (kept.evictable, kept.labels) == (True, {"dependencies": "tf-test-greeting"})
        kept.forget()


def typed(place: PrivateLocation, *words: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "tfnz.cli", "--location", "local", *words], os.environ | place.environment


def test_the_command_prints_the_result_and_ends_as_the_function_did(place: PrivateLocation, shapes: Path) -> None:
    def tf(*words: str) -> subprocess.CompletedProcess[str]:
        command, environment = typed(place, str(shapes), *words)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)

    done = tf("area", "2", "--height", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "computing\n6\n", "with care\n")
    assert json.loads(tf("later", '{"a": [1, null]}', "--json").stdout) == {"a": [1, None]}
    failed = tf("missing", "q")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Traceback")
    assert failed.stderr.endswith("KeyError: 'q'\n")
    assert (tf("leave").returncode, tf("area", "x").returncode, tf("nothing").returncode) == (7, 1, 1)
    assert "area(width: int, height: int = 1) -> int" in tf("--help").stdout
    with place.connect() as session:
        for kept in session.kept():
            kept.forget()


def test_ctrl_c_ends_a_call_and_what_cannot_be_had_is_said(place: PrivateLocation, shapes: Path) -> None:
    command, environment = typed(place, str(shapes), "forever")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    shapes.write_text(SOURCE.replace("tf-test-greeting", "tf-test-absent"))
    command, environment = typed(place, str(shapes), "area", "2")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 7
    assert "tf-test-absent cannot be had for Python" in done.stderr

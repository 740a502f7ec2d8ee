"""`tf ps`, `exec`, `logs`, `top` in another terminal than the one whose session has the containers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, sleeper
from tests.support.typed import SECONDS, Typed
from tfcore.errors import BadRequest, NotFound, Refused
from tfnz import ready
from tfnz.container import Container
from tfnz.location import Location
from tfnz.visiting import Visit

pytestmark = pytest.mark.leaks("module")

TALKER = "echo one; echo two >&2; echo three; echo up; while [ ! -e /end ]; do sleep 0.05; done"


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    with private_location() as made:
        yield made


@pytest.fixture
def tf(place: PrivateLocation, tmp_path: Path) -> Typed:
    return Typed(place, tmp_path)


@pytest.fixture
def web(location: Location, tiny: str) -> Container:
    """A container of this session's, which is another one than `tf` has."""
    return sleeper(location, tiny, tag="web")


# --- the SDK's side


@pytest.fixture
def visit(place: PrivateLocation, web: Container) -> Iterator[Visit]:
    with place.effective(), Visit("local") as visit:
        yield visit


def test_a_visit_finds_containers_by_id_tag_and_beginning(visit: Visit, web: Container, tiny: str) -> None:
    other = sleeper(web.location, tiny)
    keys = (web.uuid, "web", f"{web.uuid}:web", web.uuid[:9], web.uuid[2:9])
    assert {visit.container(key).uuid for key in keys} == {web.uuid}
    assert [one.uuid for one in visit.found()] == [web.uuid, other.uuid]
    assert visit.containers == {}, "they are not its own"
    with pytest.raises(NotFound, match=r"no container 'db' at local \(there is: web, c-"):
        visit.container("db")
    for beginning in ("c-", ""):
        with pytest.raises((BadRequest, NotFound)):
            visit.container(beginning)


def test_a_visitor_looks_and_tries_but_decides_nothing(visit: Visit, web: Container) -> None:
    seen = visit.container("web")
    seen.put("/srv/note", "hello")
    assert web.fetch("/srv/note") == seen.fetch("/srv/note") == b"hello"
    assert seen.status().generation == web.status().generation
    web.snapshot("mine")
    for deed in (seen.reboot, seen.rollback, seen.start, seen.rebuild, seen.destroy):
        with pytest.raises(Refused, match="another session's"):
            deed()
    for deed in (seen.snapshot, seen.diff):
        with pytest.raises(NotFound):
            deed()
    assert web.status().generation == 1


def test_what_a_visitor_has_done_is_rolled_back_as_anything_else(visit: Visit, web: Container) -> None:
    web.snapshot("before")
    visit.container("web").run_process("touch /srv/theirs")
    assert web.rollback("before").tier != "clean"
    assert "theirs" not in web.run_process("ls /srv").stdout.decode()


# --- tf ps and tf top


def test_ps_for_people_and_programs(tf: Typed, web: Container, tiny: str) -> None:
    head, line = tf("ps").stdout.splitlines()
    names = re.split(r"  +", head)
    row = dict(zip(names, re.split(r"  +", line), strict=True))
    assert names == ["ID", "IMAGE", "TAG", "STATE", "PROCESSES", "MEMORY", "AGE", "ADDRESS", "NODE", "PROGRAM"]
    assert (row["ID"], row["TAG"], row["STATE"], row["ADDRESS"]) == (web.uuid, "web", "ready", str(web.ip))
    (found,) = json.loads(tf("ps", "--json").stdout)
    assert (found["id"], found["state"], found["processes"]) == (web.uuid, "ready", 1)
    assert (found["session"], found["node"]) == (web.location.session, web.node.name)
    assert tf("ps", "-q").stdout == f"{web.uuid}\n"
    web.destroy()
    assert tf("ps", "--json").stdout == "[]\n"
    assert tf("ps").stdout.splitlines() == [re.sub(r"  +", "  ", head)]


def test_top_tells_what_they_use(tf: Typed, location: Location, tiny: str) -> None:
    busy = location.node().spawn_container(tiny, command=["sh", "-c", "while :; do :; done"], ready=ready.running())
    busy.wait_until_ready()
    head, line = tf("top", "--once").stdout.splitlines()
    row = dict(zip(re.split(r"  +", head), re.split(r"  +", line), strict=True))
    assert row["ID"] == busy.uuid
    assert row["CPU"] == "-" or float(row["CPU"].rstrip("%")) > 1
    assert tf("top").stdout.startswith("ID"), "in a pipe it is one table"


# --- tf exec


def test_exec_runs_the_very_words(tf: Typed, web: Container) -> None:
    program = 'echo "$WHO $GIVEN $PWD"; echo no >&2'
    said = tf("exec", "-e", "WHO=world", "-e", "GIVEN", "-w", "/tmp", "web", "sh", "-c", program, env={"GIVEN": "too"})
    assert (said.stdout, said.stderr) == ("world too /tmp\n", "no\n")
    assert tf("exec", web.uuid[:8], "printf", "%s|", "a b", "$HOME", "-q").stdout == "a b|$HOME|-q|"
    assert tf("exec", "web", "sh", "-c", "exit 42", status=42).stderr == ""
    assert tf("exec", "-u", "1", "web", "id", "-u").stdout == "1\n"


def test_exec_hands_on_what_comes_only_if_told_to(tf: Typed, web: Container) -> None:
    assert tf("exec", "-i", "web", "cat", stdin=b"hello").stdout == "hello"
    assert tf("exec", "web", "cat", stdin=b"hello").stdout == ""


def test_exec_in_nothing(tf: Typed, web: Container) -> None:
    assert "no container 'db' at local (there is: web)" in tf("exec", "db", "ls", status=1).stderr
    assert "usage: tf exec" in tf("exec", "web", status=2).stderr
    assert "no-such-program" in tf("exec", "web", "no-such-program", status=1).stderr


# --- tf logs


@pytest.fixture
def talker(location: Location, tiny: str) -> Container:
    spawned = location.node().spawn_container(tiny, command=["sh", "-c", TALKER], tag="talker", ready=ready.log("up"))
    return spawned.wait_until_ready()


def test_logs_go_where_they_were_written_to(tf: Typed, talker: Container) -> None:
    said = tf("logs", "talker")
    assert (said.stdout, said.stderr) == ("one\nthree\nup\n", "two\n")
    last = tf("logs", "--tail", "1", "talker")
    assert last.stdout + last.stderr in ("up\n", "two\n"), "nobody knows which stream was read first"
    assert tf("logs", "-n", "0", "talker").stdout == ""
    lines = [json.loads(line) for line in tf("logs", "--json", "talker").stdout.splitlines()]
    assert "".join(line["log"] for line in lines if line["stream"] == "stderr") == "two\n"
    assert "usage: tf logs" in tf("logs", "--tail", "-1", "talker", status=2).stderr


def test_logs_are_followed_until_the_container_has_ended(tf: Typed, talker: Container) -> None:
    following = tf.started("logs", "-f", "talker")
    assert following.stdout is not None
    seen = b""
    while not seen.endswith(b"up\n"):
        seen += following.stdout.read1()
    talker.run_process("echo more > /proc/1/fd/1")
    while not seen.endswith(b"more\n"):
        seen += following.stdout.read1()
    talker.put("/end", "")
    out, err = following.communicate(timeout=SECONDS)
    assert (following.returncode, out) == (0, b""), err


def test_following_ends_with_the_container(tf: Typed, talker: Container) -> None:
    following = tf.started("logs", "-f", "talker")
    assert following.stdout is not None
    until(lambda: following.stdout.read1().endswith(b"up\n"), "its output")  # type: ignore[union-attr]
    talker.destroy()
    following.communicate(timeout=SECONDS)
    assert following.returncode == 0

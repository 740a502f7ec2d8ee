"""`tf ps`, `exec`, `logs`, `top` in another terminal than the one whose session has the containers."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemons import PrivateLocation, until
from tests.support.line import private_location, sleeper
from tests.support.tmux import Tmux, has_tmux
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


@pytest.mark.skipif(not has_tmux(), reason="there is no tmux here to be a terminal")
def test_top_is_live_on_a_terminal_and_leaves_it_as_it_was(tf: Typed, web: Container) -> None:
    with Tmux(tf.environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}, columns=160) as screen:
        screen.type("tf top -d 0.2; echo left=$?")
        screen.until(r"ID +IMAGE +TAG")
        screen.until(rf"{web.uuid} .* web +ready")
        web.destroy()
        screen.until(r"local as local: 1 nodes?, .* free.*\n *ID +IMAGE[^\n]*\n\s*$")
        screen.press("C-c")
        screen.until(r"left=0")
        assert "IMAGE" not in screen.screen, "the screen is what it was before"


# --- completion


def test_the_names_of_what_there_is_are_completed(tf: Typed, web: Container, tmp_path: Path) -> None:
    def candidates(line: str) -> list[str]:
        """As a shell asks for them (argcomplete)."""
        answer = tmp_path / "answer"
        asking = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_IFS": "|"}
        asking |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "COMP_LINE": line, "COMP_POINT": str(len(line))}
        tf(line.split(maxsplit=1)[0], env=asking)
        return answer.read_text().split("|")

    volume = web.node.create_volume(tag="shop-data")
    assert candidates("tf exec we") == ["web "]
    assert candidates("tf logs --tail 3 w") == ["web "]
    assert candidates("tfvolumes destroy sh") == ["shop-data "]
    volume.destroy()


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


def test_of_a_visitor_that_is_killed_nothing_stays(tf: Typed, web: Container) -> None:
    visitor = tf.started("exec", "web", "sleep", "12345")
    until(lambda: web.status().processes == 2, "the command to run")
    visitor.kill()
    visitor.communicate(timeout=SECONDS)
    until(lambda: web.status().processes == 1, "the command to be gone")


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


def test_logs_are_followed_over_a_rollback(tf: Typed, talker: Container) -> None:
    talker.snapshot("before")
    following = tf.started("logs", "-f", "talker")
    assert following.stdout is not None
    seen = b""
    for lives in (1, 2):
        while seen.count(b"up\n") < lives:
            piece = following.stdout.read1()
            assert piece, "it has ended"
            seen += piece
        talker.put("/trace", "")
        talker.rollback("before")
    following.terminate()
    following.communicate(timeout=SECONDS)


# --- tf cp


def test_cp_copies_files_both_ways(tf: Typed, web: Container, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_bytes(b"\0hello")
    page.chmod(0o640)
    tf("cp", str(page), "web:/srv/www/")
    assert (web.fetch("/srv/www/page"), web.stat("/srv/www/page").mode) == (b"\0hello", 0o640)
    tf("cp", str(page), f"{web.uuid}:/srv/www")
    tf("cp", "-", "web:srv/other", stdin=b"typed")
    assert web.fetch("/srv/other") == b"typed"
    assert tf("cp", "web:/srv/other", "-").stdout == "typed"
    tf("cp", "web:/srv/www/page", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == b"\0hello"


def test_cp_copies_trees_both_ways(tf: Typed, web: Container, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "css").mkdir(parents=True)
    (site / "css" / "main.css").write_text("x")
    (site / "index.html").symlink_to("css/main.css")
    tf("cp", str(site), "web:/srv/new")
    tf("cp", str(site), "web:/srv/new")
    tf("cp", f"{site}/.", "web:/srv/flat/er")
    names = {top: [file.name for file in web.list(f"/srv/{top}")] for top in ("new", "new/site", "flat/er", "new/css")}
    assert names == {
        "new": ["css", "index.html", "site"],
        "new/site": ["css", "index.html"],
        "flat/er": ["css", "index.html"],
        "new/css": ["main.css"],
    }
    tf("cp", "web:/srv/flat/er", str(tmp_path / "out"))
    assert (tmp_path / "out" / "index.html").read_text() == "x"
    tf("cp", "web:/srv/flat/er", str(tmp_path / "out" / "css"))
    assert (tmp_path / "out" / "css" / "er" / "index.html").is_symlink()


def test_cp_writes_nothing_but_where_it_was_told(tf: Typed, web: Container, tmp_path: Path) -> None:
    web.run_process("mkdir /srv/evil; ln -s /etc /srv/evil/etc; echo 1 > /srv/evil/fine")
    assert "leads out of the tree" in tf("cp", "web:/srv/evil", str(tmp_path / "tree"), status=1).stderr
    assert not (tmp_path / "tree").exists()
    tf("cp", "--skip-links-out", "web:/srv/evil", str(tmp_path / "tree"))
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["fine"]


def test_cp_says_what_is_wrong(tf: Typed, web: Container, tmp_path: Path) -> None:
    assert "usage: tf cp" in tf("cp", "a", "b", status=2).stderr
    assert "usage: tf cp" in tf("cp", "web:/a", "web:/b", status=2).stderr
    missing = str(tmp_path / "missing")
    assert f"tf cp: {missing}: No such file or directory" in tf("cp", missing, "web:/x", status=1).stderr
    assert "/nothing" in tf("cp", "web:/nothing", missing, status=1).stderr
    assert "no container 'db'" in tf("cp", "db:/x", missing, status=1).stderr

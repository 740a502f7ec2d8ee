"""A program in front of crun that fails on purpose at one step: the error carries its words, nothing is left, and the next
attempt works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.runtime_machine import RuntimeMachine, needs_crun
from tfcore.errors import BadRequest, CommandFailed, DeadlineExceeded, NotFound
from tfnode.runtime import oci
from tfnode.runtime.interface import Bind, Command, Exit, Phase, Stdio
from tfnode.testing.runtime_play import SECONDS, Playground

pytestmark = needs_crun

IN_FRONT = """#!/bin/sh
verb=$(cat "$0.verb" 2>/dev/null)
case " $* " in
*" $verb "*)
    rm "$0.verb"
    real="$(cat "$0.how")"
    case "$real" in
    after*) crun "$@" ;;
    esac
    case "$real" in
    *hang) exec sleep 1000 ;;
    esac
    while [ "$1" != --log ]; do shift; done
    echo '{"msg":"on purpose","level":"error"}' > "$2"
    exit 1 ;;
esac
exec crun "$@"
"""


class TestCrunFails(RuntimeMachine):
    def find_program(self, scratch: Path) -> Path:
        program = scratch / "crun-that-fails"
        program.write_text(IN_FRONT)
        program.chmod(0o755)
        return program

    @pytest.fixture
    def fail(self, scratch: Path):
        """Let the next command of that name fail: at once, after it has been done, or hang."""

        def fail(verb: str, how: str) -> None:
            (scratch / "crun-that-fails.how").write_text(how)
            (scratch / "crun-that-fails.verb").write_text(verb)

        return fail

    @pytest.mark.parametrize("how", ["before", "after"])
    def test_a_container_that_could_not_be_made_is_gone(self, play: Playground, fail, how: str, tmp_path: Path) -> None:
        fail("create", how)
        with pytest.raises(CommandFailed, match="create of container c1: on purpose"):
            play.runtime.create(play.spec("c1", binds=(Bind(tmp_path, "/data"),)), Stdio())
        assert play.template.group.child("c1").pids() == frozenset()
        with pytest.raises(NotFound):
            play.runtime.state("c1")
        play.run("c1", "true")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=0)

    @pytest.mark.parametrize("how", ["before hang", "after hang"])
    def test_one_that_takes_for_ever_is_given_up(
        self, play: Playground, fail, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(oci, "TIMEOUT", 0.3)
        fail("create", how)
        with pytest.raises(DeadlineExceeded, match=r"create of container c1 took more than 0\.3 s"):
            play.runtime.create(play.spec("c1"), Stdio())
        assert play.template.group.child("c1").pids() == frozenset()
        monkeypatch.undo()
        play.run("c1", "true")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=0)

    def test_a_failed_command_leaves_the_container_as_it_was(self, running: Playground, fail) -> None:
        fail("exec", "before")
        with pytest.raises(CommandFailed, match="exec of container c1: on purpose"):
            running.runtime.exec("c1", Command(("true",)), Stdio())
        assert running.ask("echo works").words == "works"

    def test_a_command_started_by_a_runtime_that_then_failed_dies_with_the_container(
        self, running: Playground, fail
    ) -> None:
        fail("exec", "after")
        with pytest.raises(CommandFailed):
            running.runtime.exec("c1", Command(("sleep", "1000")), Stdio())
        running.runtime.delete("c1")
        assert running.template.group.pids() == frozenset()

    @pytest.mark.parametrize("how", ["before", "after"])
    def test_a_container_that_could_not_be_deleted_can_be_deleted_again(
        self, running: Playground, fail, how: str
    ) -> None:
        fail("delete", how)
        with pytest.raises(CommandFailed, match="on purpose"):
            running.runtime.delete("c1")
        assert running.runtime.state("c1").phase is Phase.ENDED
        running.runtime.delete("c1")
        with pytest.raises(NotFound):
            running.runtime.state("c1")

    def test_where_the_fifo_is_none_crun_starts_the_container_itself(self, play: Playground, scratch: Path) -> None:
        ends = play.create(play.spec("c1", "echo", "awake"))
        directory = scratch / "runtime/state/c1"
        (directory / "exec.fifo").rename(directory / "elsewhere")
        (directory / "exec.fifo").symlink_to("elsewhere")  # which crun follows and we do not
        play.runtime.start("c1")
        assert ends.line() == b"awake\n"

    def test_a_root_that_the_containers_root_cannot_walk_to_is_refused_before_crun_is_asked(
        self, play: Playground, scratch: Path
    ) -> None:
        scratch.chmod(0o700)
        with pytest.raises(BadRequest, match=f"cannot walk through {scratch}") as caught:
            play.runtime.create(play.spec("c1"), Stdio())
        assert caught.value.hint == f"chmod o+x {scratch}"

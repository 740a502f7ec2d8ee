"""What every runtime promises, tried with real processes in a real, small root file system.

A test file of a runtime is a class that inherits `RuntimeSuite` and overrides three fixtures: `runtime`, `rootfs` (a
mounted root with a shell, the usual small programs and the users `root` and `web`, 101:101, also in `extra`, 500, home
/srv/web; all owned by the sandbox's root) and `group` (where the containers' own groups are made). What a machine cannot
limit is not asked for: the group says what it can.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tfcore.errors import BadRequest, CommandFailed, DeadlineExceeded, NotFound, WrongState
from tfnode.runtime.interface import (
    Command,
    Exit,
    Phase,
    Runtime,
    Stdio,
)
from tfnode.runtime.launch import DEFAULT_PATH
from tfnode.testing.runtime_guards import GuardSuite, LimitSuite, MountSuite
from tfnode.testing.runtime_play import DOCKERS_CAPABILITIES, ENV, FOREVER, SECONDS, Fixtures, Playground, Ran
from tfnode.testing.runtime_terminals import TerminalSuite


class LifeSuite(Fixtures):
    """Containers begin, run and end as `Runtime` tells."""

    def test_a_main_process_runs_with_its_output_apart_and_its_own_exit_code(self, play: Playground) -> None:
        ends = play.run("c1", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=7)
        assert (ends.output(), ends.complaints()) == ("out\n", "err\n")
        assert play.runtime.state("c1").exit == Exit(code=7)

    def test_a_killed_main_process_says_by_which_signal(self, running: Playground) -> None:
        running.runtime.signal("c1", signal.SIGKILL)
        assert running.runtime.wait("c1", SECONDS) == Exit(signal=signal.SIGKILL)

    def test_a_main_process_gets_the_signals_it_has_handlers_for(self, play: Playground) -> None:
        ends = play.run("c1", "sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done")
        assert ends.line() == b"ready\n"
        play.runtime.signal("c1", signal.SIGTERM)
        assert play.runtime.wait("c1", SECONDS) == Exit(code=3)
        assert ends.output() == "bye\n"

    def test_the_end_is_told_once_and_can_be_asked_for_as_often_as_wanted(self, play: Playground) -> None:
        ends = play.run("c1", "sh", "-c", "exit 5")
        assert [play.runtime.wait("c1", SECONDS) for _ in range(3)] == [Exit(code=5)] * 3
        assert ends.over.wait(SECONDS)
        play.runtime.delete("c1")
        assert ends.told == [Exit(code=5)]

    def test_deleting_tells_about_the_end_too(self, running: Playground) -> None:
        process, ends = running.begin("c1", *FOREVER)
        running.runtime.delete("c1")
        assert ends.over.wait(SECONDS)
        assert running.runtime.wait(process, SECONDS).signal == signal.SIGKILL

    def test_phases_follow_one_another(self, play: Playground) -> None:
        ends = play.create(play.spec("c1", "cat"))
        assert play.runtime.state("c1").phase is Phase.CREATED
        play.runtime.start("c1")
        assert play.runtime.state("c1").phase is Phase.RUNNING
        ends.hang_up()
        play.runtime.wait("c1", SECONDS)
        assert play.runtime.state("c1").phase is Phase.ENDED

    def test_waiting_has_an_end(self, running: Playground) -> None:
        with pytest.raises(DeadlineExceeded, match=r"c1.*still alive"):
            running.runtime.wait("c1", 0.01)

    def test_an_ended_container_takes_no_signal_no_start_and_no_command(self, play: Playground) -> None:
        play.run("c1", "true")
        play.runtime.wait("c1", SECONDS)
        for attempt in (
            lambda: play.runtime.signal("c1", signal.SIGTERM),
            lambda: play.runtime.start("c1"),
            lambda: play.runtime.exec("c1", Command(("true",)), Stdio()),
        ):
            with pytest.raises(WrongState, match="ended"):
                attempt()

    def test_starting_twice_is_refused(self, running: Playground) -> None:
        with pytest.raises(WrongState, match="running"):
            running.runtime.start("c1")

    def test_an_id_is_used_once_at_a_time(self, running: Playground) -> None:
        with pytest.raises(WrongState, match="already"):
            running.runtime.create(running.spec("c1"), Stdio())
        running.runtime.delete("c1")
        running.run("c1", "true")
        assert running.runtime.wait("c1", SECONDS) == Exit(code=0)

    def test_of_an_unknown_container_nothing_is_known_but_that_it_is_gone(self, runtime: Runtime) -> None:
        runtime.delete("nobody")
        for attempt in (
            lambda: runtime.state("nobody"),
            lambda: runtime.start("nobody"),
            lambda: runtime.signal("nobody", signal.SIGTERM),
            lambda: runtime.wait("nobody", 1),
            lambda: runtime.exec("nobody", Command(("true",)), Stdio()),
        ):
            with pytest.raises(NotFound, match="nobody"):
                attempt()

    def test_the_end_of_the_main_process_is_the_end_of_all(self, play: Playground) -> None:
        ends = play.run("c1", "cat")
        process, _ = play.begin("c1", *FOREVER)
        ends.hang_up()
        assert play.runtime.wait(process, SECONDS) == Exit(signal=signal.SIGKILL)
        assert play.runtime.wait("c1", SECONDS) == Exit(code=0)

    def test_deleting_ends_whatever_runs_and_leaves_no_group(self, running: Playground) -> None:
        group = running.template.group.child("c1")
        running.ask("exec 3>&1 >&- 2>&-; sleep 1000 3>&- & (trap '' TERM HUP; sleep 1000) 3>&- & echo >&3")
        assert len(group.pids()) >= 3
        running.runtime.delete("c1")
        assert group.pids() == frozenset()
        running.runtime.delete("c1")

    def test_a_frozen_container_takes_no_command_and_can_be_deleted(self, running: Playground) -> None:
        group = running.template.group.child("c1")
        group.freeze()
        with pytest.raises(WrongState, match="frozen"):
            running.runtime.exec("c1", Command(("true",)), Stdio())
        running.runtime.delete("c1")
        assert group.pids() == frozenset()

    def test_a_container_in_a_frozen_generation_takes_no_command(self, running: Playground) -> None:
        generation = running.template.group
        generation.freeze()
        try:
            with pytest.raises(WrongState, match="frozen"):
                running.runtime.exec("c1", Command(("true",)), Stdio())
        finally:
            generation.thaw()

    def test_a_container_goes_on_where_it_was_frozen(self, play: Playground) -> None:
        group = play.template.group.child("c1")
        ends = play.run("c1", "cat")
        group.freeze()
        ends.say(b"after\n")
        group.thaw()
        assert ends.line() == b"after\n"

    def test_many_at_once_do_not_mix(self, play: Playground) -> None:
        def one(number: int) -> tuple[Exit, str]:
            ends = play.run(f"m{number}", "sh", "-c", f"echo {number}; exit {number}")
            return play.runtime.wait(f"m{number}", SECONDS), ends.output()

        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(one, range(1, 7)))
        assert found == [(Exit(code=number), f"{number}\n") for number in range(1, 7)]


class AsleepSuite(Fixtures):
    """A container without its main process."""

    def test_an_asleep_container_has_not_begun(self, play: Playground) -> None:
        play.create(play.spec("c1", "sh", "-c", "echo begun > /begun; sleep 1000"))
        assert play.ask("ls /begun; test -d /proc/1").exit == Exit(code=0)
        assert play.ask("test -e /begun").exit == Exit(code=1)

    def test_commands_run_in_it_and_stay_when_it_wakes(self, play: Playground) -> None:
        ends = play.create(play.spec("c1", "sh", "-c", "echo awake; cat"))
        process, before = play.talk("c1", "cat")
        play.runtime.start("c1")
        assert ends.line() == b"awake\n"
        before.say(b"still here\n")
        assert before.line() == b"still here\n"
        before.hang_up()
        assert play.runtime.wait(process, SECONDS) == Exit(code=0)

    def test_it_is_guarded_like_a_running_one(self, play: Playground) -> None:
        play.create(play.spec("c1"))
        status = play.ask("grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status").words.split()
        assert status == ["CapEff:", DOCKERS_CAPABILITIES, "NoNewPrivs:", "1", "Seccomp:", "2"]

    def test_it_can_be_deleted_without_ever_waking(self, play: Playground) -> None:
        ends = play.create(play.spec("c1"))
        play.runtime.delete("c1")
        assert ends.over.wait(SECONDS)
        assert ends.output() == ""

    def test_a_frozen_one_is_not_woken_until_it_is_thawed(self, play: Playground) -> None:
        ends = play.create(play.spec("c1", "echo", "awake"))
        group = play.template.group.child("c1")
        group.freeze()
        with pytest.raises(WrongState, match="frozen"):
            play.runtime.start("c1")
        group.thaw()
        play.runtime.start("c1")
        assert ends.line() == b"awake\n"


class CommandSuite(Fixtures):
    """Commands beside the main process."""

    def test_a_command_has_its_own_output_and_exit_code(self, running: Playground) -> None:
        ran = running.ask("echo out; echo err >&2; exit 7")
        assert ran == Ran(Exit(code=7), "out\n", "err\n")

    def test_a_command_reads_its_stdin_to_the_end(self, running: Playground) -> None:
        process, ends = running.talk("c1", "cat")
        ends.say(b"one\n")
        assert ends.line() == b"one\n"
        ends.say(b"two")
        ends.hang_up()
        assert running.runtime.wait(process, SECONDS) == Exit(code=0)
        assert ends.output() == "two"

    def test_without_stdin_there_is_nothing_to_read(self, running: Playground) -> None:
        process = running.runtime.exec("c1", Command(("cat",)), Stdio())
        assert running.runtime.wait(process, SECONDS) == Exit(code=0)

    def test_a_command_has_the_containers_environment_and_its_own(self, play: Playground) -> None:
        play.run("c1", *FOREVER, env=(*ENV, ("A", "image"), ("B", "image")))
        words = play.exec("c1", "env", env=(("B", "mine"), ("C", "x=y z"))).words.splitlines()
        assert {"A=image", "B=mine", "C=x=y z", "HOME=/root", "HOSTNAME=c1"} <= set(words)

    def test_a_command_runs_where_and_as_whom_it_is_wanted(self, running: Playground) -> None:
        words = running.exec("c1", "sh", "-c", "pwd; id -u; id -g; id -G; echo $HOME", user="web", workdir="/srv").words
        assert words.split("\n") == ["/srv", "101", "101", "101 500", "/srv/web"]

    def test_a_command_is_in_the_containers_group(self, running: Playground) -> None:
        process, _ = running.begin("c1", *FOREVER)
        assert process.pid in running.template.group.child("c1").pids()
        running.runtime.signal(process, signal.SIGTERM)
        assert running.runtime.wait(process, SECONDS) == Exit(signal=signal.SIGTERM)

    def test_a_command_is_in_a_session_with_nobody_but_what_it_starts(self, running: Playground) -> None:
        first, ends = running.talk("c1", "sh", "-c", "sleep 1000 & echo $!; cat")
        ends.line()
        other, _ = running.begin("c1", *FOREVER)
        mine = {pid for pid in running.template.group.child("c1").pids() if os.getsid(pid) == os.getsid(first.pid)}
        assert len(mine) == 3, mine  # with `cat`
        assert other.pid not in mine
        assert os.getsid(first.pid) != os.getsid(0)
        main = running.runtime.state("c1").pid
        assert main not in mine

    def test_an_ended_command_takes_no_signal(self, running: Playground) -> None:
        process, _ = running.begin("c1", "true")
        running.runtime.wait(process, SECONDS)
        with pytest.raises(WrongState, match="ended"):
            running.runtime.signal(process, signal.SIGTERM)

    def test_what_a_command_left_running_goes_on(self, running: Playground) -> None:
        running.ask("sleep 1000 > /dev/null 2>&1 & echo $! > /left")
        assert running.ask("kill -0 $(cat /left)").exit == Exit(code=0)

    def test_a_program_that_does_not_exist_is_named(self, running: Playground) -> None:
        with pytest.raises(CommandFailed, match="no-such-program"):
            running.runtime.exec("c1", Command(("no-such-program",)), Stdio())

    @pytest.mark.parametrize("command", [Command(()), Command(("true",), env=(("A=B", "x"),)), Command(("a\0b",))])
    def test_a_command_that_cannot_be_is_refused(self, running: Playground, command: Command) -> None:
        with pytest.raises(BadRequest):
            running.runtime.exec("c1", command, Stdio())

    def test_commands_at_once_do_not_mix(self, running: Playground) -> None:
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda number: running.ask(f"echo {number}; exit {number}"), range(6)))
        assert found == [Ran(Exit(code=number), f"{number}\n", "") for number in range(6)]


class ImageSuite(Fixtures):
    """What an image says about its processes."""

    def test_the_environment_is_complete(self, play: Playground) -> None:
        ends = play.run("c1", "env", hostname="given", env=(("PATH", DEFAULT_PATH), ("A", "1")))
        play.runtime.wait("c1", SECONDS)
        assert sorted(ends.output().split()) == ["A=1", "HOME=/root", "HOSTNAME=given", f"PATH={DEFAULT_PATH}"]

    def test_the_host_name_is_the_containers(self, play: Playground) -> None:
        ends = play.run("c1", "hostname", hostname="db")
        assert ends.line() == b"db\n"

    def test_a_missing_working_directory_is_made(self, play: Playground) -> None:
        ends = play.run("c1", "sh", "-c", "pwd; stat -c %u:%g .", workdir="/made/for/it")
        play.runtime.wait("c1", SECONDS)
        assert ends.output() == "/made/for/it\n0:0\n"

    @pytest.mark.parametrize(
        ("user", "ids"),
        [
            ("", "0 0 0 /root"),
            ("web", "101 101 101 500 /srv/web"),
            ("101", "101 101 101 500 /srv/web"),
            ("web:root", "101 0 0 /srv/web"),
            ("4711", "4711 0 0 /"),
            ("4711:4712", "4711 4712 4712 /"),
        ],
    )
    def test_a_user_is_found_by_name_or_id(self, play: Playground, user: str, ids: str) -> None:
        ends = play.run("c1", "sh", "-c", "echo $(id -u) $(id -G) $HOME", user=user)
        uid, rest = ids.split(" ", 1)
        assert ends.line().decode().strip() == f"{uid} {rest.split(' ', 1)[1]}"

    @pytest.mark.parametrize("user", ["nobody-here", "web:nothing", "70000"])
    def test_a_user_that_does_not_exist_is_refused_and_nothing_is_left(self, play: Playground, user: str) -> None:
        with pytest.raises(BadRequest):
            play.runtime.create(play.spec("c1", user=user), Stdio())
        with pytest.raises(NotFound):
            play.runtime.state("c1")

    def test_account_files_are_the_containers_own_even_by_a_link(self, play: Playground, rootfs: Path) -> None:
        (rootfs / "etc/passwd").unlink()
        (rootfs / "etc/passwd").symlink_to("/etc/real")
        (rootfs / "etc/real").write_text("inside:x:77:78::/there:/bin/sh\n")
        ends = play.run("c1", "id", "-u", user="inside")
        assert ends.line() == b"77\n"

    def test_a_main_process_of_any_user_may_open_its_output_anew(self, play: Playground) -> None:
        ends = play.run("c1", "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr", user="web")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=0)
        assert (ends.output(), ends.complaints()) == ("out\n", "err\n")

    def test_a_shell_as_main_process_stays_and_can_be_talked_to(self, play: Playground) -> None:
        ends = play.run("c1", "sh")
        ends.say(b"echo one\n")
        assert ends.line() == b"one\n"
        ends.say(b"echo two\nexit 4\n")
        assert ends.line() == b"two\n"
        assert play.runtime.wait("c1", SECONDS) == Exit(code=4)

    def test_a_program_that_does_not_exist_is_named_and_nothing_is_left(self, play: Playground) -> None:
        with pytest.raises(CommandFailed, match="no-such-program"):
            play.runtime.create(play.spec("c1", "no-such-program"), Stdio())
        with pytest.raises(NotFound):
            play.runtime.state("c1")
        play.run("c1", "true")
        assert play.runtime.wait("c1", SECONDS) == Exit(code=0)


class RuntimeSuite(LifeSuite, AsleepSuite, CommandSuite, TerminalSuite, ImageSuite, MountSuite, GuardSuite, LimitSuite):
    """All of it."""

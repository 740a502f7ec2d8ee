"""Completion in the real shells: what a person types, a tab, and what stands there then."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tfcore.keys import generate
from tfnz import accounts, commands
from tfnz.commands import candidates, completion

SHARE = Path(__file__).parents[2] / "share"
BIN = Path(sys.executable).parent
SECONDS = 60.0
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")

needs_bash = pytest.mark.skipif(not BASH_COMPLETION.exists(), reason="no bash-completion here")
needs_zsh = pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
needs_fish = pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's accounts and start-up files but the test's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TF_HOME", str(tmp_path / ".20ft"))
    monkeypatch.setenv("TF_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("XDG_DATA_DIRS", str(SHARE))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    accounts.store("tiny.test", keys=generate(), address="tiny.test", server_key=generate().public)
    return tmp_path


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def until(self, words: str) -> None:
        """Wait until this stands on the terminal."""
        deadline = time.monotonic() + SECONDS
        while words not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"waited for {words!r}, and saw {self.seen!r}"
            if select.select([self._descriptor], [], [], left)[0]:
                self._see(os.read(self._descriptor, 4096).decode(errors="replace"))

    def _see(self, written: str) -> None:
        """As it stands: a backspace goes back."""
        for letter in written.replace("\x07", ""):
            self.seen = self.seen[:-1] if letter == "\b" else self.seen + letter


@contextmanager
def shell(*argv: str) -> Iterator[Shell]:
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execvp(argv[0], argv)
    try:
        yield Shell(descriptor)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(descriptor)


def complete_in(shell: Shell) -> None:
    """A command, a verb, a location, an option; each completed to the end since there is only one way."""
    for typed, stands in (
        ("tf volu\t", "tf volumes "),
        ("cre\t", "volumes create "),
        ("--node rack1 --sy\t", "--sync "),
        ("--location ti\t", "--location tiny.test"),
    ):
        shell.type(typed)
        shell.until(stands)
    shell.type("\x15tflocations sel\t")
    shell.until("tflocations select ")


@needs_bash
@pytest.mark.parametrize("how", ["installed", "evaluated"])
def test_bash(how: str, home: Path) -> None:
    load = f". {BASH_COMPLETION}" if how == "installed" else 'eval "$(tf completion bash)"'
    (home / "rc").write_text(f"{load}\nPS1='ready> '\nbind 'set enable-bracketed-paste off'\n")
    with shell("bash", "--rcfile", str(home / "rc"), "-i") as bash:
        bash.until("ready> ")
        complete_in(bash)


@needs_zsh
@pytest.mark.parametrize("how", ["installed", "evaluated"])
def test_zsh(how: str, home: Path) -> None:
    installed = f"fpath=({SHARE}/zsh/site-functions $fpath)\nautoload -U compinit; compinit -u\n"
    evaluated = 'autoload -U compinit; compinit -u\neval "$(tf completion zsh)"\n'
    (home / ".zshrc").write_text(
        (installed if how == "installed" else evaluated) + "PS1='ready> '\nunset zle_bracketed_paste\n"
    )
    with shell("zsh", "-i") as zsh:
        zsh.until("ready> ")
        complete_in(zsh)


@needs_fish
def test_fish() -> None:
    def offered(line: str) -> list[str]:
        command = ["fish", "--private", "-c", f"complete -C {line!r}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)
        return [one.split("\t")[0] for one in done.stdout.split("\n") if one]

    assert offered("tf volu") == ["volumes"]
    assert offered("tf volumes cre") == ["create"]
    assert offered("tfnz ps --location ti") == ["tiny.test"]
    assert {"list", "select"} <= set(offered("tflocations "))


def test_every_program_is_completed_in_every_shell() -> None:
    programs = {*completion.PROGRAMS, *commands.SCRIPTS}
    assert {path.name for path in (SHARE / "bash-completion" / "completions").iterdir()} == programs
    assert {path.stem for path in (SHARE / "fish" / "vendor_completions.d").iterdir()} == programs
    first = (SHARE / "zsh" / "site-functions" / "_tf").read_text().splitlines()[0]
    assert set(first.split()[1:]) == programs


def test_a_private_location_is_not_started_to_complete(home: Path) -> None:
    assert candidates.BY_METAVAR["CONTAINER"](parsed_args=None) == []
    assert not (home / "local").exists()


def test_a_location_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it matter what goes wrong."""
    accounts.set_default("tiny.test")
    begun = time.monotonic()
    assert candidates.BY_METAVAR["KEY"]() == []
    assert time.monotonic() - begun < SECONDS / 2

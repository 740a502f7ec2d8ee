"""`tf` and its other names: finds the command, runs it, turns errors into words and exit codes.

`tf COMMAND …` is that command; `tf SOURCE …` without one is `tf run SOURCE …`. Loads the one command that is wanted.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence

from tfcore import VERSION
from tfcore.errors import TfError
from tfnz import commands
from tfnz.commands import completion, exits, options
from tfnz.commands.command import Command
from tfnz.ending import Ended

EXAMPLES = (
    ("tf --browser nginx", "run an image until Ctrl-C, and open a browser onto it"),
    ("tf -ti debian bash", "a shell in one"),
    ("tf ps", "what runs, in all your terminals and test suites"),
    ("tf account accept INVITATION", "take the account an operator has made (tf-location account add NAME)"),
    ("tf account list", "the locations you have an account for"),
    ("tf cache nginx", "have an image in the location's cache"),
    ("tf snapshots list", "what your account keeps there beyond its sessions"),
    ("tf resume ID", "look into what a failed test has left (pytest --tf-keep=failed)"),
    ("tf doctor", "what works here and what is missing"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """`tf`; returns its exit code."""
    return ended("tf", lambda: _tf("tf", _words(argv)))


def tfnz(argv: Sequence[str] | None = None) -> int:
    """`tfnz`, its second name; `tfnz LOCATION INVITATION` takes up an account (seed SDK, C15)."""
    return ended("tfnz", lambda: _tfnz(_words(argv)))


def _script(name: str) -> Callable[[], int]:
    """A console script of `commands.SCRIPTS`."""
    return lambda: ended(name, lambda: carry_out(commands.scripted(name), name, _words(None)))


tfcache = _script("tfcache")
tfdescribe = _script("tfdescribe")
tfvolumes = _script("tfvolumes")
tflocations = _script("tflocations")
tfresources = _script("tfresources")
tfacctbak = _script("tfacctbak")


def ended(program: str, do: Callable[[], int]) -> int:
    """Do it, and say why if it fails; returns the exit code. Asked by a shell for candidates, it answers that instead."""
    if completion.is_asked():
        completion.answer(program)
    try:
        code = do()
        sys.stdout.flush()
    except TfError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return exits.code_of(error)
    except exits.Stopped as stopped:
        print(f"{program}: {stopped}", file=sys.stderr)
        return stopped.code
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except Ended as signalled:
        return signalled.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is flushed into it at the end
        return exits.PIPE
    return code


def carry_out(command: Command, program: str, words: Sequence[str]) -> int:
    """Run a command with these arguments; returns its exit code.

    Args:
        program: how it was called, for its help.
    """
    given = command.parser(program).parse_args(words)
    if given.run is None:  # a verb is missing
        given.parser.print_help(sys.stderr)
        return exits.USAGE
    code: int = given.run(given)
    return code


def _words(argv: Sequence[str] | None) -> list[str]:
    return list(sys.argv[1:] if argv is None else argv)


def _tfnz(words: list[str]) -> int:
    from tfnz.commands import account

    if len(words) == 2 and words[0] not in commands.NAMES and account.is_invitation(words[1]):
        return account.accept_invitation(words[1], location=words[0])
    return _tf("tfnz", words)


def _tf(program: str, words: list[str]) -> int:
    if not words:
        print(overview(program), file=sys.stderr)
        return exits.USAGE
    if words[0] in ("-h", "--help"):
        print(overview(program))
        return exits.OK
    if words[0] == "--version":
        print(f"{program} {VERSION}")
        return exits.OK
    words = command_first(words)
    if words[0] in commands.NAMES:
        return carry_out(commands.find(words[0]), f"{program} {words[0]}", words[1:])
    return carry_out(commands.find(commands.DEFAULT), program, words)


USAGES = ("COMMAND [ARGUMENTS]", "[OPTIONS] SOURCE [COMMAND]")
ABOUT = """
Runs containers at 20ft locations and looks after what you have there. A location is a cluster that somebody runs for
you and your colleagues, or the private one on this machine, `local`, which is there without any set-up.

Where the first word is no command, it is the SOURCE of a container: `tf nginx` is `tf run nginx`.
"""
WIDTH = 96


def command_first(words: list[str]) -> list[str]:
    """Options that many commands have may stand before the command: `tf --location lab ps` is `tf ps --location lab`."""
    rest = list(words)
    leading: list[str] = []
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        leading.append(option)
        if option in options.VALUED and rest:
            leading.append(rest.pop(0))
        elif option.partition("=")[0] not in options.VALUED and option not in options.FLAGS:
            return words  # an option of `tf run`
    if not rest or rest[0] not in commands.NAMES:
        return words
    called, verbs = [rest.pop(0)], commands.find(words[len(leading)]).verbs
    while rest and (verb := next((verb for verb in verbs if verb.name == rest[0]), None)):
        called.append(rest.pop(0))
        verbs = verb.verbs
    return [*called, *leading, *rest]


def overview(program: str) -> str:
    """What `tf --help` prints."""
    usages = [f"{program} {rest}" for rest in USAGES]
    lines = [f"usage: {usages[0]}", *(f"       {usage}" for usage in usages[1:]), ""]
    lines += [textwrap.fill(" ".join(part.split()), WIDTH) + "\n" for part in ABOUT.strip().split("\n\n")]
    lines[-1] = lines[-1].rstrip()
    for title, names in commands.GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<11} {commands.find(name).summary}" for name in names)]
    wide = max(len(typed) for typed, _ in EXAMPLES)
    lines += ["", "examples:", *(f"  {typed.ljust(wide)}   {does}" for typed, does in EXAMPLES)]
    lines += ["", f"{program} COMMAND --help and man tf-COMMAND say more; {program} --version tells the version."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

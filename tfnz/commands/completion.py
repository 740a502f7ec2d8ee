"""`tf completion`: what a shell needs to complete our commands, and the answers to what it asks then (argcomplete)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from tfnz import commands
from tfnz.commands import candidates, exits
from tfnz.commands.command import Command

ASKING = "_ARGCOMPLETE"
"""The variable by which a shell says that it asks for candidates."""

SHELLS = ("bash", "zsh", "fish")
PROGRAMS = ("tf", "tfnz")


def is_asked() -> bool:
    """True if this process was started by a shell for its candidates."""
    return ASKING in os.environ


def answer(program: str) -> None:
    """Answer the shell that completes a line of `program`, and end the process."""
    import argcomplete

    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT") or 0)]
    parser = parser_for(program, line.split()[1:], finished=line[-1:].isspace())
    candidates.attach(parser)
    argcomplete.autocomplete(parser)


def parser_for(program: str, words: Sequence[str], *, finished: bool) -> argparse.ArgumentParser:
    """A parser for what is being typed.

    Args:
        words: those after the program's name.
        finished: the last of them is complete.
    """
    if program in commands.SCRIPTS:
        return commands.scripted(program).parser(program)
    first = words[0] if words and (finished or len(words) > 1) else ""
    if first and first not in commands.NAMES:
        return commands.find(commands.DEFAULT).parser(program)
    parser = argparse.ArgumentParser(prog=program)
    below = parser.add_subparsers(metavar="COMMAND")
    for name in [first] if first in commands.NAMES else commands.NAMES:
        command = commands.find(name)
        command.fill(below.add_parser(name, help=command.summary), f"{program} {name}")
    return parser


def _completion(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode([*PROGRAMS, *commands.SCRIPTS], shell=options.shell))
    return exits.OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


COMMAND = Command(
    name="completion",
    summary="print what a shell needs to complete these commands",
    description="""
Prints a program for the shell named. Where the package was installed below a prefix that the shell looks at (/usr,
/usr/local, ~/.local for bash and fish), completion works by itself; otherwise the lines below belong into the shell's
own start-up file. It completes commands, options, locations, containers, volumes, images and kept snapshots; those of
a location are asked for if that answers soon. A private location is not started for it.
""",
    run=_completion,
    arguments=_arguments,
    examples=(
        ('eval "$(tf completion bash)"', "in ~/.bashrc"),
        ('eval "$(tf completion zsh)"', "in ~/.zshrc, after compinit"),
        ("tf completion fish | source", "in ~/.config/fish/config.fish"),
    ),
)

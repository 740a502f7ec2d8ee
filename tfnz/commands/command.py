"""What a command is: the one description that its help, its man page and its completion are made from.

Knows argparse and no command in particular.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tfnz.commands import exits, options

WIDTH = 96
"""Columns of a help text, where the terminal has as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command, or one of the verbs of a command.

    Attributes:
        name: the word it is called by.
        summary: one line for lists of commands, in lower case and without a full stop.
        description: what it does, in paragraphs.
        run: does it; returns the exit code. None for a command that has verbs instead.
        arguments: adds its own arguments to a parser.
        common: which of the options that many commands have it has: "where", "json", "noise".
        examples: (what to type, what that does).
        verbs: the commands below it.
        exits: (code, what it means) beyond those of `exits.MEANINGS`.
        see_also: names of man pages.
    """

    name: str
    summary: str
    description: str
    run: Callable[[argparse.Namespace], int] | None = None
    arguments: Callable[[argparse.ArgumentParser], None] = lambda _parser: None
    common: tuple[options.Common, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    verbs: tuple[Command, ...] = ()
    exits: tuple[tuple[str, str], ...] = ()
    see_also: tuple[str, ...] = ()

    def parser(self, program: str) -> argparse.ArgumentParser:
        """A parser that knows everything about it.

        Args:
            program: how it is called: `tf volumes`, `tfvolumes`.
        """
        parser = argparse.ArgumentParser(prog=program, formatter_class=_Formatter)
        self.fill(parser, program)
        return parser

    def fill(self, parser: argparse.ArgumentParser, program: str) -> None:
        """Tell a parser everything about it."""
        parser.description = self.description
        parser.epilog = self.epilog(program)
        parser.formatter_class = _Formatter
        parser.set_defaults(run=self.run, program=program, parser=parser)
        if self.verbs:
            below = parser.add_subparsers(metavar="COMMAND", title="commands")
            for verb in self.verbs:
                name = f"{program} {verb.name}"
                verb.fill(below.add_parser(verb.name, prog=name, help=verb.summary), name)
        self.arguments(parser)
        options.add_common(parser, self.common)

    def epilog(self, program: str) -> str:
        """Examples and exit codes, as they stand below the options."""
        parts = []
        if self.examples:
            wide = max(len(typed) for typed, _ in self.examples)
            lines = [f"  {typed.ljust(wide)}   {does}".rstrip() for typed, does in self.examples]
            parts.append("\n".join(["examples:", *lines]))
        if self.exits:
            parts.append("\n".join(["exit status:", *(f"  {code:<5} {meaning}" for code, meaning in self.exits)]))
        parts.append(f"Exit codes of all commands, and more: man {program.replace(' ', '-')}")
        return "\n\n".join(parts)

    def all_exits(self) -> tuple[tuple[str, str], ...]:
        """(code, meaning), its own first."""
        return (*self.exits, *((str(code), meaning) for code, meaning in exits.MEANINGS.items()))

    def below(self, program: str) -> Iterator[tuple[str, Command]]:
        """It and all verbs below it, each with how it is called."""
        yield program, self
        for verb in self.verbs:
            yield from verb.below(f"{program} {verb.name}")


class _Formatter(argparse.HelpFormatter):
    """Paragraphs are filled; what is indented, as examples are, stays as it was written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)
        self._width = min(self._width, WIDTH)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(self._paragraph(part, width, indent) for part in text.strip().split("\n\n"))

    def _paragraph(self, text: str, width: int, indent: str) -> str:
        if any(line.startswith("  ") for line in text.splitlines()):
            return textwrap.indent(text, indent)
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)

"""Man pages of all commands, made from what makes their help (`make man`; `docs/man_pages.py` writes them).

A page says everything of a command, its verbs included. Console scripts that are commands by themselves have a page that is
the command's. `parser_page` makes one of any parser, for the daemons.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tfnz import cli, commands
from tfnz.commands import exits
from tfnz.commands.command import Command
from tfnz.commands.roff import bold, escaped, italic, item, paragraphs, section

EDITION = "2026-11-28"
"""The day the pages were last looked through; at the latest that of the release."""

ENVIRONMENT = (
    ("TF_HOME", "where accounts are, instead of ~/.20ft"),
    ("TF_LOCAL_DIR", "where the private location keeps its images, volumes and keys, not ~/.cache/pytest-tf/local"),
    ("TF_LOCAL_IDLE", "seconds without any session after which it stops (60)"),
    ("TF_DNS", "address[:port] of the DNS server to read a location's key from"),
)
FILES = (
    (
        "~/.20ft/LOCATION",
        "the secret key of the account there; LOCATION.pub the public one, LOCATION.server the address",
    ),
    ("~/.20ft/default_location", "the location that is meant when none is named"),
)


def pages() -> dict[str, str]:
    """All man pages of section 1: file name to content."""
    found = {"tf.1": _overview(), "tfnz.1": _same_as("tf")}
    for name in commands.NAMES:
        found[f"tf-{name}.1"] = page(f"tf-{name}", f"tf {name}", commands.find(name))
    for script, command in commands.SCRIPTS.items():
        found[f"{script}.1"] = _same_as(f"tf-{command.split()[0]}")
    return found


def _same_as(page_name: str) -> str:
    return f".so man1/{page_name}.1\n"


def page(title: str, program: str, command: Command) -> str:
    """The page of one command.

    Args:
        title: of the page. program: how the command is called.
    """
    parser = command.parser(program)
    lines = [_heading(title), *section("NAME", [f"{escaped(title)} \\- {escaped(command.summary)}"])]
    lines += section("SYNOPSIS", list(_synopses(program, command)))
    lines += section("DESCRIPTION", paragraphs(command.description))
    lines += section("OPTIONS", _options(parser))
    lines += section("COMMANDS", [line for verb in command.verbs for line in _verb(program, verb)])
    lines += section("EXAMPLES", _examples(command))
    lines += section(
        "EXIT STATUS", [line for code, meaning in command.all_exits() for line in item(bold(code), meaning)]
    )
    lines += section("ENVIRONMENT", _listed(ENVIRONMENT))
    lines += section("FILES", _listed(FILES))
    lines += section("SEE ALSO", [_references(("tf", *command.see_also))])
    return "\n".join(lines) + "\n"


def _heading(title: str) -> str:
    return f'.TH "{escaped(title.upper())}" "1" "{EDITION}" "pytest\\-tf" "20ft"\n.nh\n.ad l'


def _listed(entries: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for name, meaning in entries for line in item(bold(name), meaning)]


def _references(names: tuple[str, ...]) -> str:
    return ", ".join(f"\\fB{escaped(name)}\\fR(1)" for name in dict.fromkeys(names))


def _examples(command: Command) -> list[str]:
    return [line for typed, does in command.examples for line in item(bold(typed), f"{does[:1].upper()}{does[1:]}.")]


def _synopses(program: str, command: Command) -> Iterator[str]:
    for called, below in command.below(program):
        if not below.verbs:
            yield from (".br", _synopsis(called, below.parser(called)))


def _synopsis(program: str, parser: argparse.ArgumentParser) -> str:
    parts = [bold(program)]
    parts += [f"[{_option(action)}]" for action in _own(parser) if action.option_strings]
    parts += [_positional(action) for action in _own(parser) if not action.option_strings]
    return " ".join(parts)


def _own(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Its arguments, but for --help and what is hidden."""
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    return [a for a in parser._actions if not isinstance(a, hidden) and a.help != argparse.SUPPRESS]


def _option(action: argparse.Action) -> str:
    value = _value(action)
    return bold(action.option_strings[0]) + (f" {value}" if value else "")


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.metavar is None and action.choices:
        return "{" + ",".join(bold(str(choice)) for choice in action.choices) + "}"
    return italic(str(action.metavar or action.dest.upper()))


def _positional(action: argparse.Action) -> str:
    value = _value(action)
    if str(action.metavar).startswith("["):
        return value  # it says by itself how often it may be there
    match action.nargs:
        case "?":
            return f"[{value}]"
        case "*" | argparse.REMAINDER:
            return f"[{value} ...]"
        case "+":
            return f"{value} [{value} ...]"
    return value


def _options(parser: argparse.ArgumentParser) -> list[str]:
    lines = []
    for action in _own(parser):
        value = _value(action)
        names = ", ".join(map(bold, action.option_strings))
        term = f"{names} {value}".strip() if action.option_strings else value
        lines += item(term, (action.help or "") % {"default": action.default, "prog": parser.prog})
    return lines


def _verb(program: str, verb: Command) -> Iterator[str]:
    called = f"{program} {verb.name}"
    parser = verb.parser(called)
    yield f'.SS "{escaped(called)}"'
    yield from (_synopsis(called, parser), *paragraphs(verb.description), *_options(parser))
    if verb.examples:
        yield from (".PP", "Examples:", *_examples(verb))


def _overview() -> str:
    lines = [_heading("tf"), *section("NAME", ["tf, tfnz \\- the user\\(aqs side of 20ft locations"])]
    usages = [f"\\fBtf\\fR {italic(rest)}" for rest in cli.USAGES]
    lines += section("SYNOPSIS", [line for usage in usages for line in (".br", usage)])
    lines += section("DESCRIPTION", paragraphs(cli.ABOUT))
    for title, names in commands.GROUPS.items():
        entries = [line for name in names for line in item(f"\\fBtf\\-{name}\\fR(1)", commands.find(name).summary)]
        lines += section(f"COMMANDS: {title.upper()}", entries)
    lines += section("EXAMPLES", [line for typed, does in cli.EXAMPLES for line in item(bold(typed), does)])
    meanings = exits.MEANINGS.items()
    lines += section("EXIT STATUS", [line for code, meaning in meanings for line in item(bold(str(code)), meaning)])
    lines += section("ENVIRONMENT", _listed(ENVIRONMENT))
    lines += section("FILES", _listed(FILES))
    scripts = sorted(commands.SCRIPTS)
    lines += section("SEE ALSO", [_references((*(f"tf-{name}" for name in commands.NAMES), *scripts))])
    return "\n".join(lines) + "\n"


# of parsers alone


def parser_page(title: str, parser: argparse.ArgumentParser, *, see_also: tuple[str, ...] = ()) -> str:
    """The page of a program of which there is nothing but its parser.

    Args:
        title: its name. see_also: names of man pages.
    """
    about = " ".join((parser.description or title).split())
    leaves = list(_leaves(parser))
    lines = [
        _heading(title),
        *section("NAME", [f"{escaped(title)} \\- {escaped(about[:1].lower() + about[1:].rstrip('.'))}"]),
    ]
    lines += section("SYNOPSIS", [line for leaf, _ in leaves for line in (".br", _synopsis(leaf.prog, leaf))])
    lines += section("DESCRIPTION", paragraphs(about))
    lines += section("OPTIONS", _options(parser))
    lines += section("COMMANDS", [line for leaf, short in leaves if leaf is not parser for line in _leaf(leaf, short)])
    if parser.epilog:
        lines += section("EXAMPLES", [".nf", *escaped(parser.epilog.strip()).splitlines(), ".fi"])
    lines += section("SEE ALSO", [_references(see_also)] if see_also else [])
    return "\n".join(lines) + "\n"


def _leaves(parser: argparse.ArgumentParser, short: str = "") -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """The parsers that have no others below them, each with a word on it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        words = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for name, leaf in action.choices.items():
            yield from _leaves(leaf, words.get(name, ""))
    if not below:
        yield parser, short


def _leaf(parser: argparse.ArgumentParser, short: str) -> Iterator[str]:
    yield f'.SS "{escaped(parser.prog)}"'
    yield _synopsis(parser.prog, parser)
    text = parser.description or f"{short[:1].upper()}{short[1:]}".rstrip(".") + "."
    yield from paragraphs(text)
    yield from _options(parser)
    if parser.epilog:
        yield from (".PP", ".nf", *escaped(parser.epilog.strip()).splitlines(), ".fi")

"""`tf locations`, `tflocations`: where this user can go, and where they go by default."""

from __future__ import annotations

import argparse

from tfnz.commands import exits, tables
from tfnz.commands.command import Command


def _list(options: argparse.Namespace) -> int:
    from tfnz import accounts, local

    chosen = local.location_or(None)
    found = [(name, accounts.address_of(name), name == chosen) for name in accounts.known()]
    found.append((local.NAME, "", chosen == local.NAME))
    if options.json:
        tables.print_json(
            [{"name": n, "address": address or None, "default": default} for n, address, default in found]
        )
    else:
        rows = [(name, address, "default" if default else "") for name, address, default in found]
        tables.print_table(("LOCATION", "ADDRESS", "DEFAULT"), rows)
    return exits.OK


def _select(options: argparse.Namespace) -> int:
    from tfcore.errors import NotFound
    from tfnz import accounts, local

    names = [*accounts.known(), local.NAME]
    found = [options.prefix] if options.prefix in names else [n for n in names if n.startswith(options.prefix)]
    if len(found) != 1:
        said = "is the beginning of several" if found else "is the beginning of none"
        raise NotFound(f"{options.prefix!r} {said} of your locations: {', '.join(found or names)}")
    accounts.set_default(found[0])
    print(found[0])
    return exits.OK


def _select_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", metavar="PREFIX", help="a location's name, or as much of it as only one begins with")


COMMAND = Command(
    name="locations",
    summary="list the locations you can use and select the default one",
    description="""
Those you have an account for, and `local`, the private location on this machine. Asks no location: what is listed is
what is in ~/.20ft.
""",
    verbs=(
        Command(
            name="list",
            summary="where you can go",
            description="A row for each location: LOCATION, ADDRESS (- if it is the name's own), DEFAULT.",
            run=_list,
            common=("json",),
        ),
        Command(
            name="select",
            summary="use this one when none is named",
            description="Makes it the default location, and prints its name.",
            run=_select,
            arguments=_select_arguments,
        ),
    ),
    examples=(("tf locations list", "where you can go"), ("tf locations select tiny", "go to tiny.20ft.nz by default")),
    see_also=("tf-account",),
)

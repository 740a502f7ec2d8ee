"""`tf account`: key pairs on this machine, one for each location."""

from __future__ import annotations

import argparse

from tfnz.commands.account_backup import BACKUP, RESTORE
from tfnz.commands.command import Command
from tfnz.commands.tables import say


def is_invitation(text: str) -> bool:
    """True if a text looks like one, whole or not."""
    from tfcore.invitations import MARK

    return text.startswith(MARK)


def accept_invitation(invitation: str, *, location: str = "") -> int:
    """Take up an invitation and say so.

    Args:
        location: the only one it may be for, if given.

    Raises:
        BadRequest: it is for another one; nothing was done. The rest as `enrolment.enrol`.
    """
    from tfcore.errors import BadRequest
    from tfcore.invitations import parse
    from tfnz import accounts
    from tfnz.enrolment import enrol

    invited = parse(invitation, role="client").location
    if location and invited != location:
        raise BadRequest(f"this invitation is for {invited}, not for {location}")
    enrol(invitation)
    location = invited
    print(f"you have an account at {location} now; its key is {accounts.directory() / location}")
    if accounts.default_location() == location:
        print("it is your default location")
    return 0


def _accept(options: argparse.Namespace) -> int:
    from tfcore.invitations import given

    return accept_invitation(given(options.invitation))


def _list(_options: argparse.Namespace) -> int:
    from tfnz import accounts

    default = accounts.default_location()
    for name in accounts.known():
        print(f"{'*' if name == default else ' '} {name}")
    if not accounts.known():
        say("there are no accounts here; ask an operator for an invitation")
    return 0


def _default(options: argparse.Namespace) -> int:
    from tfnz import accounts

    accounts.find(options.location)
    accounts.set_default(options.location)
    return 0


def _accept_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "invitation",
        metavar="INVITATION",
        help="what `tf-location account add NAME` printed; good once; - reads it from stdin",
    )


def _default_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("location", metavar="LOCATION", help="a location you have an account for")


COMMAND = Command(
    name="account",
    summary="accept, list and choose accounts",
    description="""
An account is a key pair in ~/.20ft, one for each location. An operator makes it with `tf-location account add NAME`
and hands you an invitation; accepting that makes the pair on this machine and registers its public half. $TF_HOME
names another directory.
""",
    verbs=(
        Command(
            name="accept",
            summary="take up an invitation: makes a key pair and registers it",
            description="Makes a key pair on this machine and registers its public half at the location that sent the "
            "invitation. If the answer got lost on the way, the same command again does no harm.",
            run=_accept,
            arguments=_accept_arguments,
        ),
        Command(
            name="list",
            summary="the locations you have an account for, the default one marked",
            description="One location on each line, after a star if it is the default one.",
            run=_list,
        ),
        Command(
            name="default",
            summary="use this location when none is named",
            description="Chooses the location that commands, programs and test suites use when they name none.",
            run=_default,
            arguments=_default_arguments,
        ),
        BACKUP,
        RESTORE,
    ),
    examples=(
        ("tf account accept INVITATION", "take the account an operator has made"),
        ("tf account list", "where you have one"),
        ("tf account backup accounts.20ft", "all your key pairs, in a file sealed with a passphrase"),
    ),
    see_also=("tf-locations",),
)

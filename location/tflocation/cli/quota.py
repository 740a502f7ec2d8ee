"""`tf-location account quota`: look at an account's limits, and change them. Knows arguments and text, nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tflocation.store.database import Database

EPILOG = """\
What can be limited, each at one time: sessions, containers, memory (what containers are given; 512 MiB for one that does
not say), cpu (cores, likewise; 1 for one that does not say), volumes, tunnels (open connections through them), disk (of
images and kept snapshots). A limit holds for what is asked for from now on; nothing that is there is taken away.

  tf-location account quota alice                            what alice may have
  tf-location account quota alice containers=20 memory=8G    change two, and leave the others
  tf-location account quota alice memory=none                as much as there is
"""

Opening = Callable[[argparse.Namespace], "AbstractContextManager[Database]"]


def add_to(verbs: Any, command: Callable[..., argparse.ArgumentParser], opening: Opening) -> None:
    """Add the verb `quota`.

    Args:
        verbs: the subparsers of `tf-location account`.
        command: makes a parser: `command(verbs, name, function, summary)`.
        opening: the store that the parsed arguments name.
    """

    def quota(arguments: argparse.Namespace) -> int:
        """Show or change what an account may have at most. A running daemon heeds it with the next request."""
        with opening(arguments) as database:
            return run(database, arguments.name, arguments.limits)

    parser = command(verbs, "quota", quota, "show or change what account NAME may have at most")
    parser.add_argument("name")
    parser.add_argument("limits", nargs="*", metavar="WHAT=LIMIT", help="containers=20, memory=8G, cpu=none, ...")
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter


def run(database: Database, name: str, words: list[str]) -> int:
    """Change the limits that `words` name, if any, and print what there is then.

    Raises:
        BadRequest: a word is no limit. NotFound: there is no such account, and nobody invited under that name.
    """
    from tfcore.errors import NotFound
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Invitations
    from tflocation.quotas.book import QuotaBook
    from tflocation.quotas.kinds import parse_all, written

    changes = parse_all(words)
    accounts = Accounts(database)
    known = {account.name for account in accounts.living("account")}
    invited = {invitation.name for invitation in Invitations(database, accounts).pending("account")}
    if name not in known | invited:
        raise NotFound(f"there is no account called {name}", hint="see them all: tf-location account list")
    book = QuotaBook(database)
    book.change(name, changes)
    print(f"{name}: {written(book.of(name))}")
    return 0

"""`tf account backup` and `restore`, `tfacctbak`: key pairs in a sealed file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tfnz.commands import exits
from tfnz.commands.command import Command
from tfnz.commands.tables import say


def _backup(options: argparse.Namespace) -> int:
    from tfcore.errors import NotFound
    from tfnz import account_backup, accounts

    locations = options.location or accounts.known()
    if not locations:
        raise NotFound("there are no accounts here to back up")
    if options.file != "-" and not options.force and Path(options.file).exists():
        _refuse_existing(options.file)
    sealed = account_backup.seal(locations, _passphrase(options, twice=True))
    if options.file == "-":
        sys.stdout.buffer.write(sealed)
    else:
        _write(options.file, sealed, force=options.force)
    say(f"backed up: {', '.join(locations)}; without the passphrase nobody can use it, and neither can you")
    return exits.OK


def _write(name: str, sealed: bytes, *, force: bool) -> None:
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL), 0o600)
    except FileExistsError:
        _refuse_existing(name)
    with os.fdopen(descriptor, "wb") as file:
        file.write(sealed)


def _refuse_existing(name: str) -> None:
    from tfcore.errors import WrongState

    raise WrongState(f"{name} is there already", hint="choose another name, or add --force to replace it")


def _restore(options: argparse.Namespace) -> int:
    from tfcore.errors import NotFound
    from tfnz import account_backup, accounts

    try:
        sealed = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    except OSError as error:
        raise NotFound(f"{options.file} cannot be read: {error.strerror}") from error
    files = account_backup.unseal(sealed, _passphrase(options, twice=False))
    for location in account_backup.restore(files):
        print(f"you have an account at {location}; its key is {accounts.directory() / location}")
    return exits.OK


def _passphrase(options: argparse.Namespace, *, twice: bool) -> str:
    from tfcore.errors import BadRequest

    if options.passphrase_file:
        return _first_line(options.passphrase_file)
    if not sys.stdin.isatty():
        raise BadRequest(
            "there is no terminal to ask for the passphrase on", hint="name a file: --passphrase-file FILE"
        )
    import getpass

    passphrase = getpass.getpass("passphrase of the backup: ")
    if twice and getpass.getpass("once more: ") != passphrase:
        raise BadRequest("the two passphrases differ")
    return passphrase


def _first_line(name: str) -> str:
    from tfcore.errors import NotFound

    try:
        return (Path(name).read_text().splitlines() or [""])[0]
    except OSError as error:
        raise NotFound(f"{name} cannot be read: {error.strerror}") from error


def _passphrase_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--passphrase-file", metavar="FILE", help="its first line is the passphrase, instead of asking for it"
    )


def _backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="where to; - is standard output")
    parser.add_argument(
        "--location", "--loc", metavar="NAME", action="append", help="only this one's; may be repeated (default: all)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    _passphrase_argument(parser)


def _restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a backup; - is standard input")
    _passphrase_argument(parser)


BACKUP = Command(
    name="backup",
    summary="write your key pairs to a file sealed with a passphrase",
    description="""
Writes the key pairs and pinned addresses of your accounts to FILE, sealed with a passphrase of at least eight
characters that you are asked for. Whoever has file and passphrase can act as you. `tf account restore FILE` puts them
back, here or elsewhere.
""",
    run=_backup,
    arguments=_backup_arguments,
    examples=(
        ("tf account backup accounts.20ft", "all of them"),
        ("tf account backup --location tiny.20ft.nz tiny.20ft", "one of them"),
    ),
    see_also=("tf-account",),
)
RESTORE = Command(
    name="restore",
    summary="put key pairs back from a backup",
    description="Puts back what `tf account backup` has written: all of it, or nothing. Refused where there is another "
    "account for one of the locations.",
    run=_restore,
    arguments=_restore_arguments,
)

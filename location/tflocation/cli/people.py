"""`tf-location account …` and `node …`: invite, list, give a new key, revoke."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from tflocation.cli import quota
from tflocation.cli.asking import directory_of, store_of, verb
from tflocation.cli.text import day, moment, print_table


def add_to(commands: Any) -> None:
    """Both groups of verbs."""
    _add_group(commands, "account", "those who may open sessions")
    _add_group(commands, "node", "the machines that run containers")


def _add_group(commands: Any, role: str, what: str) -> None:
    group = commands.add_parser(role, help=f"add, list, rotate and revoke {role}s: {what}")
    verbs = group.add_subparsers(required=True, metavar="VERB")
    add = verb(verbs, "add", _add, f"invite {role} NAME, or add its key")
    listing = verb(verbs, "list", _list, f"all {role}s, invited and revoked ones included")
    listing.add_argument("--json", action="store_true", help="for programs: one object for each")
    rotate = verb(verbs, "rotate", _rotate, f"give {role} NAME a new key; all it has stays its own")
    rotate.add_argument(
        "--now", action="store_true", help="the old key opens nothing from now on: it was lost or stolen"
    )
    revoke = verb(verbs, "revoke", _revoke, f"{role} NAME may not connect any more; its sessions end now")
    for parser in (add, rotate):
        parser.add_argument("name")
        parser.add_argument("--key", help="its public key (base64); without one, an invitation is made and printed")
        parser.add_argument("--days", type=float, default=7.0, help="how long the invitation is good for (default: 7)")
    revoke.add_argument("name")
    if role == "account":
        quota.add_to(verbs, verb, lambda arguments: store_of(directory_of(arguments)))
    for parser in (add, listing, rotate, revoke):
        parser.set_defaults(role=role)


def _add(arguments: argparse.Namespace) -> int:
    """Print a one-time invitation, or admit a public key that was handed over in another way."""
    from tfcore.keys import key_from
    from tflocation.auth.accounts import Accounts

    if not arguments.key:
        return _invite(arguments, rotate=False)
    with store_of(directory_of(arguments)) as database:
        Accounts(database).add(arguments.role, arguments.name, key_from(arguments.key))
    print(f"{arguments.role} {arguments.name} may connect now")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    """A new key pair for who is there already: volumes, images and kept snapshots stay. The old key is good until the
    invitation is accepted (or at once, with --key or --now); then its sessions end."""
    from tfcore.keys import key_from
    from tflocation.auth.accounts import Accounts

    if (arguments.role, arguments.name) == ("account", "operator"):
        return _rotate_operator(arguments)
    if not arguments.key:
        return _invite(arguments, rotate=True)
    with store_of(directory_of(arguments)) as database:
        Accounts(database).rotate(arguments.role, arguments.name, key_from(arguments.key))
    print(f"{arguments.role} {arguments.name} has a new key; sessions under the old one end now")
    return 0


def _rotate_operator(arguments: argparse.Namespace) -> int:
    """Its key is a file of the location's directory: nobody has to be invited."""
    from tfcore import keys
    from tflocation.auth.accounts import Accounts

    directory = directory_of(arguments)
    pair = keys.generate()
    with store_of(directory) as database:
        Accounts(database).rotate("account", arguments.name, pair.public)
        keys.save(directory.operator, pair)
    print(f"the operator's key in {directory.operator} is a new one")
    return 0


def _invite(arguments: argparse.Namespace, *, rotate: bool) -> int:
    from tflocation import options
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Address, Invitations

    directory = directory_of(arguments)
    with store_of(directory) as database:
        accounts = Accounts(database)
        config = options.read(directory.config)
        address = Address(location=config.name, endpoint=config.address, server_key=directory.server_keys().public)
        if rotate and arguments.now:
            accounts.void(arguments.role, arguments.name)
        text = Invitations(database, accounts).make(
            arguments.role, arguments.name, address, lifetime=arguments.days * 86400, rotate=rotate
        )
    command = "tf account accept" if arguments.role == "account" else "tf-node enrol"
    print(
        f"whoever runs this first, within {arguments.days:g} days, is {arguments.role} {arguments.name}:",
        file=sys.stderr,
    )
    print(f"{command} {text}")
    if rotate:
        print("(its old key's files have to be moved away there first)", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    """One line for each: name, state, public key, and of accounts what they may have at most."""
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Invitations
    from tflocation.quotas.book import QuotaBook
    from tflocation.quotas.kinds import written

    with store_of(directory_of(arguments)) as database:
        accounts = Accounts(database)
        entries = accounts.entries(arguments.role)
        pending = Invitations(database, accounts).pending(arguments.role)
        quotas = QuotaBook(database).all() if arguments.role == "account" else {}
    if arguments.json:
        records = [_record(entry) for entry in entries] + [_invited(entry) for entry in pending]
        limited = [record | {"quota": quotas.get(record["name"], {})} for record in records]
        print(json.dumps(limited if arguments.role == "account" else records, indent=2))
        return 0
    rows = [(entry.name, _state(entry.revoked, operator=entry.operator), entry.key) for entry in entries]
    rows += [(invited.name, f"invited until {day(invited.expires)}", "-") for invited in pending]
    if quotas:
        print_table(("NAME", "STATE", "PUBLIC KEY", "QUOTA"), [(*row, written(quotas.get(row[0], {}))) for row in rows])
    else:
        print_table(("NAME", "STATE", "PUBLIC KEY"), rows)
    return 0


def _record(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.name,
        "state": "revoked" if entry.revoked is not None else "operator" if entry.operator else "active",
        "key": entry.key,
        "id": entry.id or None,
        "created": moment(entry.created),
        "revoked": None if entry.revoked is None else moment(entry.revoked),
    }


def _invited(pending: Any) -> dict[str, Any]:
    return {"name": pending.name, "state": "invited", "key": None, "expires": moment(pending.expires)}


def _revoke(arguments: argparse.Namespace) -> int:
    """The key opens nothing any more; a running daemon ends its sessions within a second. Also withdraws invitations."""
    from tfcore.errors import NotFound
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Invitations

    with store_of(directory_of(arguments)) as database:
        accounts = Accounts(database)
        withdrawn = _withdraw(Invitations(database, accounts), arguments)
        try:
            accounts.revoke(arguments.role, arguments.name)
            print(f"{arguments.role} {arguments.name} may not connect any more")
        except NotFound:
            if not withdrawn:
                raise
    return 0


def _withdraw(invitations: Any, arguments: argparse.Namespace) -> bool:
    from tfcore.errors import NotFound

    try:
        invitations.withdraw(arguments.role, arguments.name)
    except NotFound:
        return False
    print(f"the invitation for {arguments.role} {arguments.name} is void")
    return True


def _state(revoked: float | None, *, operator: bool) -> str:
    if revoked is not None:
        return f"revoked {day(revoked)}"
    return "operator" if operator else "active"

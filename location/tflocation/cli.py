"""`tf-location`: make a location, serve it, admit accounts and nodes, look at it. Knows arguments and text, nothing else."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcore.errors import TfError
from tflocation import quota_command

if TYPE_CHECKING:
    from contextlib import closing

    from tflocation.directory import Directory
    from tflocation.store.database import Database

EPILOG = """\
A location over TCP, from nothing:
  tf-location init --name lab.example.org --listen tcp://0.0.0.0:5555
  tf-location serve
  tf-location node add rack1         then, on that machine:  tf-node enrol INVITATION
  tf-location account add alice      then, as alice:         tf account accept INVITATION
"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed (the message says why), 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        result: int = arguments.run_command(arguments)
    except TfError as error:
        print(f"tf-location: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tf-location",
        description="The master of a 20ft location: it admits clients and nodes, and brokers between them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_init(commands)
    _add_serve(commands)
    _add_people(commands, "account", "those who may open sessions")
    _add_people(commands, "node", "the machines that run containers")
    status = _command(commands, "status", _status, "ask the running daemon what there is")
    status.add_argument("--json", action="store_true", help="everything, for programs and bug reports")
    status.add_argument("--run", type=Path, help="directory of the daemon's sockets (default: DIR/run)")
    return parser


def _command(commands: Any, name: str, function: Any, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=function.__doc__)
    parser.add_argument("--dir", type=Path, help="the location's directory (default: /var/lib/tf-location for root)")
    parser.set_defaults(run_command=function)
    return parser


def _add_init(commands: Any) -> None:
    init = _command(commands, "init", _init, "make a location: keys, store, configuration")
    init.add_argument("--name", help="host name under which clients know it (default: this machine's)")
    init.add_argument("--address", help="where clients connect to, host[:port] (default: the name, port 5555)")
    init.add_argument(
        "--listen", action="append", default=[], metavar="ENDPOINT",
        help="tcp://address:port to listen on, repeatable (default: tcp://127.0.0.1:5555, this machine only)",
    )  # fmt: skip


def _add_serve(commands: Any) -> None:
    serve = _command(commands, "serve", _serve, "run the daemon until SIGTERM")
    serve.add_argument("--listen", action="append", default=[], metavar="ENDPOINT", help="instead of the configured")
    serve.add_argument("--ipc", action="append", default=[], metavar="PATH", help="a unix socket to listen on, too")
    serve.add_argument("--run", type=Path, help="directory for the daemon's sockets (default: DIR/run)")
    serve.add_argument("--log", choices=("auto", "text", "json"), default="auto", help="default: text on a terminal")
    serve.add_argument("--verbose", action="store_true", help="log everything")
    local = serve.add_argument_group("a private location, as the SDK starts it")
    local.add_argument("--local", action="store_true", help="make what is missing and run a node, too")
    local.add_argument("--idle", type=float, default=60.0, help="stop after so many seconds without a session")


def _add_people(commands: Any, role: str, what: str) -> None:
    group = commands.add_parser(role, help=f"add, list and revoke {role}s: {what}")
    verbs = group.add_subparsers(required=True, metavar="VERB")
    add = _command(verbs, "add", _add, f"invite {role} NAME, or add its key")
    add.add_argument("name")
    add.add_argument("--key", help="its public key (base64); without one, an invitation is made and printed")
    add.add_argument("--days", type=float, default=7.0, help="how long the invitation is good for (default: 7)")
    _command(verbs, "list", _list, f"all {role}s, invited and revoked ones included")
    revoke = _command(verbs, "revoke", _revoke, f"{role} NAME may not connect any more; its sessions end now")
    revoke.add_argument("name")
    if role == "account":
        quota_command.add_to(verbs, _command, lambda arguments: _store(_directory(arguments)))
    for parser in (add, verbs.choices["list"], revoke):
        parser.set_defaults(role=role)


# the commands


def _init(arguments: argparse.Namespace) -> int:
    """Make a location. Prints its public key as the DNS TXT record that clients may find it by."""
    import socket

    from tfcore.keys import text_of
    from tflocation import options

    directory = _directory(arguments)
    name = options.check_name(arguments.name or socket.getfqdn())
    listen = tuple(options.check_endpoint(endpoint) for endpoint in arguments.listen)
    config = options.ConfigFile(name=name, address=options.public_address(arguments.address or name))
    if listen:
        config = options.ConfigFile(name=name, address=config.address, listen=listen)
    directory.make(config)
    print(f"location {name} is in {directory.root}; its configuration is {directory.config}")
    print(f"it listens on {' '.join(config.listen)}, and clients connect to {config.address}")
    print("clients that have no invitation find its key in this DNS record, if you publish it:")
    print(f'  {name}. IN TXT "20ft-key={text_of(directory.server_keys().public)}"')
    print(f"start it: tf-location serve --dir {directory.root}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C. A restart loses no session."""
    import logging

    from tfcore.logs import Style, configure
    from tflocation import serving

    style: Style = "text" if arguments.local and arguments.log == "auto" else arguments.log
    configure(level=logging.DEBUG if arguments.verbose else logging.INFO, style=style)
    directory = _directory(arguments)
    run = (arguments.run or directory.run).absolute()
    if arguments.local:
        serving.run_local(directory, run, idle=arguments.idle)
    else:
        serving.run(directory, run, listen=tuple(arguments.listen), ipc=tuple(arguments.ipc))
    return 0


def _add(arguments: argparse.Namespace) -> int:
    """Print a one-time invitation, or admit a public key that was handed over in another way."""
    from tfcore.keys import key_from
    from tflocation import options
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Address, Invitations

    directory = _directory(arguments)
    with _store(directory) as database:
        accounts = Accounts(database)
        if arguments.key:
            accounts.add(arguments.role, arguments.name, key_from(arguments.key))
            print(f"{arguments.role} {arguments.name} may connect now")
            return 0
        config = options.read(directory.config)
        address = Address(location=config.name, endpoint=config.address, server_key=directory.server_keys().public)
        text = Invitations(database, accounts).make(
            arguments.role, arguments.name, address, lifetime=arguments.days * 86400
        )
    command = "tf account accept" if arguments.role == "account" else "tf-node enrol"
    print(
        f"whoever runs this first, within {arguments.days:g} days, is {arguments.role} {arguments.name}:",
        file=sys.stderr,
    )
    print(f"{command} {text}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    """One line for each: name, state, public key, and of accounts what they may have at most."""
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Invitations
    from tflocation.quotas.book import QuotaBook
    from tflocation.quotas.kinds import written

    with _store(_directory(arguments)) as database:
        accounts = Accounts(database)
        entries = accounts.entries(arguments.role)
        pending = Invitations(database, accounts).pending(arguments.role)
        quotas = QuotaBook(database).all()
    rows = [(entry.name, _state(entry.revoked, operator=entry.operator), entry.key) for entry in entries]
    rows += [(invited.name, f"invited until {_day(invited.expires)}", "-") for invited in pending]
    if arguments.role == "account" and quotas:
        _table(("NAME", "STATE", "PUBLIC KEY", "QUOTA"), [(*row, written(quotas.get(row[0], {}))) for row in rows])
    else:
        _table(("NAME", "STATE", "PUBLIC KEY"), rows)
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    """The key opens nothing any more; a running daemon ends its sessions within a second. Also withdraws invitations."""
    from tfcore.errors import NotFound
    from tflocation.auth.accounts import Accounts
    from tflocation.auth.invitations import Invitations

    with _store(_directory(arguments)) as database:
        accounts = Accounts(database)
        try:
            Invitations(database, accounts).withdraw(arguments.role, arguments.name)
            print(f"the invitation for {arguments.role} {arguments.name} is void")
        except NotFound:
            accounts.revoke(arguments.role, arguments.name)
            print(f"{arguments.role} {arguments.name} may not connect any more")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Nodes, sessions, containers and volumes, as the running daemon sees them."""
    from tflocation.operator import ask_status

    directory = _directory(arguments)
    report = json.loads(ask_status(directory, (arguments.run or directory.run).absolute()))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    print(f"location {report['location']}, version {report['version']}, up for {_span(report['uptime'])}")
    for heading, columns in _TABLES.items():
        print(f"\n{heading} ({len(report[heading])})")
        if report[heading]:
            rows = [tuple(_cell(column, row[column]) for column in columns) for row in report[heading]]
            _table(tuple(column.upper() for column in columns), rows)
    _print_quotas(report["quotas"])
    return 0


def _print_quotas(quotas: dict[str, dict[str, dict[str, float]]]) -> None:
    """Of the accounts that have any."""
    from tflocation.quotas.kinds import told

    print(f"\nquotas ({len(quotas)})")
    rows = [
        (account, kind, told(kind, numbers["used"]), told(kind, numbers["limit"]))
        for account, kinds in sorted(quotas.items())
        for kind, numbers in kinds.items()
    ]
    if rows:
        _table(("ACCOUNT", "WHAT", "USED", "LIMIT"), rows)


_TABLES = {
    "nodes": ("name", "state", "cpu", "memory", "containers", "id"),
    "sessions": ("id", "account", "program", "connected", "seen", "containers"),
    "containers": ("id", "account", "image", "address", "ended", "node"),
    "volumes": ("id", "account", "tag", "persistent", "node"),
}


# how things are said


def _directory(arguments: argparse.Namespace) -> Directory:
    from tflocation.directory import Directory, default_directory

    return Directory((arguments.dir or default_directory()).absolute())


def _store(directory: Directory) -> closing[Database]:
    from contextlib import closing

    from tflocation.store.database import Database

    directory.server_keys()  # says so if there is no location
    return closing(Database(directory.store))


def _state(revoked: float | None, *, operator: bool) -> str:
    if revoked is not None:
        return f"revoked {_day(revoked)}"
    return "operator" if operator else "active"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _cell(column: str, value: Any) -> str:
    """A value as people read it; `--json` has it as it is."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column == "cpu":
        return f"{value:.0%} free"
    if column == "memory":
        return f"{value / 2**30:.1f} GiB free"
    return f"{value} s ago" if column == "seen" else str(value)


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    lines = [heading, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())

"""`tf`: accounts on this machine, what they keep at locations, and what to look at when one cannot be reached.

Exit codes: 0 done, 1 failed (the message says why and what to do), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tfcore import VERSION
from tfcore.errors import TfError
from tfnz import resume_command, snapshot_commands

EXAMPLES = """
  tf account accept INVITATION     take the account an operator has made (tf-location account add NAME)
  tf account list                  the locations you have an account for
  tf snapshots list                what your account keeps there beyond its sessions
  tf resume ID                     look into what a failed test has left (pytest --tf-keep=failed)
  tf doctor                        what works here and what is missing
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
    except TfError as error:
        print(f"tf: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tf",
        description="The user's side of 20ft locations.",
        epilog=f"examples:{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tf {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    account = commands.add_parser("account", help="accept, list and choose accounts").add_subparsers(
        required=True, metavar="COMMAND"
    )
    accept = account.add_parser("accept", help="take up an invitation: makes a key pair and registers it")
    accept.add_argument("invitation", help="the text that `tf-location account add NAME` printed; good once")
    accept.set_defaults(run=_accept)
    listing = account.add_parser("list", help="the locations you have an account for, the default one marked")
    listing.set_defaults(run=_list)
    default = account.add_parser("default", help="use this location when none is named")
    default.add_argument("location")
    default.set_defaults(run=_default)
    snapshot_commands.add_to(commands)
    resume_command.add_to(commands)
    doctor = commands.add_parser("doctor", help="say what works here and what is missing, with the way out")
    doctor.add_argument("--location", metavar="NAME", help="the location to try (default: the default one, else local)")
    doctor.set_defaults(run=_doctor)
    return parser


def _accept(options: argparse.Namespace) -> int:
    from tfnz import accounts
    from tfnz.enrolment import enrol

    location = enrol(options.invitation)
    print(f"you have an account at {location} now; its key is {accounts.directory() / location}")
    if accounts.default_location() == location:
        print("it is your default location")
    return 0


def _list(_options: argparse.Namespace) -> int:
    from tfnz import accounts

    default = accounts.default_location()
    for name in accounts.known():
        print(f"{'*' if name == default else ' '} {name}")
    if not accounts.known():
        print("there are no accounts here; ask an operator for an invitation", file=sys.stderr)
    return 0


def _default(options: argparse.Namespace) -> int:
    from tfnz import accounts

    accounts.find(options.location)
    accounts.set_default(options.location)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from tfnz.doctor import examine

    worst = 0
    for finding in examine(options.location):
        print(f"{'ok  ' if finding.ok else 'LACK'} {finding.what:<10} {finding.sentence}", flush=True)
        if not finding.ok:
            worst = 1
    return worst


if __name__ == "__main__":
    sys.exit(main())

"""`tf doctor`: what works here and what is missing."""

from __future__ import annotations

import argparse
import dataclasses

from tfnz.commands import exits, tables
from tfnz.commands.command import Command


def _doctor(options: argparse.Namespace) -> int:
    from tfnz.doctor import examine

    found = []
    for finding in examine(options.location, options.local):
        found.append(finding)
        if not options.json:
            print(f"{'ok  ' if finding.ok else 'LACK'} {finding.what:<10} {finding.sentence}", flush=True)
    if options.json:
        tables.print_json([dataclasses.asdict(finding) for finding in found])
    return exits.OK if all(finding.ok for finding in found) else exits.FAILED


COMMAND = Command(
    name="doctor",
    summary="say what works here and what is missing, with the way out",
    description="""
Looks at this installation, libsodium, the accounts and their files, the local Docker if there is one, the location,
its nodes, and for the private location at what this machine lacks. One line each: ok or LACK, what was looked at, a
sentence.
""",
    run=_doctor,
    common=("where", "json"),
    examples=(("tf doctor", "of the default location"), ("tf doctor --location local", "of the private one")),
    exits=(("0", "all is well"), ("1", "something is missing")),
)

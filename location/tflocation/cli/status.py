"""`tf-location status`: what there is, as the running daemon sees it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tflocation.cli.asking import asks_the_daemon, status_of, verb
from tflocation.cli.text import cell, print_table, span

TABLES = {
    "nodes": ("name", "state", "cpu", "memory", "containers", "id"),
    "sessions": ("id", "account", "program", "connected", "seen", "containers"),
    "containers": ("id", "account", "image", "address", "ended", "node"),
    "volumes": ("id", "account", "tag", "persistent", "node"),
}


def add_to(commands: Any) -> None:
    """The verb's arguments."""
    status = verb(commands, "status", _status, "ask the running daemon what there is")
    status.add_argument("--json", action="store_true", help="everything, for programs and bug reports")
    asks_the_daemon(status)


def _status(arguments: argparse.Namespace) -> int:
    """Nodes, sessions, containers and volumes, as the running daemon sees them."""
    report = status_of(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    print(f"location {report['location']}, version {report['version']}, up for {span(report['uptime'])}")
    if report["draining"]:
        print("it is being drained: no new sessions (tf-location undrain)")
    for heading, columns in TABLES.items():
        print(f"\n{heading} ({len(report[heading])})")
        if report[heading]:
            rows = [tuple(cell(column, row[column]) for column in columns) for row in report[heading]]
            print_table(tuple(column.upper() for column in columns), rows)
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
        print_table(("ACCOUNT", "WHAT", "USED", "LIMIT"), rows)

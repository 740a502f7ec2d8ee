"""`tf-node`: enrol a machine with a location, check what it lacks, give its data a file system, serve."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from tfcore.errors import TfError
from tfnode import erase_command, storage_commands

DEFAULT_CONFIG = Path("/etc/tf-node/node.toml")


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed (the message says why), 2 wrong usage."""
    options = _parser().parse_args(argv)
    try:
        result: int = options.run(options)
    except TfError as error:
        print(f"tf-node: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tf-node", description="The node agent of a 20ft location.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="join the location and run its containers", description=_serve.__doc__)
    serve.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    serve.add_argument("--parent-fd", type=int, help="end when this inherited pipe ends (set by a private location)")
    serve.set_defaults(run=_serve)
    enrol = commands.add_parser("enrol", help="accept an invitation (tf-location node add)")
    enrol.add_argument("invitation", help="what `tf-location node add NAME` printed; - reads it from stdin")
    enrol.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="default: %(default)s")
    enrol.add_argument(
        "--root", default="/var/lib/tf-node", help="for layers, volumes, snapshots (default: %(default)s)"
    )
    enrol.add_argument(
        "--storage", default="auto", help="auto, overlay, btrfs, zfs or directory (default: %(default)s)"
    )
    enrol.add_argument("--outgoing", choices=("auto", "on", "off"), default="auto", help="may containers reach out")
    enrol.set_defaults(run=_enrol)
    check = commands.add_parser("check", help="say what this machine has and lacks for being a node")
    check.add_argument("--root", type=Path, default=_usual_root(), help="the node's directory (default: %(default)s)")
    check.set_defaults(run=_check)
    storage_commands.add_to(commands)
    erase_command.add_to(commands)
    return parser


def _usual_root() -> Path:
    """Root's; an ordinary user's nodes are those of private locations."""
    return Path("/var/lib/tf-node") if os.geteuid() == 0 else Path.home() / ".cache/pytest-tf/local/node"


def _serve(options: argparse.Namespace) -> int:
    """Join the location and run its containers until SIGTERM."""
    from tfcore.logs import configure
    from tfnode.service import serve

    configure(level=logging.INFO)
    serve(options.config, parent_fd=options.parent_fd)
    return 0


def _enrol(options: argparse.Namespace) -> int:
    from tfcore.invitations import given
    from tfnode.enrolment import enrol

    name = enrol(
        given(options.invitation),
        options.config,
        root=options.root,
        storage=options.storage,
        outgoing=options.outgoing,
    )
    print(f"this machine is node {name} now; its configuration is {options.config}")
    print(f"start it: tf-node serve --config {options.config}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from tfnode import host

    findings = host.probe(options.root)
    for finding in findings:
        mark = "ok  " if finding.ok else "LACK" if finding.needed else "note"
        print(f"{mark} {finding.name:<12} {finding.sentence}")
        if not finding.ok and finding.way_out:
            print(f"     {'':<12} {finding.way_out}")
    lacking = host.why_no_node(findings)
    print(lacking or f"this machine can run a node (user {os.getuid()})")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())

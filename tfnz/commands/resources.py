"""`tf resources`, `tfresources`: what a location offers, as JSON."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command

if TYPE_CHECKING:
    from tfnz.location import Location


def _resources(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        tables.print_json(offered(location))
    return exits.OK


def offered(location: Location) -> dict[str, Any]:
    """A location's offer to this account, as plain data: its nodes, best first, and the volumes."""
    import msgspec

    ranked = location.ranked_nodes()
    lost = [node for node in location.nodes.values() if node not in ranked]
    volumes = sorted(location.volumes.values(), key=lambda volume: volume.uuid)
    return {
        "location": location.name,
        "account": location.account,
        "nodes": [msgspec.to_builtins(node.offer) for node in [*ranked, *lost]],
        "volumes": [{"id": v.uuid, "tag": v.tag, "persistent": v.persistent, "node": v._offer.node} for v in volumes],
    }


COMMAND = Command(
    name="resources",
    summary="print what the location offers, as JSON",
    description="""
Prints a JSON object: `location`, `account`, `nodes` (the best one first, those that are lost last) and `volumes`. A
node has its name, the free share of its cpus (0 to 1), cores, free and total memory and disk in bytes, io in bytes a
second, pages swapped a second, how many containers it runs, whether it is alive, and notes on what it cannot do.
""",
    run=_resources,
    common=("where",),
    examples=(
        ("tf resources", "all of it"),
        ("tf resources | jq '.nodes[0].name'", "the best node"),
    ),
    see_also=("tf-volumes",),
)

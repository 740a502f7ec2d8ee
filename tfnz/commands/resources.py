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
    """A location's offer to this account, as plain data: nodes, best first; volumes; tagged containers of other sessions."""
    import msgspec

    from tfnz.quotas import quotas

    ranked = location.ranked_nodes()
    lost = [node for node in location.nodes.values() if node not in ranked]
    volumes = sorted(location.volumes.values(), key=lambda volume: volume.uuid)
    return {
        "location": location.name,
        "account": location.account,
        "nodes": [msgspec.to_builtins(node.offer) for node in [*ranked, *lost]],
        "volumes": [{"id": v.uuid, "tag": v.tag, "persistent": v.persistent, "node": v._offer.node} for v in volumes],
        "externals": [
            {"id": e.uuid, "tag": e.tag, "address": str(e.ip), "node": e._node}
            for e in sorted(location.externals.values(), key=lambda external: external.uuid)
        ],
        "quotas": {quota.kind: {"used": quota.used, "limit": quota.limit} for quota in quotas(location)},
    }


COMMAND = Command(
    name="resources",
    summary="print what the location offers, as JSON",
    description="""
Prints a JSON object: `location`, `account`, `nodes` (the best one first, those that are lost last), `volumes`,
`externals`: the containers with a tag of your other sessions, and `quotas`: what the operator has limited the account
in, with what is used of it. A node has its name, the free share of its cpus (0 to 1), cores, free and total memory and
disk in bytes, io in bytes a second, pages swapped a second, how many containers it runs, whether it is alive, and notes
on what it cannot do.
""",
    run=_resources,
    common=("where",),
    examples=(
        ("tf resources", "all of it"),
        ("tf resources | jq '.nodes[0].name'", "the best node"),
    ),
    see_also=("tf-volumes",),
)

"""`tf volumes`, `tfvolumes`: the account's persistent volumes."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command

if TYPE_CHECKING:
    from tfnz.location import Location
    from tfnz.volume import Volume


def _list(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        found = sorted(location.volumes.values(), key=lambda volume: (volume.tag, volume.uuid))
        if options.json:
            tables.print_json([_plain(volume) for volume in found])
        elif options.quiet:
            print("".join(f"{volume.uuid}\n" for volume in found), end="")
        else:
            tables.print_table(("ID", "TAG", "NODE"), [(v.uuid, v.tag, _node(v)) for v in found])
    return exits.OK


def _create(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        node = _chosen(location, options.node)
        volume = node.create_volume(tag=options.tag, persistent=True, asynchronous=not options.sync)
        print(volume.uuid)
    return exits.OK


def _chosen(location: Location, name: str | None) -> Any:
    from tfcore.errors import NotFound

    if name is None:
        return location.node()
    for node in location.nodes.values():
        if name in (node.name, node.pk):
            return node
    names = ", ".join(node.name for node in location.nodes.values()) or "none"
    raise NotFound(f"there is no node {name!r} at {location.name} (there is: {names})")


def _destroy(options: argparse.Namespace) -> int:
    with common.opened(options) as location:
        found = {volume.uuid: volume for volume in map(location.volume, options.key)}  # all, before one goes
        for volume in found.values():
            volume.destroy()
    return exits.OK


def _plain(volume: Volume) -> dict[str, Any]:
    return {"id": volume.uuid, "tag": volume.tag, "node": _node(volume)}


def _node(volume: Volume) -> str:
    from tfcore.errors import NotFound

    try:
        return volume.node.name
    except NotFound:
        return "gone"


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="only the ids")


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("tag", nargs="?", metavar="TAG", help="a name for it, unique for the account: 0-9 a-z - _ .")
    parser.add_argument(
        "--sync",
        action="store_true",
        help="for scripts of 20ft: writes are as safe as the node's file system either way",
    )
    parser.add_argument("--node", metavar="NAME", help="the node it is to be on, by name or id (default: the best one)")


def _destroy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", nargs="+", metavar="KEY", help="a volume's id, its tag, or id:tag")


COMMAND = Command(
    name="volumes",
    summary="list, make and destroy persistent volumes",
    description="""
Persistent volumes outlive sessions and belong to the account. Containers mount them with `tf run -m TAG:/path` or
`volumes=` of the SDK. To back them up is your affair.
""",
    verbs=(
        Command(
            name="list",
            summary="the account's persistent volumes",
            description="A row for each: ID, TAG, NODE; by tag.",
            run=_list,
            arguments=_list_arguments,
            common=("where", "json"),
        ),
        Command(
            name="create",
            summary="make one, and print its id",
            description="Makes an empty volume on the best node, or on the one named.",
            run=_create,
            arguments=_create_arguments,
            common=("where",),
        ),
        Command(
            name="destroy",
            summary="remove some with all their data",
            description="Refused while a container has one mounted. All are looked up before the first one goes.",
            run=_destroy,
            arguments=_destroy_arguments,
            common=("where",),
        ),
    ),
    examples=(
        ("tf volumes create shop-data", "make one, with a tag to find it by"),
        ("tf volumes list", "which there are"),
        ("tf volumes destroy shop-data", "remove it, and what is in it"),
    ),
    see_also=("tf-resources",),
)

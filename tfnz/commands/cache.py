"""`tf cache`, `tfcache`: images in the location's cache, uploaded, listed, let go."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command
from tfnz.commands.progress import Progress

if TYPE_CHECKING:
    from tfnz.location import Location


def _cache(options: argparse.Namespace) -> int:
    if options.list == bool(options.image) or (options.name and len(options.image) != 1):
        options.parser.error("name one or more images, or --list; --name goes with one image")
    with common.opened(options) as location:
        if options.list:
            return _list(location, options)
        if options.remove:
            return _remove(location, options)
        return _upload(location, options)


def _list(location: Location, options: argparse.Namespace) -> int:
    from tfnz.images import cached

    found = cached.listed(location)
    if options.json:
        tables.print_json([{"name": i.name, "id": i.config_digest, "size": i.size, "layers": i.layers} for i in found])
    else:
        rows = [(i.name, i.config_digest[7:19], tables.size_of(i.size), str(i.layers)) for i in found]
        tables.print_table(("NAME", "ID", "SIZE", "LAYERS"), rows)
    return exits.OK


def _remove(location: Location, options: argparse.Namespace) -> int:
    from tfnz.images import cached

    for image in options.image:
        cached.forget(location, image)
        if not options.quiet:
            tables.say(f"{image} is not in the cache of {location.name} any more")
    return exits.OK


def _upload(location: Location, options: argparse.Namespace) -> int:
    done = []
    for image in options.image:
        with Progress(quiet=options.quiet) as progress:
            layers = location.ensure_image_uploaded(image, name=options.name or "", progress=progress)
        done.append({"image": image, "layers": layers})
        if not options.quiet:
            tables.say(
                f"{options.name or image} is in the cache of {location.name}: {tables.counted(len(layers), 'layer')}"
            )
    if options.json:
        tables.print_json(done)
    return exits.OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="*", metavar="IMAGE", help="as for tf run: nginx, `.`, oci:DIR …")
    parser.add_argument("--name", help="file it under this name, as docker tag would")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-l", "--list", action="store_true", help="list what the cache holds for this account")
    what.add_argument("--remove", action="store_true", help="let the images go instead; containers of them live on")


COMMAND = Command(
    name="cache",
    summary="have images in the location's cache: upload, list, remove",
    description="""
Uploads what the location does not have of an image: from the local Docker, an archive or a layout. Only missing
layers travel. An image that is there can be spawned from any machine of the account; spawning one uploads it anyhow.

The list has a row for each image: NAME, ID (the first digits of its digest), SIZE, LAYERS.
""",
    run=_cache,
    arguments=_arguments,
    common=("where", "json", "noise"),
    examples=(
        ("tf cache nginx", "from the local Docker, if the cache does not have it"),
        ("tf cache .", "the newest local build"),
        ("tf cache --name shop oci:build/image", "an OCI layout, filed as `shop`"),
        ("tf cache --list", "what is there"),
    ),
    see_also=("tf-describe",),
)

"""`tf describe`, `tfdescribe`: what an image in the location's cache is made of."""

from __future__ import annotations

import argparse
import json

from tfnz.commands import exits, tables
from tfnz.commands import options as common
from tfnz.commands.command import Command


def _describe(options: argparse.Namespace) -> int:
    from tfnz.images import cached

    with common.opened(options) as location:
        found = [cached.described(location, image) for image in options.image]
    described = [
        {
            "name": image.name,
            "config": json.loads(image.config),
            "layers": [
                {"diff_id": layer.diff_id, "digest": layer.digest, "size": layer.size} for layer in image.layers
            ],
        }
        for image in found
    ]
    tables.print_json(described[0] if len(described) == 1 else described)
    return exits.OK


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="+", metavar="IMAGE", help="a name, or the beginning of an id, in the cache")


COMMAND = Command(
    name="describe",
    summary="print what an image in the location's cache is made of, as JSON",
    description="""
Prints a JSON object: `name`; `config`, the image's configuration as the OCI image specification has it (its
Entrypoint, Cmd, Env, ExposedPorts … are below `config.config`); `layers`, bottom first, each with diff_id, digest and
size in bytes. Of several images it prints a list.
""",
    run=_describe,
    arguments=_arguments,
    common=("where",),
    examples=(
        ("tf describe nginx", "all of it"),
        ("tf describe nginx | jq .config.config.Env", "its environment"),
    ),
    exits=(("7", "the image is not in the cache; tf cache uploads it"),),
    see_also=("tf-cache",),
)

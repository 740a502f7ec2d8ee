"""What a location's cache holds for the account: listed, described, let go. Looks at nothing on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfcore.errors import BadImage, ImageNotFound
from tfcore.images.reference import parse_reference
from tfcore.wire import images as wire

if TYPE_CHECKING:
    from tfnz.location import Location


def listed(location: Location) -> list[wire.ImageSummary]:
    """The images the account can spawn there without an upload, by name.

    Returns:
        each with its name, the digest of its configuration, bytes and layers.
    """
    return sorted(location._call(wire.ListImages()).images, key=lambda image: image.name)


def described(location: Location, reference: str) -> wire.ImageFound:
    """What the cache says of an image: its configuration (JSON) and its layers, bottom first.

    Raises:
        ImageNotFound: it is not there. BadImage: nothing that names an image there.
    """
    try:
        return location._call(wire.FindImage(name=_filed(reference)))
    except ImageNotFound as missing:
        missing.hint = f"tf cache {reference} uploads it"
        raise


def forget(location: Location, reference: str) -> None:
    """Let the account's image go; containers of it live on, and other accounts keep theirs.

    Raises:
        ImageNotFound: it is not there. BadImage: nothing that names an image there.
    """
    location._call(wire.RemoveImage(name=_filed(reference)))


def _filed(reference: str) -> str:
    name = parse_reference(reference).cached_name
    if name is None:
        raise BadImage(f"{reference!r} names an image of the local Docker, not one of the location's cache")
    return name

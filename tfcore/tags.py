"""Tags: names people give to volumes and containers (seed 002, Tagging and Discovery). Pure."""

from __future__ import annotations

import re

from tfcore.errors import BadTag
from tfcore.ids import is_id

_GRAMMAR = re.compile(r"\A[0-9a-z_.-]{1,64}\Z")
_UUID = re.compile(r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def check_tag(tag: str) -> str:
    """`tag` itself if it can be one; "" stands for none.

    Raises:
        BadTag: outside the grammar, or so shaped that a look-up by tag could not tell it from an id.
    """
    if tag and not _GRAMMAR.match(tag):
        raise BadTag(f"{tag[:80]!r} cannot be a tag", hint="use 1 to 64 of the characters 0-9 a-z - _ .")
    if is_id(tag) or _UUID.match(tag):
        raise BadTag(f"{tag!r} cannot be a tag: it is shaped like an id")
    return tag

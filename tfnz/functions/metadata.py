"""What a Python file says of itself in its `# /// script` block: dependencies, Python and image (PEP 723)."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tfcore.errors import BadRequest

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The specification's own expression."""

MINORS = (14, 13, 12, 11, 10, 9, 8)
"""Versions 3.N to choose from, best first, where ours will not do."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What it says.

    Attributes:
        dependencies: requirements as pip takes them.
        requires_python: a version specifier, or "".
        image: the image to call it on, or "" for Python's own.
        include: files and directories beside it that it needs, as glob patterns.
    """

    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    image: str = ""
    include: tuple[str, ...] = ()


def metadata(source: str, name: str) -> Metadata:
    """Read the block of a file's text; a file without one needs nothing.

    Args:
        name: of the file, for messages.

    Raises:
        BadRequest: there are two, or it is no TOML, or not of these types.
    """
    blocks = [found for found in _BLOCK.finditer(source) if found["type"] == "script"]
    if not blocks:
        return Metadata()
    if len(blocks) > 1:
        raise BadRequest(f"{name} has {len(blocks)} script blocks; one is allowed")
    lines = blocks[0]["content"].splitlines()
    try:
        found = tomllib.loads("\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"the script block of {name} is no TOML: {error}") from error
    return _checked(found, name)


def _checked(found: Mapping[str, Any], name: str) -> Metadata:
    ours = found.get("tool", {}).get("tf", {}) if isinstance(found.get("tool", {}), dict) else {}
    made = Metadata(
        dependencies=_texts(found, "dependencies", name),
        requires_python=_text(found, "requires-python", name),
        image=_text(ours, "image", name),
        include=_texts(ours, "include", name),
    )
    try:
        for dependency in made.dependencies:
            Requirement(dependency)
        SpecifierSet(made.requires_python)
    except (InvalidRequirement, InvalidSpecifier) as error:
        raise BadRequest(f"the script block of {name}: {error}") from error
    return made


def _text(table: Mapping[str, Any], key: str, name: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise BadRequest(f"the script block of {name}: {key} is a text")
    return value


def _texts(table: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"the script block of {name}: {key} is a list of texts")
    return tuple(value)


def images(requires_python: str) -> list[str]:
    """Python's own images that will do, best first: of our own version if it fits, else of the newest that does.

    Raises:
        BadRequest: none does.
    """
    wanted = SpecifierSet(requires_python)
    minors = [minor for minor in (sys.version_info.minor, *MINORS) if _some_release(wanted, minor)]
    if not minors:
        raise BadRequest(f"requires-python {requires_python!r} fits none of Python 3.{MINORS[-1]} to 3.{MINORS[0]}")
    return [f"python:3.{minors[0]}-slim", f"python:3.{minors[0]}"]


def _some_release(wanted: SpecifierSet, minor: int) -> bool:
    return any(wanted.contains(f"3.{minor}.{patch}") for patch in range(40))


def fits(requires_python: str, version: str) -> bool:
    """True if a Python of this version will do."""
    return SpecifierSet(requires_python).contains(version, prereleases=True)

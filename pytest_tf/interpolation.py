"""`{fixture.attribute}` in the texts of a factory: which fixtures a text needs, and the text with their values.

Only names joined by dots count, so that JSON, nginx configurations and shell scripts pass unchanged; a brace that is
doubled or follows a dollar sign is left alone, too. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_DOTTED = re.compile(r"(?<![{$])\{([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)+)\}(?!\})")
_NAME_OR_DOTTED = re.compile(r"(?<![{$])\{([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)\}(?!\})")


def fixtures_in(text: object) -> tuple[str, ...]:
    """The fixtures a value needs: those of `{db.ip}` in a text, none in anything else."""
    return _names(_DOTTED, text)


def fixtures_in_reference(image: object) -> tuple[str, ...]:
    """As `fixtures_in`, for an image: `{images}` alone counts as well, since no reference contains a brace."""
    return _names(_NAME_OR_DOTTED, image)


def fill(text: str, values: Mapping[str, Any]) -> str:
    """`text` with each `{fixture.attribute}` replaced.

    Raises:
        LookupError: a fixture's value has no such attribute; the message names both.
    """
    return _DOTTED.sub(_replacement(values), text)


def fill_reference(image: str, values: Mapping[str, Any]) -> str:
    """As `fill`, for an image."""
    return _NAME_OR_DOTTED.sub(_replacement(values), image)


def _names(pattern: re.Pattern[str], text: object) -> tuple[str, ...]:
    if not isinstance(text, str):
        return ()
    return tuple(dict.fromkeys(match[1] for match in pattern.finditer(text)))


def _replacement(values: Mapping[str, Any]) -> Callable[[re.Match[str]], str]:
    def replacement(match: re.Match[str]) -> str:
        value = values[match[1]]
        for attribute in match[2].split(".")[1:]:
            try:
                value = getattr(value, attribute)
            except AttributeError as missing:
                raise LookupError(f"{match[0]}: {value!r} has no attribute {attribute!r}") from missing
        return str(value)

    return replacement

"""A function's arguments from the words of a command line: `area 2 3 --unit cm`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from tfcore.errors import BadRequest

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def arguments(words: Sequence[str], signature: inspect.Signature) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments and named ones, as the function's annotations want them.

    `--name value`, `--name=value`, and `--name` alone for a bool; `--` ends the named ones. A parameter annotated `str` gets
    the word; int, float and bool what it stands for; any other what it means as JSON, or the word where it means nothing.

    Raises:
        BadRequest: a word is no int, float or bool where one is wanted; a name stands without its value.
    """
    parameters = dict(signature.parameters)
    places = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = next((p for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    rest = list(words)
    only_positional = False
    while rest:
        word = rest.pop(0)
        if word == "--" and not only_positional:
            only_positional = True
        elif word.startswith("--") and not only_positional:
            name, parameter, value = _named(word, rest, parameters)
            named[name] = _meant(value, parameter)
        else:
            place = places[len(positional)] if len(positional) < len(places) else several
            positional.append(_meant(word, place))
    return tuple(positional), named


def _named(
    word: str, rest: list[str], parameters: dict[str, inspect.Parameter]
) -> tuple[str, inspect.Parameter | None, str]:
    """Name, parameter and value; takes the value from the rest where it does not stand in the word."""
    option, equals, value = word[2:].partition("=")
    name = option.replace("-", "_")
    parameter = parameters.get(name)
    if equals:
        return name, parameter, value
    if parameter is not None and parameter.annotation == "bool":
        return name, parameter, "true"
    if not rest:
        raise BadRequest(f"{word} has no value", hint=f"write {word} VALUE, or {word}=VALUE")
    return name, parameter, rest.pop(0)


def _meant(word: str, parameter: inspect.Parameter | None) -> Any:
    wanted = parameter.annotation if parameter is not None else inspect.Parameter.empty
    try:
        if wanted == "str":
            return word
        if wanted == "bool":
            return _BOOLEANS[word.lower()]
        if wanted in ("int", "float"):
            return int(word) if wanted == "int" else float(word)
    except (KeyError, ValueError) as error:
        assert parameter is not None
        raise BadRequest(f"{parameter.name}: {word!r} is no {wanted}") from error
    try:
        return json.loads(word)
    except ValueError:
        return word

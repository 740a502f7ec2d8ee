"""The functions of a file, and their arguments from words, without anything being run."""

from __future__ import annotations

from typing import Any

import pytest

from tfcore.errors import BadRequest, NotFound
from tfnz.functions.signatures import outline
from tfnz.functions.words import arguments

SOURCE = '''
raise SystemExit("this file must not be run here")

def area(width: int, height: float = 1, *, unit: str = "cm", loud: bool = False) -> float:
    """Of a rectangle.

    And more.
    """

def free(*all, **named): ...
async def later(x): ...
def _hidden(): ...
@cache
def decorated(x): ...
class Shape:
    def method(self): ...
'''


def test_public_functions_are_found_with_what_they_take() -> None:
    found = outline(SOURCE, "x.py")
    assert list(found.functions) == ["area", "free", "later", "decorated"]
    assert str(found.functions["area"]) == (
        "(width: int, height: float = 1, *, unit: str = 'cm', loud: bool = False) -> float"
    )
    assert found.summaries["area"] == "Of a rectangle."
    assert not found.program


@pytest.mark.parametrize(
    ("source", "name", "chosen"),
    [
        ("def main(): ...\ndef b(): ...\nif __name__ == '__main__': main()", None, "main"),
        ("def b(): ...\nif __name__ == '__main__': b()", None, ""),
        ("def b(): ...", None, "b"),
        ("def b(): ...\ndef c(): ...", "c", "c"),
    ],
)
def test_which_function_is_meant(source: str, name: str | None, chosen: str) -> None:
    assert outline(source, "x.py").chosen(name) == chosen


@pytest.mark.parametrize(
    ("source", "name", "says"),
    [
        ("def b(): ...\ndef c(): ...", None, "it has b, c"),
        ("", None, "it has none"),
        ("def b(): ...", "_b", "it has b"),
    ],
)
def test_no_function_is_guessed(source: str, name: str | None, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        outline(source, "x.py").chosen(name)


@pytest.mark.parametrize(
    ("name", "positional", "named", "refused"),
    [
        ("area", (1,), {}, False),
        ("area", (1, 2), {"unit": "m"}, False),
        ("area", (), {}, True),
        ("area", (1, 2, 3), {}, True),
        ("area", (1,), {"colour": 2}, True),
        ("free", (1, 2, 3), {"colour": 2}, False),
        ("decorated", (1, 2, 3), {"colour": 2}, False),
    ],
)
def test_arguments_are_checked_here(
    name: str, positional: tuple[int, ...], named: dict[str, Any], refused: bool
) -> None:
    found = outline(SOURCE, "x.py")
    if refused:
        with pytest.raises(TypeError, match=r"area\("):
            found.check(name, positional, named)
    else:
        found.check(name, positional, named)


def test_what_is_no_python_is_refused_with_its_line() -> None:
    with pytest.raises(BadRequest, match=r"x.py is no Python: .*line 1"):
        outline("def (", "x.py")


@pytest.mark.parametrize(
    ("words", "positional", "named"),
    [
        ("2 3", (2, 3.0), {}),
        ("2 --unit 5", (2,), {"unit": "5"}),
        ("2 --unit=5 --loud", (2,), {"unit": "5", "loud": True}),
        ("--width 2 --loud=no", (), {"width": 2, "loud": False}),
        ("-- -2", (-2,), {}),
        ("-2", (-2,), {}),
    ],
)
def test_words_become_what_the_annotations_want(words: str, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
    assert arguments(words.split(), outline(SOURCE, "x.py").functions["area"]) == (positional, named)


def test_words_without_annotations_are_json_or_themselves() -> None:
    words = ["1", "a", '"1"', '{"a": [null]}', "--some-name", "true"]
    found = arguments(words, outline(SOURCE, "x.py").functions["free"])
    assert found == ((1, "a", "1", {"a": [None]}), {"some_name": True})


@pytest.mark.parametrize("words", ["x", "2 y", "2 --loud=perhaps", "2 --unit"])
def test_a_word_that_is_not_what_is_wanted_is_refused(words: str) -> None:
    with pytest.raises(BadRequest):
        arguments(words.split(), outline(SOURCE, "x.py").functions["area"])

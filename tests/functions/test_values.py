"""Arguments and results on their way: whatever can travel arrives as it was, and nothing is executed."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import pathlib
import subprocess
import sys
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

from tfnz.functions import values

Point = namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


@dataclass
class Shape:
    name: str
    at: tuple[int, int]


UTC = datetime.UTC


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1, 2**80, 1.5, float("inf"), "", "grüße \0", [], {}, [1, [2, {"a": None}]],
        b"", b"\0\xff", bytearray(b"x"), (), (1, (2,)), {1, 2}, frozenset({"a"}), {1: 2, (3, 4): [5]}, {"$tf": "mine"},
        1 + 2j, decimal.Decimal("1.10"), uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"),
        datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), datetime.date(2026, 1, 2), datetime.time(1, 2),
        datetime.timedelta(days=-1, microseconds=3),
    ],
    ids=repr,
)  # fmt: skip
def test_what_travels_arrives_as_it_was(value: Any) -> None:
    arrived = values.decode(values.encode(value))
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (Point(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (Colour.RED, 1),
        (Shape("s", (1, 2)), {"name": "s", "at": (1, 2)}),
    ],
    ids=repr,
)
def test_special_kinds_arrive_as_what_they_are_a_kind_of(value: Any, arrives: Any) -> None:
    assert values.decode(values.encode(value)) == arrives


@pytest.mark.parametrize(
    ("value", "where"),
    [([1, object()], r"the result\[1\] is a builtins.object"), ({"a": {2: len}}, r"the result\['a'\]\[2\]")],
)
def test_what_cannot_travel_is_named_with_its_place(value: Any, where: str) -> None:
    with pytest.raises(TypeError, match=where):
        values.encode(value, "the result")


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", '{"$tf": ["os.system", "true"]}', '{"$tf": []}', '{"$tf": 1}', '{"$tf": ["bytes", 1]}',
        '{"$tf": ["Decimal", "x"]}', '{"$tf": ["set", [[1]]]}', '{"$tf": ["dict", [[{}, 1]]]}', '{"$tf": ["UUID", "1"]}',
        '{"$tf": ["dict", 5]}', "[" * 100_000,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        values.decode(text)


def test_programs_that_know_no_tags_get_lists_and_texts() -> None:
    value = {1: (1, {2}), "b": b"x", "d": datetime.date(2026, 1, 2)}
    assert json.loads(json.dumps(values.plain(value))) == {"1": [1, [2]], "b": "x", "d": "2026-01-02"}


def test_what_runs_in_the_container_needs_nothing_of_ours() -> None:
    """In the image there is a Python and nothing else."""
    for name in ("values.py", "inside.py"):
        path = pathlib.Path(values.__file__).with_name(name)
        program = f"import sys, ast; tree = ast.parse(open({str(path)!r}).read(), feature_version=(3, 8))"
        subprocess.run([sys.executable, "-ISc", program], check=True)
        subprocess.run([sys.executable, "-ISc", f"import runpy; runpy.run_path({str(path)!r})"], check=True)

"""Two functions have the same digest if, and only if, what can be read of them is the same."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_tf.code_digest import code_digest

NUMBERS = itertools.count()

MODULE = """
import builtins, enum, functools, json, sys, pathlib, textwrap
ROWS = 10
NAMES = {"a": [1, 2], "b": {3}}
HERE = pathlib.Path(__file__).parent / "sql"
class Kind(enum.Enum):
    SMALL = 1
    LARGE = 2
class Config:
    def __init__(self, rows): self.rows = rows
    def total(self): return self.rows * 2
CONFIG = Config(3)
KIND = Kind.SMALL
def helper(n):
    return n + 1
def outer():
    captured = 5
    def inner(c):
        return captured
    return inner
closed = outer()
def prepare(c, times=2):
    c.put(str(HERE), textwrap.dedent(json.dumps(NAMES)) * ROWS * helper(times))
    print(sys.path, builtins.len)
    return [CONFIG.total() for _ in range(3)], KIND
bound = functools.partial(prepare, times=3)
def recursive(c):
    return recursive
"""


def digest(directory: Path, text: str, name: str = "prepare") -> str:
    directory.mkdir(exist_ok=True)
    path = directory / f"module{next(NUMBERS)}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("module", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return code_digest(getattr(module, name), directory)


@pytest.mark.parametrize("name", ["prepare", "bound", "closed", "recursive"])
def test_the_same_text_has_the_same_digest_wherever_it_is(tmp_path: Path, name: str) -> None:
    assert digest(tmp_path / "a", MODULE, name) == digest(tmp_path / "b", MODULE, name)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("c.put", "c.push", "prepare"),
        ("ROWS = 10", "ROWS = 11", "prepare"),
        ("[1, 2]", "[1, 3]", "prepare"),
        ("{3}", "{4}", "prepare"),
        ('"sql"', '"psql"', "prepare"),
        ("Config(3)", "Config(4)", "prepare"),
        ("self.rows * 2", "self.rows * 3", "prepare"),
        ("KIND = Kind.SMALL", "KIND = Kind.LARGE", "prepare"),
        ("return n + 1", "return n + 2", "prepare"),
        ("times=2", "times=4", "prepare"),
        ("times=3", "times=4", "bound"),
        ("captured = 5", "captured = 6", "closed"),
    ],
)
def test_a_change_of_what_it_refers_to_changes_it(tmp_path: Path, old: str, new: str, name: str) -> None:
    assert digest(tmp_path, MODULE, name) != digest(tmp_path, MODULE.replace(old, new), name)


def test_a_change_elsewhere_does_not(tmp_path: Path) -> None:
    changed = MODULE.replace("captured = 5", "captured = 6") + "\nOTHER = 1\n"
    assert digest(tmp_path, MODULE) == digest(tmp_path, changed)


WAYS = {
    "a module": "import migrations\ndef prepare(c): migrations.up(c)",
    "a module, when it runs": "def prepare(c):\n    import migrations\n    migrations.up(c)",
    "a name of a package, when it runs": "def prepare(c):\n    from app import steps\n    steps.up(c)",
    "a package": "import app.steps\ndef prepare(c): app.steps.up(c)",
    "a function that imports relatively": "from app.steps import late\ndef prepare(c): late(c)",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_project_s_modules_count_with_all_they_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text("")
    (tmp_path / "migrations.py").write_text("import app.steps\ndef up(c): app.steps.up(c)\n")
    (tmp_path / "app/steps.py").write_text(
        "from .tables import up\ndef late(c):\n    from .tables import up\n    up(c)\n"
    )
    found = []
    for version in ("1", "2", "1"):
        (tmp_path / "app/tables.py").write_text(f"def up(c): return {version}\n")
        importlib.invalidate_caches()
        found.append(digest(tmp_path, WAYS[way]))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("app", "migrations")]:
        sys.modules.pop(name)
    assert found[0] != found[1]
    assert found[0] == found[2]


def test_what_has_no_source_is_told_apart_by_its_code(tmp_path: Path) -> None:
    made: list[Any] = [eval(f"lambda c: c.put({number!r})", {}) for number in ("1", "2", "1")]
    first, second, third = (code_digest(function, tmp_path) for function in made)
    assert first == third
    assert first != second

"""Random suites, in random order, against what the levels promise: a test finds the work of the fixtures that are set up,
each once, and nothing else; a teardown finds what its own level and the wider ones have done, and what its test has done if
it is a test's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from tests.plugin.conftest import Run

CONFTEST = """
import random
import pytest
from pytest_tf import container
import watch

one = container("one")
two = container("two")

def pytest_collection_modifyitems(items):
    random.Random({seed}).shuffle(items)

def pytest_runtest_setup(item):
    watch.finished.clear()

def pytest_fixture_post_finalizer(fixturedef):
    watch.end(fixturedef.argname)
"""

WATCH = '''
"""What fixtures and tests write to containers, and what they should find there."""

alive, finished = {}, {}

def _write(container, name):
    container.files["/log"] = container.files.get("/log", b"") + name.encode() + b" "

def _read(container):
    return sorted(container.files.get("/log", b"").decode().split())

def set_up(name, level, **containers):
    finished.clear()
    alive[name] = (level, containers)
    for container in containers.values():
        _write(container, name)

def end(name):
    if name in alive:
        finished[name] = alive.pop(name)

def test(name, **containers):
    for key, container in containers.items():
        assert _read(container) == sorted(n for n, (_, touched) in alive.items() if key in touched)
        _write(container, name)

def torn_down(name, cleans=False):
    level, containers = alive[name]
    for key, container in containers.items():
        found = [n for n in _read(container) if not n.startswith("test_")]
        assert found == sorted(
            [n for n, (other, touched) in alive.items() if other <= level and key in touched]
            + [n for n, (other, touched) in finished.items() if other == level and key in touched]
        )
        if level[0] < 4:
            assert len(found) == len(_read(container)), "what a test did is still there"
        if cleans:
            container.files["/log"] = container.files["/log"].replace(name.encode() + b" ", b"")
    if cleans:
        del alive[name]
'''


@dataclass
class Fixture:
    """One of a suite.

    Attributes:
        level: (0,) of the session, (1, depth), (2,), (3, depth), (4,) of the test; as in `WATCH`.
        kind: plain, checks its state when it is torn down, or cleans up as well.
        parts: fixtures it asks for.
        parameters: it has some, itself or by what it asks for.
    """

    name: str
    scope: str
    level: tuple[int, ...]
    kind: str
    containers: list[str]
    parts: list[Fixture]
    parameters: bool
    own: bool
    autouse: bool

    def text(self, *, in_class: bool) -> str:
        options = [f"scope={self.scope!r}", *["params=[0, 1]"] * self.own, *["autouse=True"] * self.autouse]
        arguments = [*["self"] * in_class, *["request"] * self.own, *self.containers, *(one.name for one in self.parts)]
        touched = ", ".join(f"{one}={one}" for one in self.containers)
        lines = [
            f"@pytest.fixture({', '.join(options)})",
            f"def {self.name}({', '.join(arguments)}):",
            f"    watch.set_up({self.name!r}, {self.level}, {touched})",
        ]
        if self.kind != "plain":
            lines += ["    yield", f"    watch.torn_down({self.name!r}, cleans={self.kind == 'cleans'})"]
        return "\n".join(lines) + "\n"


class Suite:
    """Writes one, of packages, modules, classes and tests."""

    def __init__(self, seed: int, root: Path) -> None:
        self._random = random.Random(seed)
        self._root = root
        self._names = iter(f"f{number}" for number in range(1000))
        self._tests = iter(f"test_{number}" for number in range(1000))
        (root / "watch.py").write_text(WATCH)
        session = self._fixtures("session", (0,), [])
        head = CONFTEST.format(seed=seed)
        (root / "conftest.py").write_text(head + "".join(one.text(in_class=False) for one in session))
        self._directory(root, session, 0)

    def _directory(self, directory: Path, seen: list[Fixture], depth: int) -> None:
        for number in range(self._random.randint(1, 2)):
            (directory / f"test_m{depth}{number}{directory.name[-1]}.py").write_text(self._module(seen))
        for number in range(self._random.randint(0, 2) if depth < 2 else 0):
            package = directory / f"p{depth}{number}"
            package.mkdir()
            (package / "__init__.py").touch()
            own = self._fixtures("package", (1, depth + 1), seen)
            text = "import pytest, watch\n" + "".join(one.text(in_class=False) for one in own)
            (package / "conftest.py").write_text(text)
            self._directory(package, seen + own, depth + 1)

    def _module(self, seen: list[Fixture]) -> str:
        own = self._fixtures("module", (2,), seen)
        seen = seen + own
        own += self._fixtures("function", (4,), seen)
        text = "import pytest, watch\n" + "".join(one.text(in_class=False) for one in own)
        seen = [*seen, *own[-1:]] if own and own[-1].scope == "function" else seen
        text += "".join(self._test(seen, in_class=False) for _ in range(self._random.randint(1, 3)))
        return text + "".join(self._class(seen, number, 1) for number in range(self._random.randint(0, 2)))

    def _class(self, seen: list[Fixture], number: int, depth: int) -> str:
        own = self._fixtures("class", (3, depth), [one for one in seen if one.scope != "function"])
        body = "".join(one.text(in_class=True) for one in own)
        seen = seen + own
        body += "".join(self._test(seen, in_class=True) for _ in range(self._random.randint(1, 3)))
        return f"class TestC{depth}{number}:\n" + indent(body, "    ")

    def _fixtures(self, scope: str, level: tuple[int, ...], seen: list[Fixture]) -> list[Fixture]:
        made: list[Fixture] = []
        for _ in range(self._random.randint(0, 2 + (scope == "session"))):
            made.append(self._fixture(scope, level, [*seen, *made]))
        return made

    def _fixture(self, scope: str, level: tuple[int, ...], seen: list[Fixture]) -> Fixture:
        parts = self._some(seen)
        if (
            scope == "package"
        ):  # pytest itself may set up an inner package's before an outer one's, if they are unrelated
            parts += [one for one in seen if one.scope == scope and one.level < level and one not in parts]
        own = scope != "function" and self._random.random() < 0.2
        parameters = own or any(one.parameters for one in parts)
        kind = "cleans" if parameters else self._random.choice(["plain", "checks", "cleans"])
        containers = self._random.choice([["one"], ["two"], ["one", "two"]])
        autouse = self._random.random() < 0.15
        return Fixture(next(self._names), scope, level, kind, containers, parts, parameters, own, autouse)

    def _test(self, seen: list[Fixture], *, in_class: bool) -> str:
        arguments = [*["self"] * in_class, *["one", "two"], *(one.name for one in self._some(seen, 3))]
        name = next(self._tests)
        return f"def {name}({', '.join(arguments)}):\n    watch.test({name!r}, one=one, two=two)\n"

    def _some(self, seen: list[Fixture], most: int = 2) -> list[Fixture]:
        return self._random.sample(seen, self._random.randint(0, min(most, len(seen))))


@pytest.mark.parametrize("seed", range(24))
def test_every_test_and_every_teardown_finds_what_it_should(run: Run, pytester: pytest.Pytester, seed: int) -> None:
    Suite(seed, pytester.path)
    pytester.syspathinsert()
    result = run(
        "def test_alone(one, two): pass",
        "-q",
        "-x",
        "-Wignore::DeprecationWarning",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
    )
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}, seed

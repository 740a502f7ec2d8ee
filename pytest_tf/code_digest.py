"""What a function does, as a digest: if it is the same as the last time, the function would do the same again, as far as
that can be read from its code.

Taken in are its source; the functions and classes of the project it refers to, by source as well, and so on; the project's
modules that it refers to or imports, with all that they import of the project (`project_files.py`); the values it refers to
(a global text, a closure's number), with the attributes of objects of the project's own classes. What is installed counts by
name only: what comes from there, or from files, is for the function's author to declare. Pure but for reading sources.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from pytest_tf.project_files import ProjectFiles, files_of_module

PLAIN = (str, bytes, int, float, complex, bool, type(None))
REWRITTEN = "@"
"""How the names begin that pytest writes into functions with an `assert`."""

ABOUT = ("__doc__", "__firstlineno__")
"""What a class says of itself that changes nothing."""


def code_digest(function: Any, root: Path) -> str:
    """The digest of a function, in hexadecimal digits.

    Args:
        function: a function, a method, a class or a `functools.partial`.
        root: what lies below it is the project's.
    """
    return hashlib.sha256(repr(_Reader(root.resolve()).of(function)).encode()).hexdigest()


class _Reader:
    """Reads one function and everything below it; each thing once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = ProjectFiles(root)
        self._seen: dict[int, object] = {}

    def of(self, value: Any) -> object:
        """Something whose `repr` changes when the value's meaning does."""
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, PurePath):
            return ("path", str(value.relative_to(self._root) if value.is_relative_to(self._root) else value))
        if id(value) in self._seen:
            return "seen before"
        self._seen[id(value)] = value  # held, or another value might get its id
        return self._composed(value)

    def _composed(self, value: Any) -> object:
        if isinstance(value, functools.partial):
            return ("partial", self.of(value.func), self.of(value.args), self.of(value.keywords))
        if isinstance(value, Mapping):
            return ("mapping", [(repr(key), self.of(item)) for key, item in value.items()])
        if isinstance(value, list | tuple):
            return (type(value).__name__, [self.of(item) for item in value])
        if isinstance(value, set | frozenset):
            return ("set", sorted(repr(self.of(item)) for item in value))
        return self._named(value)

    def _named(self, value: Any) -> object:
        if isinstance(value, MethodType):
            return ("method", self.of(value.__self__), self.of(value.__func__))
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, ModuleType):
            return ("module", value.__name__, self._contents(files_of_module(getattr(value, "__file__", None))))
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        state = {} if self._is_installed(type(value)) else getattr(value, "__dict__", {})
        return ("object", self.of(type(value)), self.of(state))

    def _function(self, function: FunctionType) -> object:
        name = f"{function.__module__}.{function.__qualname__}"
        if self._is_installed(function):
            return ("installed", name)
        references = [(name, self.of(value)) for name, value in _references(function)]
        return ("function", name, _source(function), references, self._imported(function))

    def _class(self, kind: type) -> object:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if self._is_installed(kind):
            return ("installed", name)
        members = [(name, self.of(member)) for name, value in vars(kind).items() for member in _members(name, value)]
        return ("class", name, [self.of(base) for base in kind.__bases__], members)

    def _is_installed(self, value: FunctionType | type) -> bool:
        """True for what was not written in the project. What was made without a file counts as the project's."""
        if isinstance(value, FunctionType):
            file: str | None = value.__code__.co_filename
        elif value.__module__ in sys.modules:
            file = getattr(sys.modules[value.__module__], "__file__", None)
        else:
            return False
        return file is None or (Path(file).is_file() and not self._files.has(file))

    def _imported(self, function: FunctionType) -> object:
        """What it imports when it runs."""
        source = _source(function)
        if not isinstance(source, str):
            return []
        file = Path(function.__code__.co_filename)
        return self._contents(self._files.imported_by(textwrap.dedent(source), file))

    def _contents(self, files: list[Path]) -> object:
        reached = self._files.reached_from(*files)
        return [(str(file.relative_to(self._root)), file.read_bytes()) for file in reached]


def _members(name: str, value: object) -> list[object]:
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    return [value] if isinstance(value, (*PLAIN, FunctionType)) and name not in ABOUT else []


def _source(function: FunctionType) -> object:
    try:
        return inspect.getsource(function)
    except OSError:  # it was made by `exec`
        codes = _codes(function.__code__)
        return [(code.co_code, [one for one in code.co_consts if isinstance(one, PLAIN)]) for code in codes]


def _references(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The names it takes from its module and from the functions around it, with what they stand for now."""
    for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield cell_name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in sorted(_loaded(function.__code__, "LOAD_GLOBAL", "LOAD_NAME")):
        if name in function.__globals__ and not name.startswith(REWRITTEN):
            yield name, function.__globals__[name]
    yield "defaults", (function.__defaults__ or (), function.__kwdefaults__ or {})


def _loaded(code: CodeType, *operations: str) -> set[str]:
    return {
        str(step.argval) for inner in _codes(code) for step in dis.get_instructions(inner) if step.opname in operations
    }


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)

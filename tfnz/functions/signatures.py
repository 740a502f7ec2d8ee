"""The functions of a Python file, read from its text: nothing of it is imported or run on this machine."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfcore.errors import BadRequest, NotFound

MAIN = "main"
"""The function that is meant where none is named."""

_KINDS = {
    "posonlyargs": inspect.Parameter.POSITIONAL_ONLY,
    "args": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "kwonlyargs": inspect.Parameter.KEYWORD_ONLY,
}


@dataclass(frozen=True, slots=True)
class Outline:
    """What there is to call.

    Attributes:
        name: the file's, for messages.
        functions: public ones by name; each parameter's annotation is its text.
        summaries: the first line of each one's docstring.
        program: it does something when it is run as a program (`if __name__ == "__main__"`).
    """

    name: str
    functions: Mapping[str, inspect.Signature]
    summaries: Mapping[str, str]
    program: bool

    def chosen(self, name: str | None) -> str:
        """The function that is meant: the one of this name; without one `main`, else "" for the file as a program, else the
        only one there is.

        Raises:
            NotFound: there is none, or one would have to be chosen.
        """
        if name is None and MAIN not in self.functions:
            if self.program:
                return ""
            if len(self.functions) == 1:
                return next(iter(self.functions))
        wanted = name or MAIN
        if wanted not in self.functions:
            raise NotFound(
                f"{self.name} has no function {wanted!r}", hint=f"it has {', '.join(self.functions) or 'none'}"
            )
        return wanted

    def check(self, function: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Refuse arguments the function does not take, with the words Python has for it.

        Raises:
            TypeError: as the function itself would.
        """
        if function:
            try:
                self.functions[function].bind(*arguments, **named)
            except TypeError as error:
                raise TypeError(f"{function}{self.functions[function]}: {error}") from None


def read(path: Path) -> str:
    """The text of a Python file.

    Raises:
        NotFound: it cannot be read. BadRequest: it is no text in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path} is no text in UTF-8: {error}") from error


def outline(source: str, name: str) -> Outline:
    """Read a file's text.

    Raises:
        BadRequest: it is no Python.
    """
    try:
        tree = ast.parse(source, filename=name)
    except (SyntaxError, ValueError) as error:
        raise BadRequest(f"{name} is no Python: {error}") from error
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    public = [node for node in defined if not node.name.startswith("_")]
    return Outline(
        name=name,
        functions={node.name: _signature(node) for node in public},
        summaries={node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in public},
        program=any(_is_main_block(node) for node in tree.body),
    )


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> inspect.Signature:
    given = node.args
    if node.decorator_list:  # what it takes then, nobody knows
        return inspect.Signature(
            [
                inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
            ]
        )
    plain = [*given.posonlyargs, *given.args]
    defaults: dict[str, ast.expr | None] = dict(
        zip([arg.arg for arg in plain[len(plain) - len(given.defaults) :]], given.defaults, strict=True)
    )
    defaults |= dict(zip([arg.arg for arg in given.kwonlyargs], given.kw_defaults, strict=True))
    found: list[inspect.Parameter] = []
    for group in ("posonlyargs", "args"):
        found += [_parameter(arg, _KINDS[group], defaults) for arg in getattr(given, group)]
    if given.vararg:
        found.append(_parameter(given.vararg, inspect.Parameter.VAR_POSITIONAL, {}))
    found += [_parameter(arg, inspect.Parameter.KEYWORD_ONLY, defaults) for arg in given.kwonlyargs]
    if given.kwarg:
        found.append(_parameter(given.kwarg, inspect.Parameter.VAR_KEYWORD, {}))
    returns = inspect.Signature.empty if node.returns is None else _Written(ast.unparse(node.returns))
    return inspect.Signature(found, return_annotation=returns)


def _parameter(arg: ast.arg, kind: Any, defaults: Mapping[str, ast.expr | None]) -> inspect.Parameter:
    default = defaults.get(arg.arg)
    return inspect.Parameter(
        arg.arg,
        kind,
        default=inspect.Parameter.empty if default is None else _Written(ast.unparse(default)),
        annotation=inspect.Parameter.empty if arg.annotation is None else _Written(ast.unparse(arg.annotation)),
    )


class _Written(str):
    """Shows in a signature as it stands in the file, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _is_main_block(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Compare)
        and isinstance(node.test.left, ast.Name)
        and node.test.left.id == "__name__"
    )

"""Sphinx: the reference from the docstrings, the guides and explanations as they are (`make docs`, HTML in build/docs)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from commands_page import write  # noqa: E402 - it is beside this file

from tfcore import VERSION  # noqa: E402

project = "pytest-tf"
author = "the pytest-tf maintainers"
release = version = VERSION

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["**/_*"]
nitpicky = False

autodoc_default_options = {"members": True, "inherited-members": False, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages

html_theme = "furo"
html_title = f"pytest-tf {VERSION}"

_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_SECTION = re.compile(r"^[A-Z][a-z]+:$")


def _as_rst(_app: object, _what: str, _name: str, _of: object, _options: object, lines: list[str]) -> None:
    """Docstrings are written for people who read them in an editor: `code` in single backticks, programs indented."""
    text: list[str] = []
    last = ""
    inside = False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside and text[-1:] == [""] and not _SECTION.match(last):
            text += ["::", ""]
            inside = True
        inside = inside and (indented or not line)
        text.append(line if inside else _CODE.sub(r"``\1``\\ ", line))
        if line and not indented:
            last = line
    lines[:] = _raises_apart(text)


_ERROR = re.compile(r"(?<=[.)]) (?=[A-Z]\w+(?:, [A-Z]\w+)*: )")


def _raises_apart(lines: list[str]) -> list[str]:
    """What a docstring raises is written as running text, `NotFound: there is none. BadRequest: …`: an entry for each."""
    if "Raises:" not in lines:
        return lines
    at = lines.index("Raises:") + 1
    end = next((n for n in range(at, len(lines)) if not lines[n].startswith("    ")), len(lines))
    entries = _ERROR.split(" ".join(line.strip() for line in lines[at:end]))
    return [*lines[:at], *(f"    {entry}" for entry in entries), *lines[end:]]


def setup(app: Sphinx) -> None:
    """Before napoleon has its turn."""
    app.connect("autodoc-process-docstring", _as_rst, priority=100)


write(Path(__file__).parent / "reference" / "_commands.md")

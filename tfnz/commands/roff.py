"""Text as roff's man macros want it: for `manual`. Plain ASCII, so that every man program shows it."""

from __future__ import annotations

import re
import textwrap

_PLAIN = str.maketrans({"…": "...", "→": "->", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"', "×": "x"})
_CODE = re.compile(r"`([^`]+)`")


def escaped(text: str) -> str:
    """Text in which nothing means anything to roff."""
    plain = text.translate(_PLAIN).replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in plain.splitlines())


def bold(text: str) -> str:
    """Words to be typed as they are."""
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    """Words that stand for others."""
    return f"\\fI{escaped(text)}\\fR"


def paragraphs(text: str) -> list[str]:
    """Paragraphs with an empty line between them; `code` is bold, and indented lines stay as they are."""
    lines: list[str] = []
    for part in text.strip().split("\n\n"):
        lines.append(".PP")
        if any(line.startswith("  ") for line in part.splitlines()):
            lines += [".nf", *escaped(part).splitlines(), ".fi"]
        else:
            lines += _filled(part)
    return lines


def _filled(part: str) -> list[str]:
    words = _CODE.sub(lambda code: "\0" + code[1].replace(" ", "\1") + "\2", " ".join(part.split()))
    lines = textwrap.wrap(words, 100, break_long_words=False, break_on_hyphens=False)
    return [escaped(line).replace("\0", "\\fB").replace("\2", "\\fR").replace("\1", " ") for line in lines]


def item(term: str, text: str) -> list[str]:
    """A term, which is roff already, and what it means below it."""
    return [".TP", term, *_filled(text)]


def section(title: str, lines: list[str]) -> list[str]:
    """A section; nothing if there is nothing in it."""
    return [f'.SH "{title}"', *(lines[1:] if lines[:1] in ([".PP"], [".br"]) else lines)] if lines else []

"""Figures as dots on a logarithmic scale, in SVG. Pure; knows nothing of what is measured.

Dots, since bars have no zero to start from on such a scale. The colours follow the reader's light or dark setting, on a
ground of the picture's own, so that it is readable on any page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 840, 280, 700
"""Where the picture, and the scale in it, begin and end, in pixels."""

LINE, GAP, TOP, BOTTOM = 22, 34, 98, 40
"""Heights: of a line, above a group, above the first one, below the last."""

STYLE = """
  .ground { fill: #ffffff } .word { fill: #1f2328 } .quiet { fill: #59636e } .rule { stroke: #d1d9e0 }
  .ours { fill: #1a7f37; stroke: #1a7f37 } .theirs { fill: #59636e; stroke: #59636e }
  text { font: 13px system-ui, sans-serif; stroke: none } .head { font-size: 16px } .strong { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117 } .word { fill: #f0f6fc } .quiet { fill: #9198a1 } .rule { stroke: #3d444d }
    .ours { fill: #3fb950; stroke: #3fb950 } .theirs { fill: #9198a1; stroke: #9198a1 }
  }
"""


@dataclass(frozen=True)
class Dot:
    """One line of the picture: a dot at `middle`, a thin line on to `end`, `said` at the right; `ours` stands out."""

    label: str
    middle: float
    end: float
    said: str
    ours: bool = False


@dataclass(frozen=True)
class Group:
    """Dots that are to be compared, under a title."""

    title: str
    dots: Sequence[Dot]


def picture(title: str, below: Sequence[str], groups: Sequence[Group]) -> str:
    """The whole SVG document; values are in milliseconds.

    Args:
        below: quieter lines below the title, two at most.

    Raises:
        ValueError: there is nothing to draw.
    """
    scale = Scale.over([value for group in groups for dot in group.dots for value in (dot.middle, dot.end)])
    height = TOP + sum(GAP + LINE * len(group.dots) for group in groups) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{_quoted(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        _text(24, 34, title, "word head strong"),
        *(_text(24, 56 + 20 * number, line, "quiet") for number, line in enumerate(below)),
        *_rules(scale, height),
        *_lines(scale, groups),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class Scale:
    """Whole powers of ten, from `first` to `last`."""

    first: int
    last: int

    @classmethod
    def over(cls, values: Sequence[float]) -> Scale:
        """One that has room for all values.

        Raises:
            ValueError: there is none, or one that is not above zero.
        """
        if not values or min(values) <= 0:
            raise ValueError("only figures above zero can be drawn, and there must be some")
        first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(first, max(last, first + 1))

    def at(self, value: float) -> float:
        """Where a value is, in pixels from the left."""
        share = (math.log10(value) - self.first) / (self.last - self.first)
        return round(LEFT + share * (RIGHT - LEFT), 1)


def _rules(scale: Scale, height: int) -> Iterator[str]:
    for power in range(scale.first, scale.last + 1):
        x = scale.at(10**power)
        yield f'<line class="rule" x1="{x}" x2="{x}" y1="{TOP}" y2="{height - BOTTOM + 6}"/>'
        yield _text(x, height - BOTTOM + 24, _power(power), "quiet", anchor="middle")


def _power(power: int) -> str:
    return f"{10 ** (power - 3):g} s" if power >= 3 else f"{10.0**power:g} ms"


def _lines(scale: Scale, groups: Sequence[Group]) -> Iterator[str]:
    y = TOP
    for group in groups:
        y += GAP
        yield _text(24, y - 10, group.title, "word strong")
        for dot in group.dots:
            yield from _line(scale, dot, y + LINE // 2)
            y += LINE


def _line(scale: Scale, dot: Dot, y: int) -> Iterator[str]:
    whose, weight = ("ours", "word strong") if dot.ours else ("theirs", "word")
    yield _text(40, y + 4, dot.label, weight)
    yield f'<line class="{whose}" x1="{scale.at(dot.middle)}" x2="{scale.at(dot.end)}" y1="{y}" y2="{y}"/>'
    yield f'<circle class="{whose}" cx="{scale.at(dot.middle)}" cy="{y}" r="{6 if dot.ours else 4}"/>'
    yield _text(WIDTH - 24, y + 4, dot.said, weight, anchor="end")


def _text(x: float, y: float, words: str, classes: str, *, anchor: str = "start") -> str:
    return f'<text class="{classes}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'


def _quoted(words: str) -> str:
    return escape(words, {'"': "&quot;"})

"""What the plugin prints: a line in the header, a line when the session opens, the summary. Formats, decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_tf.figures import Figures, Rollback, quantile
from pytest_tf.leaks import told
from pytest_tf.options import Options

if TYPE_CHECKING:
    from tfnz.location import Location

TITLE = "tf summary"

CLEAN = "clean"
"""How a rollback is done when there is nothing to bring back."""


def header(options: Options) -> str:
    """What was set, for pytest's header."""
    shown = {
        "location": options.location,
        "image": options.image,
        "isolate": options.isolate_all or options.isolate,
        "keep": options.keep,
        "missing": options.missing,
    }
    return "tf: " + ", ".join(f"{name}={value}" for name, value in shown.items() if name in options.given and value)


def opened(location: Location, tests: int) -> str:
    """Where this run's containers go."""
    nodes = [node for node in location.nodes.values() if node.alive]
    free = sum(node.stats.memory for node in nodes)
    return f"tf: {location.name} ({counted(len(nodes), 'node')}, {size(free)} free) for {counted(tests, 'test')}"


def write_summary(terminal: Any, parts: Iterable[dict[str, Any]], options: Options) -> None:
    """The summary of this process and of xdist's workers, as far as they had containers."""
    figures = Figures()
    for part in parts:
        figures.add(Figures.from_dict(part))
    if figures:
        terminal.section(TITLE)
        for line in summary(figures, durations=options.durations):
            terminal.line(line)


def summary(figures: Figures, *, durations: int) -> Iterator[str]:
    """The lines below the title."""
    parts = [_boots(figures), counted(len(figures.baselines), "baseline"), _rollbacks(figures.rollbacks)]
    yield f"{', '.join(figures.locations)}: {', '.join(parts)}"
    if figures.prepared:
        yield "prepared: " + ", ".join(_prepared(*one) for one in figures.prepared)
    if figures.rebuilt:
        yield f"built again from their baseline: {', '.join(figures.rebuilt)}"
    if figures.kept:
        yield "kept: " + ", ".join(dict.fromkeys(figures.kept))
    yield from told(figures.leaks)
    if durations:
        yield from _slowest(figures, durations)


def _prepared(took: float, name: str, cached: bool) -> str:
    return f"{name} by an earlier run" if cached else f"{name} in {seconds(took)}"


def _boots(figures: Figures) -> str:
    parts = [f"{len(figures.forked)} forked"] if figures.forked else []
    if figures.boots:
        parts.append(f"slowest boot {seconds(max(boot[0] for boot in figures.boots))}")
    return counted(len(figures.boots), "container") + (f" ({', '.join(parts)})" if parts else "")


def _rollbacks(rollbacks: Collection[Rollback]) -> str:
    """`12 rollbacks (7 clean, 3 created p50 31 ms p95 40 ms, 2 cold p50 60 ms p95 61 ms)`; clean ones take no time."""
    by_tier: dict[str, list[float]] = {}
    for took, tier, *_ in rollbacks:
        by_tier.setdefault(tier, []).append(took)
    number = "{} " if len(by_tier) > 1 else ""
    tiers = [
        number.format(len(times)) + (tier if tier == CLEAN else f"{tier} {_spread(times)}")
        for tier, times in sorted(by_tier.items(), key=lambda item: (item[0] != CLEAN, item[0]))
    ]
    return counted(len(rollbacks), "rollback") + (f" ({', '.join(tiers)})" if tiers else "")


def _spread(times: Collection[float]) -> str:
    return f"p50 {seconds(quantile(times, 0.5))} p95 {seconds(quantile(times, 0.95))}"


def _slowest(figures: Figures, number: int) -> Iterator[str]:
    boots = [(took, f"boot of {name}") for took, name in figures.boots]
    rollbacks = [(took, f"rollback of {name} ({tier}) after {test}") for took, tier, name, test in figures.rollbacks]
    for took, what in sorted([*boots, *rollbacks], reverse=True)[:number]:
        yield f"{seconds(took):>8}  {what}"


def counted(number: int, what: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def seconds(value: float) -> str:
    """`1.9 s`, `41 ms`, `0.7 ms`."""
    if value >= 1:
        return f"{value:.1f} s"
    milliseconds = value * 1000
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def size(count: int) -> str:
    """`20.1 GiB`."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"

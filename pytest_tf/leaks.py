"""Which tests left something in a container: what a rollback says it did away with, and how the summary tells it.

A rollback makes a leak harmless here, but not elsewhere: the test does not clean up after itself. What counts as left is the
node's to say (`docs/explain/rollback.md`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pytest_tf.figures import Leak
from pytest_tf.options import Options

if TYPE_CHECKING:
    from pytest_tf.guarded import Guarded
    from tfcore.wire.differences import Left, LookFor

SHOWN = 20
"""Lines of the summary."""

NAMED = 3
"""Processes or files that a line names."""

LONGEST = 60
"""Characters of a command that are shown."""


def look_for(options: Options) -> LookFor:
    """What a rollback is asked to tell."""
    return "nothing" if options.leaks == "none" else options.leaks  # type: ignore[return-value]


def leaks(left: Left, guarded: Guarded, after: str) -> Iterator[Leak]:
    """What a rollback of a container after a test has told."""
    test = after if guarded.scope == "function" else f"the tests up to {after}"
    if left.processes:
        yield test, guarded.name, "process", len(left.processes) + left.more_processes, _named(left.processes)
    if left.files:
        yield test, guarded.name, "file", len(left.files) + left.more_files, _named(left.files)


def _named(what: Iterable[str]) -> str:
    """`sleep 9 (3 times), worker, …`."""
    counted = Counter(what)
    names = [f"{one[:LONGEST]} ({number} times)" if number > 1 else one[:LONGEST] for one, number in counted.items()]
    return ", ".join([*names[:NAMED], *("…" for _ in names[NAMED : NAMED + 1])])


def told(found: list[Leak]) -> Iterator[str]:
    """Lines for the summary."""
    for test, container, kind, number, names in found[:SHOWN]:
        plural = {"process": "processes", "file": "files"}[kind]
        yield f"leaks: {test} left {number} {kind if number == 1 else plural} in {container} ({names})"
    if more := len(found[SHOWN:]):
        yield f"leaks: and {more} more"

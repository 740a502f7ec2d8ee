"""Holding containers still: nothing runs in them and nothing is started in them meanwhile. For worker threads."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator

from tfnode.containers.life import Generation

log = logging.getLogger(__name__)


@contextlib.contextmanager
def held_still(generations: Iterable[Generation]) -> Iterator[None]:
    """Hold all of them still for the length of the block.

    Raises:
        DeadlineExceeded: one did not stop in time; they run again.
        HostLacks: this machine cannot do it.
    """
    with contextlib.ExitStack() as held:
        for generation in _in_order(generations):
            held.enter_context(generation.turn)
            try:
                generation.group.freeze()
            except FileNotFoundError:
                log.debug("%s is gone: it writes nothing", generation.tree)
            else:
                held.callback(_let_go, generation)
        yield


def _in_order(generations: Iterable[Generation]) -> list[Generation]:
    """The same for everybody, so that no two hold what the other waits for."""
    return sorted({generation.tree: generation for generation in generations}.values(), key=lambda g: g.tree)


def _let_go(generation: Generation) -> None:
    with contextlib.suppress(FileNotFoundError):  # it died meanwhile, and was cleared away
        generation.group.thaw()

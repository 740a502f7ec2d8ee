"""Rolling several containers back at once, and what is done when that fails.

All of them are reset at the same time: had one the new state while another still lived in the old one, the old one could
write into the new state. A container that does not come up because one it depends on was not there yet gets a second
chance after the others; one that still fails is built again from its baseline, and its test's teardown fails with the
cause.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from pytest_tf.figures import Figures
from pytest_tf.guarded import Guarded
from pytest_tf.leaks import leaks, look_for
from pytest_tf.session import Session
from tfcore.errors import TfError

log = logging.getLogger(__name__)

Depends = Callable[[Guarded], set[Guarded]]


def together(guarded: Sequence[Guarded], work: Callable[[Guarded], object]) -> dict[Guarded, TfError]:
    """Do something with several containers at the same time; the errors by container.

    Of those that share a volume one follows the other: the volume must end up in one state for all of them.
    """
    later = [one for number, one in enumerate(guarded) if any(one.shares_with(other) for other in guarded[:number])]
    errors = _at_once([one for one in guarded if one not in later], work)
    for one in later:
        errors |= _at_once([one], work)
    return errors


def _at_once(guarded: Sequence[Guarded], work: Callable[[Guarded], object]) -> dict[Guarded, TfError]:
    def outcome(one: Guarded) -> TfError | None:
        try:
            work(one)
        except TfError as error:
            return error
        return None

    if len(guarded) < 2:
        outcomes = [outcome(one) for one in guarded]
    else:
        with ThreadPoolExecutor(len(guarded), thread_name_prefix="tf") as threads:
            outcomes = list(threads.map(outcome, guarded))
    return {one: error for one, error in zip(guarded, outcomes, strict=True) if error is not None}


def roll_back(
    guarded: Sequence[Guarded], depends: Depends, session: Session, item: pytest.Item, *, mark_log: bool
) -> list[str]:
    """Roll containers back after `item`; a sentence for each that could not be.

    Args:
        depends: the containers a container needs in order to boot.
        mark_log: the next test's log begins after the rollback.
    """
    begun = time.monotonic()
    work = partial(_roll_back, session=session, after=item.nodeid, mark_log=mark_log)
    errors = together(guarded, work)
    for one in [one for one in errors if depends(one) & set(guarded)]:
        log.info("%s did not come up beside what it depends on, trying again: %s", one.name, errors.pop(one))
        errors |= together([one], work)
    if guarded:
        _tell(item, time.monotonic() - begun, guarded)
    return [_rebuild(one, error, session.figures, item) for one, error in errors.items()]


def _roll_back(guarded: Guarded, *, session: Session, after: str, mark_log: bool) -> None:
    seconds, rolled = guarded.roll_back(mark_log=mark_log, look_for=look_for(session.options))
    session.figures.rollbacks.append((seconds, rolled.tier, guarded.name, after))
    session.figures.leaks += leaks(rolled.left, guarded, after)


def _tell(item: pytest.Item, seconds: float, guarded: Sequence[Guarded]) -> None:
    """For JUnit's properties."""
    item.user_properties.append(("tf.rollback_ms", round(seconds * 1000, 1)))
    item.user_properties.append(("tf.rolled_back", " ".join(one.name for one in guarded)))


def _rebuild(guarded: Guarded, error: TfError, figures: Figures, item: pytest.Item) -> str:
    message = f"{guarded.name} could not be rolled back after {item.nodeid}: {error}"
    guarded.touched = False  # what was done to it was to go anyway
    try:
        repair(guarded, figures)
    except TfError as worse:
        guarded.broken = str(worse)
        return f"{message}\nIt could not be built again either, the next test will try: {worse}"
    return f"{message}\nIt was built again from its baseline for the next test."


def repair(guarded: Guarded, figures: Figures) -> None:
    """Build a container again from its baseline.

    Raises:
        TfError: it does not come up.
    """
    if guarded.touched:
        warnings.warn(
            pytest.PytestWarning(
                f"{guarded.name} is built again from its baseline, which lacks what fixtures wider than a test have done to "
                "it since"
            ),
            stacklevel=2,
        )
    guarded.rebuild()
    figures.rebuilt.append(guarded.name)

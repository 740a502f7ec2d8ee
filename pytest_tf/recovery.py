"""Rolling several containers back at once, and what is done when that fails.

All of them are reset at the same time, and those that may talk to each other as one: had one the new state while another
still lived in the old one, the old one could write into the new state. If those cannot go back as one, each does by itself.
A container that does not come up because one it depends on was not there yet gets a second chance after the others; one
that still fails is built again from its baseline, and its test's teardown fails with the cause.
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
from pytest_tf.guarded import Guarded, back
from pytest_tf.leaks import leaks, look_for
from pytest_tf.session import Session
from pytest_tf.units import Unit, share, units_of
from tfcore.errors import TfError

log = logging.getLogger(__name__)

Depends = Callable[[Guarded], set[Guarded]]


def together(units: Sequence[Unit], work: Callable[[Unit], object]) -> dict[Guarded, TfError]:
    """Do something with several units of containers at the same time; the errors by container.

    Of those that share a volume one follows the other: the volume must end up in one state for all of them. What fails for
    several containers as one is done for each by itself, so that only those fail that are the cause.
    """
    later = [unit for number, unit in enumerate(units) if any(share(unit, other) for other in units[:number])]
    errors = _at_once([unit for unit in units if unit not in later], work)
    for unit in later:
        errors |= _at_once([unit], work)
    causes = {one: error for unit, error in errors.items() if len(unit) == 1 for one in unit}
    singly = [(one,) for unit in errors if len(unit) > 1 for one in unit]
    for unit, error in errors.items():
        if len(unit) > 1:
            log.info("%s one by one, since together it failed: %s", ", ".join(one.name for one in unit), error)
    return causes | (together(singly, work) if singly else {})


def _at_once(units: Sequence[Unit], work: Callable[[Unit], object]) -> dict[Unit, TfError]:
    def outcome(unit: Unit) -> TfError | None:
        try:
            work(unit)
        except TfError as error:
            return error
        return None

    if len(units) < 2:
        outcomes = [outcome(unit) for unit in units]
    else:
        with ThreadPoolExecutor(len(units), thread_name_prefix="tf") as threads:
            outcomes = list(threads.map(outcome, units))
    return {unit: error for unit, error in zip(units, outcomes, strict=True) if error is not None}


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
    errors = together(units_of(guarded), work)
    for one in [one for one in errors if depends(one) & set(guarded)]:
        log.info("%s did not come up beside what it depends on, trying again: %s", one.name, errors.pop(one))
        errors |= together([(one,)], work)
    if guarded:
        _tell(item, time.monotonic() - begun, guarded)
    return [_rebuild(one, error, session.figures, item) for one, error in errors.items()]


def _roll_back(unit: Unit, *, session: Session, after: str, mark_log: bool) -> None:
    seconds, rolled = back(unit, mark_log=mark_log, look_for=look_for(session.options))
    for one in unit:
        session.figures.rollbacks.append((seconds, one.tier, one.name, after))
        session.figures.leaks += leaks(rolled[one.container].left, one, after)


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

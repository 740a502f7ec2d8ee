"""Opening the session: right before the first test if any test needs it, else when a fixture asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tf import report
from pytest_tf.chain import Chains
from pytest_tf.evidence import Evidence
from pytest_tf.isolation import Isolation
from pytest_tf.keeping import Keeping
from pytest_tf.outcomes import MISTAKEN, NoLocation, stop_test
from pytest_tf.session import Session, run_id, session_of
from pytest_tf.stash import HOOKS
from tfcore.errors import TfError

if TYPE_CHECKING:
    from tfnz.location import Location


def open_before_tests(config: pytest.Config, tests: int) -> None:
    """Open the session for a number of tests that will need it.

    Raises:
        pytest.UsageError: location or account are wrong. (In an xdist worker each test says so instead: the controller
            takes a worker that ends for one that crashed.)
    """
    session = session_of(config)
    try:
        location = _open(config, session)
    except MISTAKEN as error:
        if not session.worker:
            raise pytest.UsageError(f"{error}") from None
    except (TfError, NoLocation):
        return  # each test that needs it says so
    else:
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(report.opened(location, tests))


def location_for(request: pytest.FixtureRequest) -> Location:
    """The body of `tf_location`."""
    session = session_of(request.config)
    try:
        fresh = not session.is_open
        location = _open(request.config, session)
    except (TfError, NoLocation) as error:
        stop_test(error, missing=session.options.missing)
    if fresh:  # in the middle of a test, which nobody could foresee
        hooks: Any = request.config.pluginmanager.get_plugin(HOOKS)
        hooks.open_midway(request)
    return location


def _open(config: pytest.Config, session: Session) -> Location:
    location = session.open()
    if not config.pluginmanager.has_plugin(HOOKS):
        keeping = Keeping(session.options, run=run_id(config))
        evidence = Evidence(session.options, config.rootpath, session.figures, keeping)
        config.pluginmanager.register(Isolation(session, evidence), HOOKS)
        config.pluginmanager.register(Chains())
    return location

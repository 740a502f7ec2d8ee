"""The plugin's entry point: hooks that every pytest run calls. They look whether anything of ours is asked for, and hand
over; no logic here.

Imports pytest and the standard library only: it is loaded in every pytest run of its environment.
"""

from __future__ import annotations

from typing import Any

import pytest

from pytest_tf.fixtures import (  # noqa: F401 - pytest finds fixtures in a plugin's module
    container,
    location,
    make_container,
    tf_container,
    tf_location,
    tf_make_container,
    tf_volume,
    volume,
)
from pytest_tf.options import add_options, read_options
from pytest_tf.stash import ARBITER, OPTIONS, PLACE, SESSION, WORKERS

MARKERS = (
    "tf(image=..., env=..., isolate=..., ...): what the stock fixture 'container' is for these tests; the arguments of "
    "pytest_tf.container, except volumes and connects.",
    "tf_chain: on a class: its tests build on each other, from one baseline for the class; after the first failure the rest "
    "are expected to fail.",
    "tf_readonly: the test must leave the containers it uses as they were; one that writes to them fails.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, register the markers."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    config.stash[OPTIONS] = read_options(config)
    config.stash[WORKERS] = []
    if config.stash[OPTIONS].bisect:
        from pytest_tf.bisect import prepare

        prepare(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """What was set, if anything was."""
    options = config.stash[OPTIONS]
    if not options.given:
        return None
    from pytest_tf.report import header

    return header(options)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give marked tests their stock container."""
    if "tf_container" in metafunc.fixturenames:
        from pytest_tf.stock import parametrize

        parametrize(metafunc)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note the order of tests that build on each other."""
    if "tf_chain" in item.keywords:
        place = item.session.stash.get(PLACE, 0)
        item.stash[PLACE] = place
        item.session.stash[PLACE] = place + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep that order."""
    if any(PLACE in item.stash for item in items):
        from pytest_tf.chain import keep_order

        keep_order(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Open the session if any test will need it."""
    if not _will_run(session):
        return
    if session.config.stash[OPTIONS].keep != "none" and not hasattr(session.config, "workerinput"):
        from pytest_tf.evidence import clear

        clear(session.config.rootpath)
    tests = sum("tf_location" in getattr(item, "fixturenames", ()) for item in session.items)
    if tests:
        from pytest_tf.opening import open_before_tests

        open_before_tests(session.config, tests)


def _will_run(session: pytest.Session) -> bool:
    option = session.config.option
    if option.collectonly or option.setupplan:
        return False
    return not session.testsfailed or bool(option.continue_on_collection_errors)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """After the last teardown: free everything, and tell xdist's controller what it cost."""
    ours = session.config.stash.get(SESSION, None)
    if ours is not None:
        ours.close()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["tf"] = ours.figures.as_dict()
    _end_sharing(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Free everything where the session did not come to its end, too."""
    if SESSION in config.stash:
        config.stash[SESSION].close()
    _end_sharing(config)


def _end_sharing(config: pytest.Config) -> None:
    if ARBITER in config.stash:
        from pytest_tf.arbiter import clear_up

        clear_up(config.stash[ARBITER])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """An xdist worker is about to start: tell it how it comes to containers that others have booted."""
    if node.config.stash[OPTIONS].workers == "fork":
        from pytest_tf.arbiter import introduce

        introduce(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """An xdist worker is done: take its figures."""
    sent = getattr(node, "workeroutput", {}).get("tf")
    if sent:
        node.config.stash[WORKERS].append(sent)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What it cost."""
    parts = config.stash[WORKERS]
    if SESSION in config.stash:
        parts = [config.stash[SESSION].figures.as_dict(), *parts]
    if parts:
        from pytest_tf.report import write_summary

        write_summary(terminalreporter, parts, config.stash[OPTIONS])

"""The plugin's options: one table of command line options with their ini twins, read into `Options`.

Loaded in every pytest run: imports pytest and the standard library only, and its records are named tuples, which are made
faster than data classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

ISOLATE = ("test", "class", "module", "package", "session", "none")
"""After what a container goes back to its baseline, and after everything wider; after the session it is destroyed anyway."""


class Option(NamedTuple):
    """One option: `--tf-<name>` on the command line, `tf_<name>` in the ini file."""

    name: str
    metavar: str
    default: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """As typed on the command line."""
        return f"--tf-{self.name}"

    @property
    def dest(self) -> str:
        """Its name in the ini file and in `config.option`."""
        return "tf_" + self.name.replace("-", "_")


OPTIONS = (
    Option(
        "location",
        "NAME",
        "auto",
        "where containers run: a location's name; 'local' for a private one on this machine; 'auto' (the default) for "
        "the default account's location, else local; 'none' skips the tests that need one",
    ),
    Option("location-ip", "HOST[:PORT]", "", "connect to the location at this address instead of its own"),
    Option("image", "REF", "", "image of the stock fixture 'container': a name, oci:DIR[:TAG], docker-archive:FILE, ."),
    Option(
        "isolate",
        "SCOPE",
        "",
        "roll containers back after each test, class, module or package, or never (session, none); on the command line it "
        "overrides what factories say, in the ini file it is their default (test)",
        ISOLATE,
    ),
    Option(
        "keep",
        "WHICH",
        "none",
        "write the containers' log and state to .pytest_tf/ for failed tests, for all, or for none (the default); of "
        "failed ones keep the containers, too: their reports say how to have them again (tf resume)",
        ("failed", "all", "none"),
    ),
    Option("keep-count", "N", "3", "failed tests whose containers are kept; those of earlier runs go first (3)"),
    Option("keep-for", "TIME", "24h", "how long they are kept: 90m, 24h, 7d (24h)"),
    Option(
        "logs",
        "WHICH",
        "failed",
        "show what containers wrote during a test: in the reports of failed tests (the default), of all, or of none",
        ("failed", "all", "none"),
    ),
    Option(
        "cache",
        "MODE",
        "on",
        "containers with a preparation start from what an earlier run has prepared (on, the default), are prepared again "
        "and kept instead (rebuild), or neither use nor leave anything (off)",
        ("on", "off", "rebuild"),
    ),
    Option(
        "leaks",
        "WHAT",
        "processes",
        "name the tests that left something in a container: processes that are not the service's own (the default), new "
        "files in /tmp, /var/tmp and /dev/shm, all of that, or none",
        ("processes", "files", "all", "none"),
    ),
    Option("durations", "N", "0", "show the N slowest boots and rollbacks in the summary"),
    Option(
        "workers",
        "HOW",
        "fork",
        "xdist: containers of factories wider than a test are booted by one worker and forked by the others (fork, the "
        "default), or each worker boots its own",
        ("fork", "own"),
    ),
    Option(
        "missing",
        "WHAT",
        "fail",
        "what happens to tests that need a location that cannot be reached: they fail (the default), are skipped, or "
        "run on the local location instead",
        ("fail", "skip", "local"),
    ),
)

SHORT = {"--tf-rebuild": ("cache", "rebuild"), "--tf-no-cache": ("cache", "off")}
"""Flags that stand for an option with a value."""

UNITS = {"m": 60, "h": 3600, "d": 86400}

BISECT = "--tf-bisect"
"""Command line only."""

MOUNT = "tf_mount"
"""Ini only: where the stock `container` mounts the stock `volume`."""

LATE = "tf_late_fixtures"
"""Ini only: what happens to a fixture that is set up when narrower levels of its containers have begun."""

LATE_MODES = ("rebase", "hoist", "error")


class Options(NamedTuple):
    """What was asked for, defaults filled in.

    Attributes:
        location: a location's name, `local`, `auto` or `none`.
        isolate: the default for containers that do not say how they are isolated.
        isolate_all: what the command line says for all of them, or "".
        mount: where the stock container mounts the stock volume, or "".
        late: one of `LATE_MODES`.
        keep_count: failed tests whose containers are kept.
        keep_for: seconds for which they are.
        cache: "on", "off" or "rebuild".
        bisect: the id of the test that some other one makes fail, or "".
        given: names of the options that were set by somebody, for the header.
    """

    location: str
    location_ip: str
    image: str
    isolate: str
    isolate_all: str
    keep: str
    keep_count: int
    keep_for: float
    logs: str
    cache: str
    leaks: str
    durations: int
    missing: str
    workers: str
    mount: str
    late: str
    bisect: str
    given: tuple[str, ...]


def add_options(parser: pytest.Parser) -> None:
    """Declare every option and its ini twin."""
    group = parser.getgroup("tf", "pytest-tf: containers that are rolled back after each test")
    for option in OPTIONS:
        group.addoption(
            option.flag,
            dest=option.dest,
            metavar=option.metavar,
            choices=option.choices or None,
            default=None,
            help=f"{option.help}; ini: {option.dest}",
        )
        parser.addini(option.dest, f"as {option.flag}: {option.help}", default="")
    for flag, (name, value) in SHORT.items():
        group.addoption(flag, dest=f"tf_{name}", action="store_const", const=value, help=f"as --tf-{name}={value}")
    group.addoption(
        BISECT,
        dest="tf_bisect",
        metavar="NODEID",
        default="",
        help="find the test that makes this one fail: run those before it without rolling back, then this one from "
        "snapshots taken in between; exit codes: 0 found, 6 it passes after all of them, 7 it does not pass alone, 8 the "
        "cause is in the memory of a process, 9 it is in this Python process",
    )
    parser.addini(MOUNT, "path in the stock fixture 'container' where the stock 'volume' is mounted", default="")
    parser.addini(
        LATE,
        "a session fixture that is first asked for in the middle of a module: narrower fixtures are set up again on top of "
        "it (rebase, the default), it is set up when its container is first used (hoist), or the test fails (error)",
        default="",
    )


def read_options(config: pytest.Config) -> Options:
    """The command line over the ini file over the defaults.

    Raises:
        pytest.UsageError: a value that cannot be used; the message names the option.
    """
    late = _chosen(LATE, str(config.getini(LATE)).strip(), LATE_MODES)
    typed = {option.name: _typed(config, option) for option in OPTIONS}
    written = {option.name: _written(config, option) for option in OPTIONS}
    values = {option.name: typed[option.name] or written[option.name] or option.default for option in OPTIONS}
    return Options(
        location=values["location"],
        location_ip=values["location-ip"],
        image=values["image"],
        isolate=written["isolate"] or "test",
        isolate_all=typed["isolate"],
        keep=values["keep"],
        keep_count=_number("keep-count", values["keep-count"], "of failed tests to keep"),
        keep_for=_seconds(values["keep-for"]),
        logs=values["logs"],
        cache=values["cache"],
        leaks=values["leaks"],
        durations=_number("durations", values["durations"], "of lines to show"),
        missing=values["missing"],
        workers=values["workers"],
        mount=_path(str(config.getini(MOUNT))),
        late=late or "rebase",
        bisect=str(config.getoption("tf_bisect") or ""),
        given=tuple(option.name for option in OPTIONS if typed[option.name] or written[option.name]),
    )


def _typed(config: pytest.Config, option: Option) -> str:
    value: Any = config.getoption(option.dest)
    return "" if value is None else str(value)


def _written(config: pytest.Config, option: Option) -> str:
    return _chosen(option.dest, str(config.getini(option.dest)).strip(), option.choices)


def _chosen(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value and choices and value not in choices:
        raise pytest.UsageError(f"{name} = {value} in the ini file: choose one of {', '.join(choices)}")
    return value


def _number(name: str, value: str, what: str) -> int:
    if not value.isdecimal():
        raise pytest.UsageError(f"--tf-{name}={value}: give the number {what}")
    return int(value)


def _seconds(value: str) -> float:
    number, unit = value[:-1], UNITS.get(value[-1:])
    if unit is None or not number.isdecimal() or not int(number):
        raise pytest.UsageError(f"--tf-keep-for={value}: give a number of minutes, hours or days: 90m, 24h, 7d")
    return float(int(number) * unit)


def _path(value: str) -> str:
    if value and not value.startswith("/"):
        raise pytest.UsageError(f"{MOUNT} = {value} in the ini file: give an absolute path in the container")
    return value

"""What containers have to say about a test: sections of its report, and files kept for afterwards.

Asks containers, never changes them. A container that cannot be asked says so in its section: a report is always made.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_tf.changes import Changes, changes_in
from pytest_tf.figures import Figures
from pytest_tf.guarded import Guarded, Window
from pytest_tf.keeping import Keeping
from pytest_tf.options import Options
from tfcore.errors import TfError

LINES = 60
"""How many lines of a container's log a report shows; the last ones."""

DIRECTORY = ".pytest_tf"
"""Below pytest's root directory, where `--tf-keep` writes."""


@dataclass(frozen=True)
class Testimony:
    """What one container says: its log during the test, what has changed in it, and how it is."""

    name: str
    log: str
    changes: Changes | None
    state: str


class Evidence:
    """Collects testimonies as `--tf-logs` and `--tf-keep` ask for them.

    Args:
        root: pytest's root directory.
        keeping: keeps containers themselves.
    """

    def __init__(self, options: Options, root: Path, figures: Figures, keeping: Keeping) -> None:
        self._options = options
        self._keeping = keeping
        self._directory = root / DIRECTORY
        self._figures = figures

    @property
    def wants_logs(self) -> bool:
        """True if it will ask where a test's log begins."""
        return (self._options.logs, self._options.keep) != ("none", "none")

    def wants(self, report: pytest.TestReport) -> bool:
        """True if `add` is wanted for this report."""
        return self._wanted(self._options.logs, report) or self._wanted(self._options.keep, report)

    def add(self, item: pytest.Item, report: pytest.TestReport, containers: Sequence[Guarded]) -> None:
        """Add sections to a test's report and keep files and containers, as far as each is wanted."""
        found = _testimonies(containers, report)
        if self._wanted(self._options.logs, report):
            report.sections += [section for testimony in found for section in _sections(testimony)]
        if found and self._wanted(self._options.keep, report):
            report.sections.append(
                ("tf keep", "\n".join([*self._kept(item, report, containers), str(self._write(report, found))]))
            )

    def _wanted(self, which: str, report: pytest.TestReport) -> bool:
        return (which == "all" and report.when == "call") or (which != "none" and report.failed)

    def _kept(self, item: pytest.Item, report: pytest.TestReport, containers: Sequence[Guarded]) -> list[str]:
        """How to have a failed test's containers again; after its teardown they have been rolled back."""
        if not report.failed or report.when == "teardown":
            return []
        kept = self._keeping.keep(report.nodeid, containers)
        if kept.failure:
            self._figures.kept.append(f"tf resume {kept.failure}")
            item.user_properties.append(("tf.keep_id", kept.failure))
        return kept.lines

    def _write(self, report: pytest.TestReport, found: Iterable[Testimony]) -> Path:
        _own(self._directory)
        directory = self._directory / _file_name(report.nodeid)
        directory.mkdir(exist_ok=True)
        for testimony in found:
            stem = f"{_file_name(testimony.name)}-{report.when}"
            (directory / f"{stem}.log").write_text(testimony.log)
            (directory / f"{stem}.state").write_text(testimony.state + "\n")
            if testimony.changes:
                (directory / f"{stem}.changes").write_text("\n".join(testimony.changes) + "\n")
        self._figures.kept.append(str(directory))
        return directory


def clear(root: Path) -> None:
    """Remove what earlier runs kept, if the directory is ours."""
    directory = root / DIRECTORY
    if (directory / ".gitignore").exists():
        shutil.rmtree(directory)


def _own(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    (directory / ".gitignore").write_text("# Written by pytest-tf.\n*\n")


def _testimonies(some: Sequence[Guarded], report: pytest.TestReport) -> list[Testimony]:
    """When the teardown is reported, the test's rollback has happened: its log is the one before, its changes are gone."""
    after = report.when == "teardown"
    changes = changes_in(some) if report.failed and not after else {}
    return [
        Testimony(one.name, _log(one, one.former if after else one.window), changes.get(one), _state(one))
        for one in some
    ]


def _log(guarded: Guarded, window: Window) -> str:
    try:
        return guarded.log(window)
    except TfError as error:
        return f"(its log cannot be had: {error})\n"


def _state(guarded: Guarded) -> str:
    try:
        status = guarded.container.status()
    except TfError as error:
        return f"not to be had: {error}"
    facts = [status.state, f"generation {status.generation}", f"{status.processes} processes"]
    if status.memory:
        facts.append(f"{status.memory / (1 << 20):.1f} MiB")
    if status.exit_code is not None:
        facts.append(f"exit code {status.exit_code}")
    if status.oom:
        facts.append("out of memory: processes were killed")
    return ", ".join([*facts, *_tunnels(guarded), *status.notes])


def _tunnels(guarded: Guarded) -> list[str]:
    return [
        f"{tunnel.bind}:{int(tunnel.localport)} → port {tunnel.dest_port}" for tunnel in guarded.container.all_tunnels()
    ]


def _sections(testimony: Testimony) -> list[tuple[str, str]]:
    lines = testimony.log.splitlines()
    number = f"{len(lines)} line{'' if len(lines) == 1 else 's'}"
    title = (
        f"tf {testimony.name}: log during this test ({number if len(lines) <= LINES else f'last {LINES} of {number}'})"
    )
    log = [(title, "\n".join(lines[-LINES:]))] if lines else []
    changes = testimony.changes
    changed = [(f"tf {testimony.name}: changed since snapshot ({changes.summary})", changes.lines)] if changes else []
    return [*log, *changed, (f"tf {testimony.name}: state", testimony.state)]


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.\-\[\]]+", "-", text).strip("-")[-150:]

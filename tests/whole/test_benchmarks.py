"""Every benchmark runs, once, on a local location of its own. Figures are looked for, and never judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import (
    clean,
    containment,
    in_database,
    local_start,
    memory,
    plugin_load,
    rollback,
    round_trip,
    spawn,
    suite,
    throughput,
    tunnel,
)
from benchmarks.ground.bench import Bench
from benchmarks.ground.patient import BACK_TO_BACK, OTHER_SNAPSHOT, Patient
from benchmarks.ground.services import NGINX, POSTGRES, POSTGRES_60_MB, Service, connect
from benchmarks.measuring.progress import Progress
from benchmarks.measuring.report import OURS, Report
from benchmarks.peers.beside import TEMPLATE
from tests.support import example_images

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One place for all, so that each image is taken in and unpacked once; daemons are started anew by each benchmark."""
    place, progress = tmp_path_factory.mktemp("bench"), Progress(lambda _: None)
    return Bench(example_images.directory(), place, "Docker is left out", rounds=1, progress=progress)


def rows(report: Report) -> dict[tuple[str, str], float]:
    """The medians by what and who."""
    assert all(row.summary.n == 1 for row in report.rows)
    return {(row.what, row.who): row.summary.median for row in report.rows}


@pytest.mark.parametrize(
    ("run", "judged"),
    [
        (plugin_load.run, 2),
        (local_start.run, 1),
        (round_trip.run, 2),
        (spawn.run, 1),
        (in_database.run, 0),
        (throughput.run, 0),
        (memory.run, 4),
    ],
    ids=lambda value: value.__module__.rpartition(".")[2] if callable(value) else "",
)
def test_it_runs_and_has_a_figure_for_everything(bench: Bench, run: Callable[[Bench], Report], judged: int) -> None:
    report = run(bench)
    assert rows(report)
    assert len(report.verdicts) == judged


def test_clean_rollbacks_stand_beside_a_plain_request(bench: Bench) -> None:
    report = clean.run(bench)
    notes = {(row.what, row.who): row.note for row in report.rows}
    assert notes[NGINX.name, OURS] == "clean 2", "the warming up and one round"
    assert (NGINX.name, clean.ROUND_TRIP) in notes
    assert len(report.verdicts) == 2


def test_who_misbehaves_is_beside_a_quiet_moment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a fork bomb"
    monkeypatch.setattr(containment, "CULPRITS", {name: containment.CULPRITS[name]})
    report = containment.run(bench)
    assert {who for _, who in rows(report)} == {containment.QUIET, name}
    assert len(report.quotients) == len(report.verdicts) == 3


def test_a_suite_is_run_isolated_and_not_in_one_process_and_in_two(bench: Bench) -> None:
    report = suite.run(bench)
    notes = {(row.what, row.who): row.note for row in report.rows}
    assert {what for what, _ in notes} == {"20 tests, one process", "20 tests, -n 2"}
    for (_, who), note in notes.items():
        counted = sum(int(part.split()[0]) for part in note.split(", ")) if note else 0
        assert counted == (20 if who == OURS else 0)


@pytest.mark.parametrize(
    ("case", "peers"), [(case, peers) for case, peers in zip(rollback.CASES, (0, 0, 1), strict=False) if case.ratio]
)
def test_rollbacks_are_measured_in_all_three_ways(bench: Bench, case: rollback.Case, peers: int) -> None:
    report = Report("rollback", "")
    with bench.location() as location:
        rollback.measure(report, bench, location, case)
    notes = {row.who: row.note for row in report.rows}
    assert set(notes) == {OURS, rollback.IN_NODE, BACK_TO_BACK, OTHER_SNAPSHOT, *[TEMPLATE][:peers]}
    assert notes[OTHER_SNAPSHOT] == "cold 2", "the warming up and one round"
    assert "cold" not in notes[OURS]
    assert [quotient.dividend for quotient in report.quotients] == [TEMPLATE][:peers]


@pytest.mark.parametrize(("service", "size"), [(POSTGRES, 10), (POSTGRES_60_MB, 60)], ids=["10 MB", "60 MB"])
def test_databases_are_as_large_as_they_are_called(bench: Bench, service: Service, size: int) -> None:
    with bench.location() as location:
        address = service.address_of(bench.spawn(location, service))
        service.fill(address)
        with connect(address) as database:
            (found,) = database.execute("SELECT pg_database_size('test')").fetchone() or (0,)
    assert found / 1e6 == pytest.approx(size, rel=0.05)


def test_a_rollback_that_leaves_something_is_no_result(bench: Bench) -> None:
    with bench.location() as location:
        patient = Patient(bench.spawn(location, NGINX), NGINX)
        NGINX.dirty(patient.container)
        patient.container.snapshot("dirty")
        with pytest.raises(RuntimeError, match="not clean"):
            patient.spare_ready()


def test_tunnels_are_measured_both_ways_beside_a_relay(bench: Bench) -> None:
    report = tunnel.run(bench)
    who = {row.who for row in report.rows}
    assert who >= {tunnel.HANDED, tunnel.STREAMED, tunnel.DIRECT, tunnel.PLAIN}
    assert min(rows(report).values()) > 0


def test_the_command_prints_a_table_and_writes_a_file(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TF_EXAMPLE_IMAGES": str(example_images.directory())}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "plugin_load", "--rounds", "1", "--out", str(tmp_path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "budget" in done.stdout
    assert done.stderr.splitlines()[-1].endswith(f"done; the figures are in {tmp_path}")
    document = json.loads((tmp_path / "plugin_load.json").read_text())
    assert document["machine"]["cores"] >= 1
    assert document["rows"]
    assert str(tmp_path) not in json.dumps(document)


def test_an_unknown_benchmark_is_refused_with_the_names_of_those_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "speed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "rollback" in done.stderr

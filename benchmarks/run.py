"""Runs the benchmarks: `python -m benchmarks.run [NAME...]`.

Each prints a table and writes its figures to a JSON file. Docker, testcontainers and ssh are measured beside pytest-tf where
they are installed: a Docker engine that answers is used, else the distribution's is started for the run, apart from the
machine. Everybody's data lie on a fresh disk in a file. Nothing stays behind but the results.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.ground.bench import Bench
from benchmarks.ground.disk import fresh_disk
from benchmarks.measuring import machine, report, table
from benchmarks.measuring.progress import Progress
from benchmarks.peers.engine import Engine, engine

NAMES = (
    "plugin_load", "local_start", "round_trip", "clean", "spawn", "rollback", "throughput", "suite", "in_database", "tunnel",
    "memory", "containment",
)  # fmt: skip
WITH_PEERS = {"spawn", "rollback", "suite", "tunnel"}
"""Those that a Docker engine is wanted for."""

RESULTS = Path(__file__).parent / "results"
BUILDER = Path(__file__).parents[1] / "examples" / "images" / "build.py"
APART = "TF_BENCH_APART"
"""Set where the run is in namespaces of its own already."""

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
"""Mounts and processes of the run end with it, even if it is killed."""


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for; 0, 1 if a benchmark failed, 2 if the machine cannot."""
    parser = _parser()
    options = parser.parse_args(argv)
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if os.geteuid() != 0:
        print("benchmarks: root is needed, as for a local location: sudo make bench", file=sys.stderr)
        return 2
    if APART not in os.environ:
        os.environ[APART] = "yes"
        again = [sys.executable, "-m", "benchmarks.run", *(sys.argv[1:] if argv is None else argv)]
        os.execvp(NAMESPACES[0], [*NAMESPACES, *again])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the first process of a namespace ignores it otherwise
    return _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--rounds", type=_positive, help="how many rounds, for a quick look (default: each its own number)"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave Docker and testcontainers out")
    parser.add_argument("--out", type=Path, default=RESULTS, help="directory of the JSON files (default: %(default)s)")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    progress, failed = Progress(), []
    names = options.names or list(NAMES)
    with contextlib.ExitStack() as stack:
        ground = stack.enter_context(fresh_disk())
        images = images_directory()
        docker: Engine | str = "Docker and testcontainers are left out, as asked for."
        if WITH_PEERS & set(names) and not options.no_peers:
            docker = stack.enter_context(engine(ground.directory / "peers", images, progress))
        bench = Bench(images, ground.directory, docker, options.rounds, progress)
        for name in names:
            try:
                run_one(name, bench, options.out, ground.file_system)
            except Exception as error:  # noqa: BLE001 - one that fails shall not cost the figures of the others
                failed.append(name)
                progress.step(f"{name} FAILED: {type(error).__name__}: {error}")
    progress.step(f"done; the figures are in {options.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def run_one(name: str, bench: Bench, results: Path, file_system: str) -> report.Report:
    """Run one benchmark, print its table, write its JSON."""
    load = machine.load()
    found: report.Report = importlib.import_module(f"benchmarks.{name}").run(bench)
    circumstances: dict[str, Any] = {
        "date": machine.today(),
        "machine": machine.facts(file_system=file_system),
        "docker": bench.docker.version() if isinstance(bench.docker, Engine) else None,
        "load_before": load,
        "load_after": machine.load(),
    }
    report.write(found.document(circumstances), results)
    print(f"\n{table.text_of(found)}\n  load average {load} before, {circumstances['load_after']} after\n", flush=True)
    return found


def images_directory() -> Path:
    """Where the example images are; they are built if they are missing.

    Raises:
        subprocess.CalledProcessError: they cannot be built; the builder has said why.
    """
    subprocess.run([sys.executable, BUILDER], check=True, stdout=sys.stderr)
    said = subprocess.run([sys.executable, BUILDER, "--print-dir"], check=True, capture_output=True, text=True).stdout
    return Path(said.strip())


if __name__ == "__main__":
    sys.exit(main())

"""From "spawn" to nginx's first answer, one container and ten at once, beside Docker. The image is cached by both."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.ground.bench import Bench
from benchmarks.ground.services import NGINX
from benchmarks.measuring import budgets
from benchmarks.measuring.report import OURS, Report
from benchmarks.measuring.rounds import Contestant, Turn, interleave, milliseconds
from benchmarks.peers import lives
from benchmarks.peers.engine import Engine
from tfnz.container import Container
from tfnz.location import Location

MANY = 10
ROUNDS_OF_ONE = 15
ROUNDS_OF_MANY = 7


def run(bench: Bench) -> Report:
    """Measure one, then many."""
    report = Report("spawn", "until a new container of a cached image (nginx) answers")
    if isinstance(bench.docker, str):
        report.remark(bench.docker)
    with bench.location() as location:
        for number, rounds in ((1, ROUNDS_OF_ONE), (MANY, ROUNDS_OF_MANY)):
            bench.progress.step(f"spawn: {number}")
            with contextlib.ExitStack() as stack:
                contestants = [Contestant(OURS, _ours(bench, location, number))]
                if not isinstance(bench.docker, str):
                    contestants.append(Contestant(lives.DOCKER, stack.enter_context(_dockers(bench.docker, number))))
                _measure(report, bench, number, contestants, rounds)
    return report


def _measure(report: Report, bench: Bench, number: int, contestants: list[Contestant], rounds: int) -> None:
    what = "one container" if number == 1 else f"{number} at once, until all answer"
    found = interleave(what, contestants, rounds=bench.times(rounds), progress=bench.progress)
    summaries = {who: report.row(what, who, samples) for who, samples in found.items()}
    if number == 1:
        report.verdict(budgets.SPAWN, summaries[OURS].median)
    if lives.DOCKER in found:
        quotient = report.quotient(what, lives.DOCKER, OURS, found)
        if number > 1:
            report.verdict(budgets.SPAWN_TEN, quotient.median)


def _ours(bench: Bench, location: Location, number: int) -> Turn:
    node, image = location.node(), bench.image(NGINX.image)

    def turn() -> float:
        containers: list[Container] = []

        def spawn() -> None:
            containers.extend(node.spawn_container(image) for _ in range(number))
            for container in containers:
                container.wait_until_ready()
                NGINX.wait(NGINX.address_of(container))

        try:
            return milliseconds(spawn)
        finally:
            for container in containers:
                container.destroy()

    return turn


@contextlib.contextmanager
def _dockers(engine: Engine, number: int) -> Iterator[Turn]:
    """Docker's containers, each by a thread and a client of its own."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(lives.client_of(engine)) for _ in range(number)]
        pool = stack.enter_context(ThreadPoolExecutor(number))

        def turn() -> float:
            containers: list[lives.Removable] = []
            starts = [_start(engine, client, containers) for client in clients]
            try:
                return milliseconds(lambda: list(pool.map(lambda start: start(), starts)))
            finally:
                list(pool.map(lambda container: container.remove(force=True, v=True), containers))

        yield turn


def _start(engine: Engine, client: lives.Client, containers: list[lives.Removable]) -> Callable[[], None]:
    def start() -> None:
        container, address = lives.made(client, NGINX, engine.images[NGINX.image])
        containers.append(container)
        container.start()
        NGINX.wait(address)

    return lambda: engine.inside(start)

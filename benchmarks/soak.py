"""A long life of one location: thousands of rollbacks and spawns, and what its daemons have afterwards that they had not.

    python -m benchmarks.soak --rollbacks 10000 --spawns 2000      (make soak)

Figures are read from outside, when nobody has a session: resident memory, descriptors and threads of the location and the
node's agent, and of the node its mounts, links, routes, firewall rules, control groups, trees on disk and bytes on disk.
They are read after a warm-up and at the end of each part of the work. Memory may grow by `GROWTH`, and in the second half
of the work by `LATE`; of everything else nothing may be left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground.local import daemon_of, daemons_in
from tfnz.location import Location

WARM_ROLLBACKS, WARM_SPAWNS = 45, 9
"""Done before the first figures: caches, pools of threads and arenas of the allocator have their size by then."""

PARTS = 10
AT_ONCE = 3
"""Containers that are rolled back at the same time, and spawns."""

SESSION = 20
"""Spawns of one session."""

SETTLED = 30.0
"""Seconds that clearing away after the last session may take."""

GROWTH, LATE = 12.0, 3.0
"""MB that the resident memory of a daemon may grow by, in all and in the second half: an allocator is not exact."""

LEEWAY = {"location descriptors": 4, "agent descriptors": 72, "agent threads": 16, "location threads": 8}
"""What may be more: the relay keeps pipes ready, and pools of threads fill up to a bound."""

DISK = 1.0
"""MB on disk that may be more: databases grow by pages."""

Figures = dict[str, float]
Connect = Callable[[], Location]
Told = Callable[[str, Figures, float], None]


@dataclass(frozen=True)
class Place:
    """A location that is looked at. `directory` is the node's; `processes` are their pids by role."""

    directory: Path
    processes: Mapping[str, int]


def place_of(state: Path) -> Place:
    """The private location that keeps its things in `state` and runs."""
    daemon = daemon_of(state)
    if daemon is None:
        raise RuntimeError("the private location does not run")
    agents = [pid for child in _children(daemon) for pid in _children(child) if _name(pid) == "tf-node-agent"]
    return Place(state / "node", {"location": daemon, "agent": agents[0]})


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def look(place: Place) -> Figures:
    """All figures, by name."""
    found: Figures = {}
    for role, pid in place.processes.items():
        status = Path(f"/proc/{pid}/status").read_text()
        found[f"{role} memory, MB"] = int(_matched(r"VmRSS:\s+(\d+)", status)) * 1024 / 1e6
        found[f"{role} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
        found[f"{role} threads"] = int(_matched(r"Threads:\s+(\d+)", status))
    agent = place.processes["agent"]
    found["mounts"] = len(Path(f"/proc/{agent}/mountinfo").read_text().splitlines())
    found["links"] = len(Path(f"/proc/{agent}/net/dev").read_text().splitlines()) - 2
    found["routes"] = _lines(agent, "ip", "route", "show", "table", "all")
    found["rules"] = _lines(agent, "nft", "list", "ruleset")
    found["control groups"] = _groups(f"pytest-tf-{_node(place)}-")
    found["trees"] = sum(len(list((place.directory / "storage" / part).glob("*"))) for part in ("data", "new", "trash"))
    found["disk, MB"] = _usage(place.directory) / 1e6
    return found


def _matched(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, pattern
    return match[1]


def _lines(agent: int, *command: str) -> int:
    """Of what a program says in the agent's network; 0 where there is no such program."""
    if shutil.which(command[0]) is None or shutil.which("nsenter") is None:
        return 0
    argv = ["nsenter", "--target", str(agent), "--net", *command]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def _node(place: Place) -> str:
    return _matched(r'name = "([^"]+)"', (place.directory / "node.toml").read_text())


def _groups(prefix: str) -> int:
    """Control groups of a node and below, in every hierarchy. (walk() passes by what goes meanwhile; Path.glob fails.)"""
    top = Path("/sys/fs/cgroup")
    nodes = [path for pattern in (f"{prefix}*", f"*/{prefix}*") for path in top.glob(pattern)]
    return sum(1 for node in nodes for _ in os.walk(node))


def _usage(directory: Path) -> int:
    """Bytes that files below a directory take, holes left out."""
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


def roll_back(location: Location, image: str, times: int) -> None:
    """So many rollbacks, of some containers at the same time; each has something to take back."""
    node = location.node()
    containers = [node.spawn_container(image).wait_until_ready() for _ in range(AT_ONCE)]

    def work(index: int) -> None:
        container = containers[index]
        container.snapshot("start")
        for number in range(index, times, AT_ONCE):
            container.put("/tmp/written", str(number).encode())
            container.rollback("start")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(AT_ONCE)))


def spawn(location: Location, image: str, times: int) -> None:
    """So many containers, made and destroyed, some at the same time."""
    node = location.node()

    def work(_: int) -> None:
        node.destroy_container(node.spawn_container(image).wait_until_ready())

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(work, range(times)))


def part(connect: Connect, image: str, *, rollbacks: int, spawns: int) -> None:
    """Some of the work, in sessions that end."""
    if rollbacks:
        with connect() as location:
            roll_back(location, image, rollbacks)
    while spawns > 0:
        with connect() as location:
            spawn(location, image, min(SESSION, spawns))
        spawns -= SESSION


def settled(place: Place, wanted: Figures) -> Figures:
    """The figures when all of the last session has been cleared away: nothing is more than `wanted`, or time is up."""
    deadline, found = time.monotonic() + SETTLED, look(place)
    while too_much(wanted, found) and time.monotonic() < deadline:
        time.sleep(0.2)
        found = look(place)
    return found


def too_much(before: Figures, after: Figures) -> list[str]:
    """What has grown, in words."""
    words = []
    for name, was in before.items():
        allowed = GROWTH if "memory" in name else DISK if "disk" in name else LEEWAY.get(name, 0)
        if after[name] > was + allowed:
            words.append(f"{name}: {was:g} before, {after[name]:g} after, and {allowed:g} more are allowed")
    return words


def too_late(half: Figures, last: Figures) -> list[str]:
    """What memory has still grown in the second half, in words."""
    return [
        f"{name}: {was:g} half way, {last[name]:g} at the end, and {LATE:g} more are allowed"
        for name, was in half.items()
        if "memory" in name and last[name] > was + LATE
    ]


def soak(
    connect: Connect,
    place_now: Callable[[], Place],
    image: str,
    *,
    rollbacks: int,
    spawns: int,
    parts: int = PARTS,
    told: Told = lambda _what, _figures, _seconds: None,
) -> list[Figures]:
    """Do the work; the figures after the warm-up and after each part.

    Args:
        connect: opens a session.
        place_now: finds the location, once it runs.
        told: hears of each step: what, figures, seconds since the start.
    """
    begun = time.monotonic()
    with connect() as location:  # holds the location up; its session has nothing
        location.ensure_image_uploaded(image)
        part(connect, image, rollbacks=WARM_ROLLBACKS, spawns=WARM_SPAWNS)
        place = place_now()
        found = [_still(place)]
        told("warm", found[0], time.monotonic() - begun)
        for number in range(parts):
            part(connect, image, rollbacks=rollbacks // parts, spawns=spawns // parts)
            found.append(settled(place, found[0]))
            told(f"{number + 1}/{parts}", found[-1], time.monotonic() - begun)
    return found


def _still(place: Place) -> Figures:
    """The figures once what the warm-up has left is cleared away: nothing becomes less any more."""
    deadline, found = time.monotonic() + SETTLED, look(place)
    while time.monotonic() < deadline:
        time.sleep(1.0)
        before, found = found, look(place)
        if all(found[name] >= before[name] for name in ("mounts", "links", "control groups", "trees", "rules")):
            break
    return found


def main(argv: list[str] | None = None) -> int:
    """0 if nothing has grown, 1 if something has."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--rollbacks", type=int, default=10_000)
    parser.add_argument("--spawns", type=int, default=2_000)
    parser.add_argument("--image", help="default: the example nginx of $TF_EXAMPLE_IMAGES")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args(argv)
    image = options.image or f"oci:{os.environ['TF_EXAMPLE_IMAGES']}/nginx:latest"
    steps: list[dict[str, object]] = []

    def told(what: str, figures: Figures, seconds: float) -> None:
        steps.append({"step": what, "seconds": round(seconds, 1), **figures})
        memory = ", ".join(f"{name} {value:.1f}" for name, value in figures.items() if "memory" in name)
        print(f"{what:>6} {seconds:7.0f} s  {memory}", flush=True)

    with tempfile.TemporaryDirectory(prefix="tf-soak-") as directory, daemons_in(Path(directory)):
        found = soak(
            lambda: Location("local"), lambda: place_of(Path(directory)), image,
            rollbacks=options.rollbacks, spawns=options.spawns, told=told,
        )  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(steps, indent=2) + "\n")
    print(f"{options.rollbacks} rollbacks and {options.spawns} spawns:")
    first, half, last = found[0], found[len(found) // 2], found[-1]
    print(f"  {'':<22} {'warm':>10} {'half way':>10} {'at the end':>10}")
    for name, was in first.items():
        print(f"  {name:<22} {was:10.1f} {half[name]:10.1f} {last[name]:10.1f}")
    grown = too_much(first, last) + too_late(half, last)
    print("\n".join(grown) or "nothing has grown")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())

"""The whole line where version 2 of control groups alone is mounted, whatever this machine has otherwise.

The tests and all they start are in a mount namespace in which /sys/fs/cgroup is a `cgroup2`, which is what launcher, keeper,
agent, `tf-node check` and crun go by. Controllers that the kernel has bound to version 1 are not there, so nothing is
limited on such a machine; what is limited on one that boots with version 2 is the business of the runtime's conformance.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, gone
from tests.support.line import SECONDS, nothing_more, private_location, said, session_at, sleeper
from tests.support.outside import CGROUPS, groups_named, groups_of_nodes, processes_of
from tests.support.privacy import private_mounts, show_only_cgroup2
from tfnode.cgroups import Group, layout
from tfnode.cgroups.node import driver_for
from tfnz.container import Container

pytestmark = pytest.mark.leaks("module")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def version_two() -> Iterator[None]:
    """This thread, and what is started from it, sees version 2 and nothing else."""
    if "cgroup2" not in Path("/proc/filesystems").read_text().split():
        pytest.skip("this kernel has no cgroup v2")
    with private_mounts():
        show_only_cgroup2()
        yield


@pytest.fixture(scope="module")
def place(version_two: None) -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location() as made:
        with made.connect() as location:  # what the node keeps once it has had a container and a connection
            location.node().spawn_container(example_images.reference("nginx")).http.get("/")
        yield made


@pytest.mark.parametrize("suite", ["static_site", "redis"])
def test_example(place: PrivateLocation, suite: str) -> None:
    """In a pytest of its own, as a user would start it."""
    images = {"TF_EXAMPLE_IMAGES": str(example_images.directory())}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"examples/{suite}", "--tf-location=local"]
    with nothing_more(place):
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env={**os.environ, **images, **place.environment},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rollbacks (" in done.stdout


def test_a_container_is_in_the_one_tree_there_is(place: PrivateLocation, tiny: str) -> None:
    with session_at(place) as location:
        container = sleeper(location, tiny)
        [group] = groups_named(container.uuid)
        assert group.parent.parent == CGROUPS
        assert processes_of(container)
        assert said(container, "grep -v ^0:: /proc/self/cgroup | cut -d: -f3 | sort -u") in ("", "/")  # no other's


@pytest.mark.parametrize("victim", ["agent", "launcher"])
def test_a_frozen_container_dies_with_its_node_and_is_built_again(
    place: PrivateLocation, tiny: str, victim: str
) -> None:
    with session_at(place) as location:
        told: queue.Queue[Container] = queue.Queue()
        container = sleeper(location, tiny, termination_callback=lambda one, *_: told.put(one))
        container.snapshot("base")
        doomed = freeze(container) | {place.node.agent}
        os.kill(getattr(place.node, victim), signal.SIGKILL)
        for process in doomed:
            gone(process)
        assert told.get(timeout=SECONDS) is container
        container.rebuild("base")
        assert said(container, "echo here") == "here"
        assert not processes_of(container) & doomed


def freeze(container: Container) -> set[int]:
    """Let all of it stand still, as a snapshot does; its processes."""
    [group] = groups_named(container.uuid)
    Group(driver_for(layout.see()), f"/{group.relative_to(CGROUPS)}").freeze()
    return processes_of(container)


def test_a_location_that_is_killed_with_a_frozen_container_leaves_no_group(version_two: None, tiny: str) -> None:
    with private_location() as place, place.connect() as location:
        doomed = freeze(sleeper(location, tiny))
        [group] = groups_of_nodes(f"{place.node_name}-*")
        place.kill()
        for process in doomed:
            gone(process)
        assert not group.exists()


def test_the_check_of_the_machine_names_it(version_two: None) -> None:
    argv = [sys.executable, "-m", "tfnode.cli", "check"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Control groups version 2: " in done.stdout, done.stdout + done.stderr

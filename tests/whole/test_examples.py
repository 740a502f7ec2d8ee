"""The examples as shipped: on a private location, on one over TCP with keys, by two workers, and backwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import example_images
from tests.support.daemons import PrivateLocation, RemoteLocation
from tests.support.line import nothing_more, private_location, remote_location

pytestmark = pytest.mark.leaks("module")

ROOT = Path(__file__).parents[2]
SUITES = ("static_site", "postgres", "redis", "two_services")


def run(environment: Mapping[str, str], *arguments: str) -> str:
    """A pytest run in a process of its own, as a user would start it; what it said. It must have passed."""
    images = {"TF_EXAMPLE_IMAGES": str(example_images.directory())}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, **images, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place() -> Iterator[PrivateLocation]:
    example_images.directory()  # building them takes longer than an idle location waits
    with private_location() as place:
        with place.connect() as location:  # what the node keeps once it has had a container and a connection
            location.node().spawn_container(example_images.reference("nginx")).http.get("/")
        yield place


@pytest.mark.parametrize("suite", SUITES)
def test_on_a_private_location(place: PrivateLocation, suite: str) -> None:
    with nothing_more(place):
        said = run(place.environment, f"examples/{suite}", "--tf-location=local")
    assert re.search(
        r"\n=+ tf summary =+\nlocal: \d containers? \(.*\), \d baselines?, \d+ rollbacks \(.*\)\n\n=+ \d+ passed", said
    )


def names_in(place: PrivateLocation) -> list[str]:
    said = run(place.environment, "examples", "--collect-only", "-q")
    return [line for line in said.splitlines() if "::" in line]


def test_backwards(place: PrivateLocation) -> None:
    """Each test starts from the baseline, whatever was before it."""
    names = names_in(place)
    assert len(names) > 30
    said = run(place.environment, *reversed(names), "--tf-location=local", "-v")
    assert said.index(names[-1]) < said.index(names[0])


def test_by_two_workers(place: PrivateLocation) -> None:
    with nothing_more(place):
        said = run(place.environment, "examples", "--tf-location=local", "-n", "2")
    assert "2 workers" in said
    assert "= tf summary =" in said


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteLocation]:
    with remote_location() as place:
        yield place


def test_on_a_location_over_tcp_with_keys(remote: RemoteLocation) -> None:
    environment = {"TF_HOME": str(remote.directory / "alice")}
    with nothing_more(remote):
        said = run(environment, "examples", f"--tf-location={remote.name}")
    assert f"\n{remote.name}: 6 containers (" in said

"""A Docker engine to measure beside: one that answers already, or the distribution's, started for this run alone.

What is done with an engine is done through `Engine.inside`: an engine of our own lives in a network namespace of its own,
where its published ports are.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.measuring.progress import Progress
from benchmarks.peers import dockerd
from tfcore.errors import TfError
from tfnode.kernel.namespaces import in_netns

if TYPE_CHECKING:
    import docker

T = TypeVar("T")

LABEL = "pytest-tf-benchmark"
"""Marks the containers of a run."""

BUILDER = Path(__file__).parents[2] / "examples" / "images" / "build.py"
IMAGES = ("nginx", "redis", "postgres")
CALL = 180
"""Seconds the engine may take for a request."""


@dataclass
class Engine:
    """A Docker engine.

    Attributes:
        url: where it answers.
        netns: the network namespace it lives in, or None for ours.
        images: the example images' tags there, by name.
    """

    url: str
    netns: int | None
    images: dict[str, str]

    def inside(self, function: Callable[[], T]) -> T:
        """Run `function` where the engine's published ports are."""
        return function() if self.netns is None else in_netns(self.netns, function)

    def client(self) -> docker.DockerClient:
        """A new client of the engine."""
        import docker

        return docker.DockerClient(base_url=self.url, timeout=CALL)

    def version(self) -> str:
        """The engine's version and storage driver."""
        with contextlib.closing(self.client()) as client:
            return f"{client.version()['Version']}, {client.info()['Driver']}"


@contextmanager
def engine(directory: Path, images: Path, progress: Progress) -> Iterator[Engine | str]:
    """An engine with the example images, or why there is none. Nothing of ours stays in it.

    Args:
        directory: where an engine of our own keeps its data.
        images: the example images.
    """
    with contextlib.ExitStack() as stack:
        try:
            found = _find(stack, directory, progress)
            progress.step("loading the images into Docker")
            found.images.update(_load(found, images, directory))
        except TfError as reason:
            progress.step(str(reason))
            yield "Docker and testcontainers are left out: no engine answers, and none could be started."
            return
        stack.callback(_clear, found)
        yield found


def _find(stack: contextlib.ExitStack, directory: Path, progress: Progress) -> Engine:
    url = os.environ.get("DOCKER_HOST") or dockerd.USUAL
    if dockerd.answers(url):
        return Engine(url, None, {})
    progress.step("starting a Docker engine of its own")
    own = stack.enter_context(dockerd.private(directory / "docker"))
    return Engine(own.url, own.netns, {})


def _load(found: Engine, images: Path, directory: Path) -> dict[str, str]:
    """Load the example images under tags of our own: a user's `nginx:latest` stays what it is."""
    archives = directory / "archives"
    environment = os.environ | {"TF_EXAMPLE_IMAGES": str(images)}
    subprocess.run(
        [sys.executable, BUILDER, "--docker-archive", archives], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    tags = {name: f"{LABEL}-{name}:latest" for name in IMAGES}
    with contextlib.closing(found.client()) as client:
        for name, tag in tags.items():
            archive = archives / f"{name}.tar"
            with retagged(archive, tag).open("rb") as stream:
                client.images.load(stream)
            archive.unlink()
    return tags


def retagged(archive: Path, tag: str) -> Path:
    """A copy, in the archive's place, of what `docker load` reads, with another tag (Docker image specification 1.2)."""
    other = archive.with_suffix(".retagged")
    with tarfile.open(archive) as old, tarfile.open(other, "w") as new:
        for member in old:
            content = old.extractfile(member)
            if member.name == "manifest.json" and content is not None:
                (entry,) = json.load(content)
                data = json.dumps([{**entry, "RepoTags": [tag]}]).encode()
                member.size, content = len(data), BytesIO(data)
            new.addfile(member, content)
    other.rename(archive)
    return archive


def remove_containers(client: docker.DockerClient) -> None:
    """Remove the run's containers."""
    for container in client.containers.list(all=True, filters={"label": LABEL}):
        container.remove(force=True, v=True)


def _clear(found: Engine) -> None:
    with contextlib.closing(found.client()) as client:
        remove_containers(client)
        for image in client.images.list(filters={"reference": f"{LABEL}-*"}):
            client.images.remove(str(image.id), force=True)

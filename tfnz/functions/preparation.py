"""The container a file's functions are called in: image, dependencies, the file, and a snapshot of it all.

What the dependencies make of the image is kept at the location for a week (`Container.keep`), for whatever file of the
account needs the same on the same image: later runs begin there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcore.errors import BadRequest, ImageNotFound, NotFound, TfError
from tfnz import ready
from tfnz.functions import metadata as described
from tfnz.functions import packages
from tfnz.functions.metadata import Metadata
from tfnz.functions.packages import Target

if TYPE_CHECKING:
    from tfnz.container import Container
    from tfnz.location import Location
    from tfnz.node import Node

log = logging.getLogger(__name__)

HOME = "/opt/tf-function"
PACKAGES = f"{HOME}/packages"
SOURCE = f"{HOME}/source"
REPLIES = f"{HOME}/replies"

PREPARED = "prepared"
"""The snapshot's name."""

IDLE = ("python3", "-IS", "-c", "import signal; signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})")
"""The main process: waits for the end."""

PROBE = """
import json, os, platform, sys
try:
    libc = ["glibc", os.confstr("CS_GNU_LIBC_VERSION").split()[1]]
except (ValueError, OSError, AttributeError, IndexError):
    libc = ["musl", "1.2"]
print(json.dumps([platform.python_version(), platform.machine(), *libc]))
"""
"""What the image's Python says of itself; musl has no way to say its version, and 1.2 is that of all images since 2021."""

HOUR = 3600.0
"""Seconds that compiling may take."""

ROOT = "0"

FOR_KEPT = {"memory", "cpus", "pids", "tag"}
"""What may be wished for a container from a kept snapshot."""

Progress = Callable[[str, int, int], None] | None


class Preparation:
    """How to make it.

    Args:
        path: of the file.
        image: the only one to try; "": Python's own.
        keep: begin with what is kept of these dependencies, and keep it if nothing is.
        wish: arguments of `Node.spawn_container`.
    """

    def __init__(
        self,
        location: Location,
        path: Path,
        metadata: Metadata,
        *,
        image: str,
        keep: bool,
        progress: Progress,
        wish: Mapping[str, Any],
    ) -> None:
        self._location = location
        self._path = path
        self._metadata = metadata
        self._image = image
        self._progress = progress
        self._wish = {name: value for name, value in wish.items() if value}
        self._may_keep = keep and bool(metadata.dependencies) and self._wish.keys() <= FOR_KEPT

    def container(self) -> Container:
        """A new one, ready for its first call.

        Raises:
            As `Module.prepare`.
        """
        image = self._present_image()
        name = self._kept_name(image) if self._may_keep else ""
        container = self._resumed(name) or self._spawned(image, name)
        try:
            self._put_source(container)
            container.snapshot(PREPARED)
        except BaseException:
            _discard(container)
            raise
        return container

    def _present_image(self) -> str:
        candidates = [self._image] if self._image else described.images(self._metadata.requires_python)
        for image in candidates:
            try:
                self._location.ensure_image_uploaded(image, progress=self._progress)
            except ImageNotFound as missing:
                if image == candidates[-1]:
                    missing.hint = (
                        f"docker pull {candidates[0]}, or name an image with a python3 in it: --image, image=, or "
                        f"`[tool.tf] image` in {self._path.name}"
                    )
                    raise
            else:
                return image
        raise AssertionError("unreachable")

    def _kept_name(self, image: str) -> str:
        key = json.dumps([self._location.image_identity(image), sorted(self._metadata.dependencies)])
        return f"function-{hashlib.sha256(key.encode()).hexdigest()[:20]}"

    def _resumed(self, name: str) -> Container | None:
        """From what is kept, if it is and if that comes up."""
        if not name:
            return None
        try:
            container = self._location.resume(name, ready=ready.running(), **self._wish)
        except TfError as error:
            log.debug("nothing is kept of the dependencies of %s: %s", self._path.name, error)
            return None
        try:
            container.wait_until_ready()
            if self._metadata.requires_python:
                self._check_python(container)
        except BaseException:
            _discard(container)
            raise
        return container

    def _spawned(self, image: str, name: str) -> Container:
        wish: dict[str, Any] = {"ready": ready.running(), "entrypoint": IDLE, **self._wish}
        container = self._node().spawn_container(image, no_image_check=True, **wish)
        try:
            container.wait_until_ready()
            target = self._check_python(container)
            container.mkdir(HOME, parents=True)
            container.mkdir(REPLIES, mode=0o1777)
            if self._metadata.dependencies:
                self._install(container, target)
                self._keep(container, name)
        except BaseException:
            _discard(container)
            raise
        return container

    def _node(self) -> Node:
        """Where its volumes are, else the best."""
        mounts = self._wish.get("volumes") or ()
        volumes = list(mounts.values()) if isinstance(mounts, Mapping) else [volume for volume, _ in mounts]
        return volumes[0].node if volumes else self._location.node()

    def _check_python(self, container: Container) -> Target:
        target = target_of(container)
        if not described.fits(self._metadata.requires_python, target.version):
            raise BadRequest(
                f"{self._path.name} requires Python {self._metadata.requires_python}; the image has {target.version}",
                hint="name another image",
            )
        return target

    def _install(self, container: Container, target: Target) -> None:
        log.info("Resolving dependencies of %s", self._path.name)
        if self._progress is not None:
            self._progress("resolving dependencies", 0, 0)
        container.put_tree(packages.installed(self._metadata.dependencies, target), PACKAGES, progress=self._progress)
        if self._progress is not None:
            self._progress("compiling dependencies", 0, 0)
        # once, instead of in every call; what cannot be compiled is told when it is imported
        container.run_process(f"exec python3 -m compileall -q {PACKAGES}", timeout=HOUR, user=ROOT)

    def _keep(self, container: Container, name: str) -> None:
        """Only for speed, so that a location which allows no more is no failure."""
        if not name:
            return
        labels = {"dependencies": " ".join(self._metadata.dependencies)[:200]}
        try:
            container.keep(name, seconds=packages.WEEK, labels=labels, evictable=True, replace=True)
        except TfError as error:
            log.info("the dependencies of %s are not kept: %s", self._path.name, error)

    def _put_source(self, container: Container) -> None:
        here = Path(__file__).parent
        for name in ("inside.py", "values.py"):
            container.put(f"{HOME}/{name}", (here / name).read_bytes())
        container.put(f"{SOURCE}/{self._path.name}", self._path.read_bytes(), mode=0o644)
        for beside in self._included():
            inside = f"{SOURCE}/{beside.relative_to(self._path.parent)}"
            (container.put_tree if beside.is_dir() else container.put_file)(beside, inside)

    def _included(self) -> list[Path]:
        found = []
        for pattern in self._metadata.include:
            matches = sorted(self._path.parent.glob(pattern)) if not pattern.startswith("/") else []
            if not matches or ".." in Path(pattern).parts:
                raise NotFound(f"{self._path.name} includes {pattern!r}, and there is nothing like that beside it")
            found += matches
        return found


def target_of(container: Container) -> Target:
    """Which Python the container has.

    Raises:
        BadRequest: none that works.
    """
    done = container.run_process("exec python3 -IS -", stdin=PROBE)
    if done.exit_code != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise BadRequest(f"the image has no python3 that works: {said}", hint="name another image")
    version, machine, libc, libc_version = json.loads(done.stdout)
    major, minor = libc_version.split(".")[:2]
    return Target(version, machine, libc, (int(major), int(minor)))


def _discard(container: Container) -> None:
    with contextlib.suppress(TfError):
        container.destroy()

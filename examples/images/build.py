"""Builds the example images (nginx, PostgreSQL, Redis) from the distribution's own packages, once.

    python examples/images/build.py                         build what is missing
    python examples/images/build.py --print-dir             say where the images are, build nothing
    python examples/images/build.py --docker-archive DIR    write DIR/nginx.tar and so on for `docker load` as well

Needs Python's standard library, mmdebstrap and the right to run it; no registry, no Docker. The result, one OCI image
layout per service, is kept in the user's cache by the content of the recipe, so a fresh checkout finds it again. The
environment variable TF_EXAMPLE_IMAGES names another directory.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import distribution
import layers
import oci
from recipes import RECIPES, Recipe

Say = Callable[[str, str], None]  # who, what
GO_ARCHITECTURE = {"armhf": "arm", "i386": "386", "ppc64el": "ppc64le"}  # the others are spelt alike
CREATED = datetime.fromtimestamp(int(distribution.EPOCH), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print-dir", action="store_true", help="print the images' directory and build nothing")
    parser.add_argument("--docker-archive", metavar="DIR", type=Path, help="also write archives for `docker load`")
    options = parser.parse_args()
    try:
        machine = distribution.of_this_machine()
        directory = images_directory(machine)
        if not options.print_dir:
            build_once(machine, directory)
        if options.docker_archive:
            write_archives(directory, options.docker_archive)
    except distribution.CannotBuildError as reason:
        print(f"images: {reason}", file=sys.stderr)
        return 1
    if options.print_dir:
        print(directory)
    return 0


def images_directory(machine: distribution.Distribution) -> Path:
    """TF_EXAMPLE_IMAGES, or a directory of the user's cache named after the recipe and the distribution."""
    if chosen := os.environ.get("TF_EXAMPLE_IMAGES"):
        return Path(chosen).absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pytest-tf" / "example-images" / recipe_key(machine)


def recipe_key(machine: distribution.Distribution) -> str:
    """Changes whenever a file of this directory, the distribution or the architecture does."""
    key = hashlib.sha256(f"{machine.identifier} {machine.codename} {machine.architecture}".encode())
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *here.glob("files/*")]):
        key.update(f"\0{path.relative_to(here)}\0".encode() + path.read_bytes())
    return f"{machine.codename}-{key.hexdigest()[:12]}"


def build_once(machine: distribution.Distribution, directory: Path) -> None:
    """Build the images unless they are there; of several builders one works, the others wait for it."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with alone(directory.with_name(directory.name + ".lock")):
        if complete(directory):
            print(f"images: {', '.join(recipe.name for recipe in RECIPES)} are in {directory}")
            return
        build(machine, directory)


def complete(directory: Path) -> bool:
    return all((directory / recipe.name / "index.json").exists() for recipe in RECIPES)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("images: another process is building them, waiting for it", flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def build(machine: distribution.Distribution, directory: Path) -> None:
    """Build every image aside and put all of them in place at once."""
    if directory.exists() and any(directory.iterdir()):
        raise distribution.CannotBuildError(f"{directory} holds something else: name an empty or an absent directory")
    if not shutil.which("mmdebstrap"):
        raise distribution.CannotBuildError("mmdebstrap is missing: run `make setup`, or apt-get install mmdebstrap")
    started = time.monotonic()
    say = partial(report, started)
    say("images", f"building {len(RECIPES)} from the packages of {machine.name}, about a minute")
    with tempfile.TemporaryDirectory(prefix=".building-", dir=directory.parent) as scratch:
        work = Path(scratch)
        archives = bootstrap_all(machine, work, say)
        finished = work / "finished"
        write_images(archives, finished, machine, say)
        finished.rename(directory)
    say("images", f"done: {directory}")


def report(started: float, who: str, what: str) -> None:
    print(f"{time.monotonic() - started:5.1f}s  {who:<9} {what}", flush=True)


def bootstrap_all(machine: distribution.Distribution, work: Path, say: Say) -> dict[str, Path]:
    """The root file systems, by image name and "base", as archives; made side by side, one per core."""
    packages: dict[str, list[str]] = {"base": []} | {recipe.name: [recipe.package] for recipe in RECIPES}
    archives = {name: work / f"{name}.tar" for name in packages}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        started = [
            pool.submit(distribution.bootstrap, machine, archives[name], include, partial(say, name))
            for name, include in packages.items()
        ]
        for one in started:
            one.result()
    return archives


def write_images(archives: dict[str, Path], target: Path, machine: distribution.Distribution, say: Say) -> None:
    """Write one layout per recipe below `target`, all over the same base layer."""
    target.mkdir()
    with tarfile.open(archives["base"]) as opened:
        base = layers.RootFileSystem(opened)
        base_file = archives["base"].with_suffix(".layer")
        layers.write_base(base_file, base)
        lowest = described(base_file, f"essential packages of {machine.name}")
        for recipe in RECIPES:
            say(recipe.name, "writing the image")
            with tarfile.open(archives[recipe.name]) as service:
                above = layers.RootFileSystem(service, drop=recipe.drop)
                file = archives[recipe.name].with_suffix(".layer")
                layers.write_difference(file, base, above, recipe.added)
                upper = described(file, f"package {recipe.package} of {machine.name}")
                write_image(target / recipe.name, recipe, above, [lowest, upper], architecture=machine.architecture)


def write_image(
    layout: Path, recipe: Recipe, root: layers.RootFileSystem, stack: list[oci.Layer], *, architecture: str
) -> None:
    config = oci.image_config(
        recipe.config(root.members),
        stack,
        architecture=GO_ARCHITECTURE.get(architecture, architecture),
        created=CREATED,
    )
    oci.write_layout(layout, f"{recipe.name}:latest", config, stack)


def described(file: Path, created_by: str) -> oci.Layer:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return oci.Layer(file, f"sha256:{digest}", created_by)


def write_archives(directory: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for recipe in RECIPES:
        oci.write_docker_archive(directory / recipe.name, target / f"{recipe.name}.tar")
        print(f"images: {target / recipe.name}.tar", flush=True)


if __name__ == "__main__":
    sys.exit(main())

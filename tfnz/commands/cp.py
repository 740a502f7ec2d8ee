"""`tf cp`: files and trees into a container and out of it, whichever session it belongs to."""

from __future__ import annotations

import argparse
import posixpath
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfnz.commands import exits
from tfnz.commands import options as common
from tfnz.commands.command import Command
from tfnz.commands.progress import Progress

if TYPE_CHECKING:
    from tfnz.visiting import Visited

STREAM = "-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is: in a container, or here if that is ""."""

    container: str
    path: str


def place_of(text: str) -> Place:
    """CONTAINER:PATH, or a path of this machine: those with a colon in them begin with / or a dot."""
    container, colon, path = text.partition(":")
    if colon and container and "/" not in container and not container.startswith("."):
        return Place(container, path or "/")
    return Place("", text)


def _cp(options: argparse.Namespace) -> int:
    source, target = place_of(options.source), place_of(options.target)
    if bool(source.container) == bool(target.container):
        options.parser.error("one of the two is CONTAINER:PATH, the other one a path here")
    with common.visited(options) as visit, Progress(quiet=options.quiet) as progress:
        try:
            if target.container:
                _put(source.path, visit.container(target.container), _absolute(target.path), progress)
            else:
                _fetch(visit.container(source.container), _absolute(source.path), target.path, options, progress)
        except OSError as error:
            return _failed(error)
    return exits.OK


def _absolute(path: str) -> str:
    """Paths in containers begin at its root, as docker has it."""
    return path if path.startswith("/") else f"/{path}"


def _failed(error: OSError) -> int:
    where = f"{error.filename}: " if error.filename else ""
    print(f"tf cp: {where}{error.strerror or error}", file=sys.stderr)
    return exits.FAILED


# there


def _put(source: str, container: Visited, target: str, progress: Progress) -> None:
    if source == STREAM:
        container.put_file(sys.stdin.buffer, target, progress=progress)
    elif Path(source).is_dir():
        container.put_tree(source, _tree_in(container, source, target), progress=progress)
    else:
        mode = Path(source).stat().st_mode & 0o777
        container.put_file(source, _file_in(container, source, target), mode=mode, progress=progress)


def _tree_in(container: Visited, source: str, target: str) -> str:
    """Below a directory that is there, under its own name; `DIR/.` stands for what is in it. Else as the target."""
    if source.endswith(("/.", "/./")) or source == "." or not _is_directory(container, target):
        return target
    return posixpath.join(target, Path(source).resolve().name)


def _file_in(container: Visited, source: str, target: str) -> str:
    if target.endswith("/") or _is_directory(container, target):
        return posixpath.join(target, Path(source).name)
    return target


def _is_directory(container: Visited, path: str) -> bool:
    from tfcore.errors import NotFound

    try:
        return container.stat(path).is_dir()
    except NotFound:
        return False


# and back


def _fetch(container: Visited, source: str, target: str, options: argparse.Namespace, progress: Progress) -> None:
    if target == STREAM:
        container.fetch_file(source, sys.stdout.buffer, progress=progress)
        sys.stdout.buffer.flush()
    elif _is_directory(container, source):
        place = _tree_here(source, Path(target))
        container.fetch_tree(source, place, skip_links_out=options.skip_links_out, progress=progress)
    else:
        container.fetch_file(source, target, progress=progress)


def _tree_here(source: str, target: Path) -> Path:
    name = posixpath.basename(posixpath.normpath(source))
    return target / name if target.is_dir() and name and not source.endswith("/.") else target


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SRC", help="what to copy: CONTAINER:PATH or a path here; - is standard input"
    )
    parser.add_argument("target", metavar="DEST", help="where to: CONTAINER:PATH or a path here; - is standard output")
    parser.add_argument(
        "--skip-links-out",
        action="store_true",
        help="leave away links of a tree that lead out of it, instead of refusing",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress on a terminal")


COMMAND = Command(
    name="cp",
    summary="copy files and trees into a container and out of it",
    description="""
One of SRC and DEST is CONTAINER:PATH, a path in a container of your account, whichever session it belongs to; the
other one is a path of this machine. A path here with a colon in it is written ./like:this.

A directory is copied with all that is in it, under its own name if DEST is a directory that is there, as DEST
otherwise; `DIR/.` stands for what is in DIR. What comes in belongs to the container's root, with its permission bits.
A tree that is fetched appears as a whole, in a place where nothing was; links of it that lead out of it are refused,
and so nothing is written anywhere else.
""",
    run=_cp,
    arguments=_arguments,
    common=("where",),
    examples=(
        ("tf cp index.html web:/usr/share/nginx/html/", "a file, under its name"),
        ("tf cp site/. web:/usr/share/nginx/html", "what is in a directory"),
        ("tf cp db:/var/log/postgresql logs", "a tree, out"),
        ("tf cp db:/etc/passwd - | sort", "a file, to standard output"),
    ),
    see_also=("tf-ps", "tf-exec"),
)

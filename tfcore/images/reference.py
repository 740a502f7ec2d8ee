"""What users write to name an image, parsed and made canonical in this one place.

    nginx   team/web:1.2   nginx@sha256:…      a name: the location's cache first, then the local Docker
    337c501c333c   sha256:337c…                an image id or its beginning, looked up likewise
    docker:NAME                                the local Docker daemon, whatever the cache holds
    .                                          the newest local build of the Docker daemon
    docker-archive:FILE[:TAG]                  a file of `docker save`
    oci:DIR[:TAG]                              an OCI image layout
    rootfs:TAR                                 the tar of a root file system, an image of one layer

A word before the first colon that is one of these schemes is always the scheme: the image called `docker` with the tag
`dind` is written `docker:docker:dind`. Paths end at their first colon. Reads no file and asks no daemon. The grammar of
names is that of the OCI distribution project (reference/regexp.go).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum

from tfcore.errors import BadImage


class Scheme(StrEnum):
    """Where a reference says its image is."""

    NAME = "name"
    DOCKER = "docker"
    LATEST_BUILD = "."
    DOCKER_ARCHIVE = "docker-archive"
    OCI = "oci"
    ROOTFS = "rootfs"


_FILES = frozenset({Scheme.DOCKER_ARCHIVE, Scheme.OCI, Scheme.ROOTFS})

NAME_LENGTH = 255
TAG_LENGTH = 128

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]+)?"
_TAG = rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{TAG_LENGTH - 1}}}"
_NAME = re.compile(
    rf"\A(?P<repository>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?\Z"
)
_ID = re.compile(r"\A(?:sha256:)?(?P<digits>[0-9a-f]{1,64})\Z")

SHORTEST_ID = 4
"""Digits below which a bare hexadecimal word is a name only: `bad` and `fee` are names people choose."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One parsed reference.

    Attributes:
        scheme: where to look.
        target: the canonical name (`nginx:latest`), the absolute path, or nothing for `.`.
        tag: which image of an archive or layout; None if it holds only one.
        id_prefix: the leading digits of an image id, if the reference can be one. A name of that spelling comes first.
    """

    scheme: Scheme
    target: str
    tag: str | None = None
    id_prefix: str | None = None

    @property
    def cached_name(self) -> str | None:
        """What to ask a location's cache for, once the image is there; None where only the source can tell (`.`)."""
        match self.scheme:
            case Scheme.LATEST_BUILD:
                return None
            case Scheme.NAME | Scheme.DOCKER:
                return self.query
            case _:
                return str(self)

    @property
    def query(self) -> str:
        """What to ask a cache or a daemon for: the name, or the bare digits of what may be an id.

        Both take digits for a name first and for an id then.
        """
        explicit = self.target.startswith("sha256:")
        return self.target if explicit or self.id_prefix is None else self.id_prefix

    def __str__(self) -> str:
        match self.scheme:
            case Scheme.NAME:
                return self.query
            case Scheme.DOCKER:
                return f"docker:{self.query}"
            case Scheme.LATEST_BUILD:
                return "."
            case _:
                tag = "" if self.tag is None else f":{self.tag}"
                return f"{self.scheme}:{self.target}{tag}"


def parse_reference(text: str) -> Reference:
    """Parse what a user wrote; relative paths are taken from the current directory, `~` is the home directory.

    Raises:
        BadImage: nothing that could name an image; the message says what was meant, as far as that can be told.
    """
    if not isinstance(text, str):
        raise BadImage(f"an image is named by a string, not by {type(text).__name__}")
    if text == ".":
        return Reference(Scheme.LATEST_BUILD, "")
    scheme, colon, rest = text.partition(":")
    if colon and scheme in _FILES:
        return _file(Scheme(scheme), rest)
    if colon and scheme == Scheme.DOCKER:
        return _named(Scheme.DOCKER, rest)
    return _named(Scheme.NAME, text)


def _file(scheme: Scheme, rest: str) -> Reference:
    path, colon, tag = rest.partition(":")
    if "\0" in rest:
        raise BadImage(f"{scheme}: a path cannot hold a zero byte")
    if not path:
        raise BadImage(f"{scheme}: needs a path", hint=f"write {scheme}:/path/to/it")
    if colon and not tag:
        raise BadImage(f"{scheme}:{rest} ends with a colon but names no tag")
    if colon and scheme is Scheme.ROOTFS:
        raise BadImage(f"rootfs:{rest}: a root file system has no tag", hint="a path cannot contain a colon here")
    return Reference(scheme, os.path.abspath(os.path.expanduser(path)), tag or None)


def _named(scheme: Scheme, text: str) -> Reference:
    digits = _id_prefix(text)
    if digits and text.startswith("sha256:"):
        return Reference(scheme, text, id_prefix=digits)
    return Reference(scheme, canonical_name(text), id_prefix=digits)


def _id_prefix(text: str) -> str | None:
    match = _ID.match(text)
    digits = match["digits"] if match else ""
    return digits if len(digits) >= SHORTEST_ID else None


def canonical_name(text: str) -> str:
    """`nginx` as `nginx:latest`; with a digest, which says everything, the tag is dropped.

    Raises:
        BadImage: not a name.
    """
    match = _NAME.match(text)
    if match is None or len(match["repository"]) > NAME_LENGTH:
        raise BadImage(f"{text[:300]!r} is not the name of an image", hint=_way_out(text))
    if match["digest"]:
        return f"{match['repository']}@{match['digest']}"
    return f"{match['repository']}:{match['tag'] or 'latest'}"


def _way_out(text: str) -> str:
    if not text.strip():
        return "write e.g. nginx or nginx:1.25"
    if "://" in text:
        return "leave the protocol out: names begin with the repository or its host"
    if text.startswith(("/", "./", "../", "~")) or text.endswith((".tar", ".tar.gz", ".tgz")):
        return f"a file is given as docker-archive:{text}, oci:{text} or rootfs:{text}, depending on what it is"
    if text != text.lower() and _NAME.match(text.lower()):
        return f"names are lower case: {text.lower()}"
    if "@" in text:
        return "a digest is sha256: and 64 hexadecimal digits"
    if text != text.strip():
        return "there is white space around it"
    return "a name is lower-case letters, digits and . _ - / and may end in :tag"

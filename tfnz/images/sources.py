"""From a reference to an open image source: one line per scheme. Sources are loaded when first needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tfcore.images.platforms import Platform, this_platform
from tfcore.images.reference import Reference, Scheme
from tfnz.images.source import ImageSource

Opener = Callable[[Reference, Platform], ImageSource]


def open_source(reference: Reference, *, platform: Platform | None = None) -> ImageSource:
    """Open the image a reference names, on this machine; the caller closes it.

    Args:
        reference: parsed.
        platform: what it has to run on, where a source has several; by default what we run on.

    Raises:
        BadImage: it cannot be used; the message names the file.
        ImageNotFound: the local Docker has no such image.
        Unavailable: there is no local Docker.
    """
    return OPENERS[reference.scheme](reference, platform or this_platform())


def _docker_archive(reference: Reference, platform: Platform) -> ImageSource:
    from tfnz.images.docker_archive import open_docker_archive

    return open_docker_archive(Path(reference.target), tag=reference.tag, platform=platform, name=str(reference))


def _oci(reference: Reference, platform: Platform) -> ImageSource:
    from tfnz.images.oci_layout import open_oci_directory

    return open_oci_directory(Path(reference.target), tag=reference.tag, platform=platform, name=str(reference))


def _rootfs(reference: Reference, platform: Platform) -> ImageSource:
    from tfnz.images.rootfs import open_rootfs

    return open_rootfs(Path(reference.target), platform=platform, name=str(reference))


def _docker(reference: Reference, platform: Platform) -> ImageSource:  # noqa: ARG001 - the daemon has one image per name
    from tfnz.images.docker_daemon import open_docker

    return open_docker(reference)


OPENERS: Mapping[Scheme, Opener] = {
    Scheme.DOCKER_ARCHIVE: _docker_archive,
    Scheme.OCI: _oci,
    Scheme.ROOTFS: _rootfs,
    Scheme.DOCKER: _docker,
    Scheme.LATEST_BUILD: _docker,
    Scheme.NAME: _docker,
}

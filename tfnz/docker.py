"""The local Docker as gen 2 showed it: the newest build, descriptions and tarballs of its images (B6).

Spawning needs none of this; what reads images for the location is `tfnz.images`.
"""

from __future__ import annotations

from typing import Any

from tfcore.images.reference import parse_reference
from tfnz.images import docker_daemon


class Docker:
    """The local Docker's images, by static methods."""

    @staticmethod
    def last_image() -> str:
        """The id of the newest image; see `tfnz.location.last_image`."""
        return docker_daemon.last_image()

    @staticmethod
    def description(docker_image_id: str, *, conn: object = None) -> dict[str, Any]:
        """What `docker inspect` says of an image.

        Args:
            docker_image_id: a name, an id or the beginning of one, or `.` for the newest.
            conn: accepted and ignored (gen 2 asked the location, too).

        Raises:
            ImageNotFound: there is no such image. Unavailable: there is no Docker. BadImage: that is no reference.
        """
        del conn
        with docker_daemon.asked_about(parse_reference(docker_image_id)) as (api, name):
            return api.inspect_image(name)

    @staticmethod
    def tarball(docker_image_id: str) -> bytes:
        """What `docker save` writes of an image, all of it in memory; uploads to a location stream instead.

        Raises:
            As `description`.
        """
        with docker_daemon.asked_about(parse_reference(docker_image_id)) as (api, name):
            return b"".join(api.get_image(name))

"""What a container's image says of it, and what was wished beside: mixed into `Container`, which has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tfnz.container import Container


class Imaged:
    """The image's own words."""

    @property
    def image(self: Container) -> str:  # type: ignore[misc]
        """What it was spawned from, by the name the location has filed it under."""
        return self._spawn.wish.image

    @property
    def docker_config(self: Container) -> dict[str, Any]:  # type: ignore[misc]
        """How its image says that it is to be run, as in the `Config` of `docker inspect`: Cmd, Env, ExposedPorts, …

        A container uses the image's own, but for what `spawn_container` was given instead.
        """
        if not self._config:
            return {}
        found: dict[str, Any] = msgspec.json.decode(self._config).get("config") or {}
        return found

    @property
    def env(self: Container) -> list[tuple[str, str]]:  # type: ignore[misc]
        """What `spawn_container` was given over the image's own environment."""
        return list(self._spawn.wish.env)

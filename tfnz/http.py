"""A `requests` session onto one container: relative URLs, no proxies, no kept-alive sockets of a former life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests

if TYPE_CHECKING:
    from tfnz.container import Container


class ContainerSession(requests.Session):
    """`get("/path")` asks the container; absolute URLs work as usual."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self.trust_env = False  # a proxy of the environment cannot reach our loopback
        self.headers["Connection"] = "close"
        self._container = container

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As `requests.Session.request`, with `url` relative to the container; 30 s timeout unless given."""
        base = self._container.tunnel(self._container.first_port()).url
        kwargs.setdefault("timeout", 30)
        relative = url.decode("ascii") if isinstance(url, bytes) else str(url)
        return super().request(method, urljoin(base, relative), *args, **kwargs)


def session_for(container: Container) -> requests.Session:
    """A fresh session for `container`, which is ready when this returns: calls on a container wait for it.

    Raises:
        ContainerDied, DeadlineExceeded: it is not, and will not be.
    """
    container.wait_until_ready()
    return ContainerSession(container)

"""A container as a web server, and the ports its image exposes: mixed into `Container`, which has the rest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tfcore.wire import containers as wire
from tfnz import arguments

if TYPE_CHECKING:
    import requests

    from tfnz.container import Container
    from tfnz.tunnel import Tunnel

log = logging.getLogger(__name__)


class Web:
    """What is asked of ports."""

    def wait_http_200(  # type: ignore[misc]
        self: Container,
        dest_port: int = 80,
        fqdn: str = "localhost",
        path: str = "",
        localport: int | None = None,
        timeout: float = 60.0,
    ) -> Tunnel:
        """Block until `GET path` is answered by 200, and return a tunnel (seed 001, A Special Case for Webservers).

        Args:
            fqdn: the Host header to send.
        """
        port = arguments.port(dest_port)
        log.info("Waiting on http 200: %s", self.uuid)
        self._ask(wire.WaitHttp(port=port, path="/" + path.lstrip("/"), host=fqdn), timeout=timeout)
        tunnel = self.attach_tunnel(port, localport) if localport else self.tunnel(port)
        log.info("Connected onto: http://%s:%d/%s", fqdn, tunnel.localport, path.lstrip("/"))
        return tunnel

    def attach_browser(  # type: ignore[misc]
        self: Container, dest_port: int = 80, fqdn: str = "localhost", path: str = ""
    ) -> Tunnel:
        """`wait_http_200`, then open a web browser onto the tunnel (seed 001)."""
        import webbrowser

        tunnel = self.wait_http_200(dest_port, fqdn, path)
        webbrowser.open(f"http://{fqdn}:{tunnel.localport}/{path.lstrip('/')}")
        return tunnel

    @property
    def http(self: Container) -> requests.Session:  # type: ignore[misc]
        """A `requests` session onto port 80, or the image's first exposed port: `container.http.get("/")`."""
        from tfnz.http import session_for

        return session_for(self)

    def exposed_ports(self: Container) -> list[int]:  # type: ignore[misc]
        """The TCP ports the image exposes."""
        from tfcore.images.description import parse_config

        return [port.number for port in parse_config(self._config).exposed_ports if port.protocol == "tcp"]

    def first_port(self) -> int:
        """The first TCP port the image exposes, else 80."""
        return next(iter(self.exposed_ports()), 80)  # type: ignore[misc]

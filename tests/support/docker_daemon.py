"""A stand-in for the local Docker: its HTTP on a unix socket, with the images a test gives it.

with DockerDaemon(path, [nginx, build]) as daemon:      # DOCKER_HOST=unix://path
"""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import tarfile
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

from tests.support.images import Layer, layer_tar
from tfcore.images.platforms import platform_of_machine


@dataclass(frozen=True, kw_only=True)
class DockerImage:
    """One image.

    Attributes:
        id: its digits, of which a daemon's user may give the first.
        name: repository and tag, or "" as after `docker build .`.
        config: Cmd, Env, ExposedPorts, …
        layers: (digest of its tar, the file it is in, perhaps compressed), bottom first.
        created: seconds since the epoch.
    """

    id: str
    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[tuple[str, bytes | Path], ...] = ()
    created: int = 0

    def with_layer(self, layer: Layer, *, id: str, name: str = "", created: int = 0) -> DockerImage:
        """This one with another layer on top."""
        tar = layer_tar(layer)
        digest = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        return DockerImage(id=id, name=name, config=self.config, layers=(*self.layers, (digest, tar)), created=created)


def image_of_layout(layout: Path, *, id: str, name: str) -> DockerImage:
    """The one image of an OCI layout, as the daemon would have it."""

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(entry["digest"]).read_text())
    config = json.loads(blob(manifest["config"]["digest"]).read_text())
    files = (blob(layer["digest"]) for layer in manifest["layers"])
    layers = tuple(zip(config["rootfs"]["diff_ids"], files, strict=True))
    return DockerImage(id=id, name=name, config=config["config"], layers=layers)


class DockerDaemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves from a thread of its own as long as its block lasts."""

    daemon_threads = False

    def __init__(self, path: Path, images: Sequence[DockerImage]) -> None:
        super().__init__(str(path), _Handler)
        self.images = list(images)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def find(self, name: str) -> DockerImage | None:
        """By name, with `:latest` left out or not, or by the first digits of its id."""
        digits = name.removeprefix("sha256:").removesuffix(":latest")
        named = (one for one in self.images if one.name and one.name in (name, f"{name}:latest"))
        return next(named, None) or next((one for one in self.images if one.id.startswith(digits)), None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: DockerDaemon

    def address_string(self) -> str:
        return "a unix socket"

    def log_message(self, *_: object) -> None:
        """Tests have nothing to say of it."""

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.endswith("/version"):
            self._answer({"ApiVersion": "1.43", "Version": "24.0.0"})
        elif path.endswith("/images/json"):
            self._answer([{"Id": f"sha256:{one.id}", "Created": one.created} for one in self.server.images])
        else:
            self._image(*path.split("/images/", 1)[-1].rsplit("/", 1))

    def _image(self, name: str, what: str) -> None:
        image = self.server.find(name)
        if image is None:
            self._answer({"message": f"No such image: {name}"}, status=404)
        elif what == "json":
            self._answer(_inspected(image))
        else:
            self.send_response(200)
            self.end_headers()
            for chunk in _saved(image):
                self.wfile.write(chunk)

    def _answer(self, body: object, *, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _inspected(image: DockerImage) -> dict[str, Any]:
    return {
        "Id": f"sha256:{image.id}",
        "RepoTags": [image.name] if image.name else [],
        "Created": f"2016-01-09T17:45:{image.created:02d}Z",
        "Architecture": platform_of_machine(os.uname().machine).architecture,
        "Os": "linux",
        "Config": image.config,
        "RootFS": {"Type": "layers", "Layers": [digest for digest, _ in image.layers]},
    }


def _saved(image: DockerImage) -> Iterator[bytes]:
    """As `docker save` of today, the newest layer first."""
    for digest, content in reversed(image.layers):
        data = content if isinstance(content, bytes) else content.read_bytes()
        info = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
        info.size = len(data)
        yield info.tobuf()
        yield data
        yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)

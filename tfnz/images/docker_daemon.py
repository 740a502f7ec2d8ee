"""Images of the local Docker daemon, by the docker SDK: looked at without being exported, exported without being held.

`inspect` tells config and layers, so that nothing is read out when the location has them all. Otherwise `docker save` is
streamed once from front to back, and the wanted layers are put aside on disk; each is known by the digest of its content,
since the two forms of `docker save` name them differently and list them last. Works with any daemon since 1.10.
"""

from __future__ import annotations

import json
import os
import socket
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, Any, Protocol, cast

import docker
import requests
from docker.errors import APIError, DockerException
from docker.errors import ImageNotFound as NoSuchImage

from tfcore.errors import BadImage, ImageNotFound, Unavailable
from tfcore.images.chunks import ChunkReader, Tally, chunks_of
from tfcore.images.compression import expanded
from tfcore.images.description import parse_config
from tfcore.images.digest import Digester
from tfcore.images.reference import Reference
from tfnz.images.source import Progress
from tfnz.images.spool import spooled

UNIX = "unix://"
DEFAULT_HOST = "unix:///var/run/docker.sock"

TIMEOUT = 120
"""Seconds of silence after which the daemon counts as gone; a large image takes a while until its first byte."""

SECTION = (
    "Entrypoint",
    "Cmd",
    "Env",
    "WorkingDir",
    "User",
    "ExposedPorts",
    "Volumes",
    "StopSignal",
    "Healthcheck",
    "Labels",
)
"""What we keep of the daemon's `Config`: what a container needs, and nothing that differs between versions of Docker."""


class DockerApi(Protocol):
    """What we ask of `docker.APIClient`."""

    def inspect_image(self, image: str) -> dict[str, Any]: ...
    def images(self) -> list[dict[str, Any]]: ...
    def get_image(self, image: str) -> Iterator[bytes]: ...
    def close(self) -> None: ...


def connect() -> DockerApi:
    """The local daemon, as `docker` itself would find it (DOCKER_HOST and its friends, else the socket).

    Raises:
        Unavailable: there is none, or it may not be used.
    """
    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    if host.startswith(UNIX):
        _check_socket(host.removeprefix(UNIX))
    try:
        return cast(DockerApi, docker.from_env(timeout=TIMEOUT).api)
    except (DockerException, requests.RequestException) as error:
        raise _gone(str(error)) from error


def _check_socket(path: str) -> None:
    """Most machines without Docker stop here. The SDK would say less, and leave a socket open (seen with 7.2)."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError as error:
            raise _gone(f"{path}: {error.strerror or error}") from error


def _gone(cause: str) -> Unavailable:
    return Unavailable(
        f"the local Docker daemon cannot be used: {cause}",
        hint="start it, or give the image as docker-archive:FILE, oci:DIR or rootfs:TAR",
    )


@contextmanager
def _explained(image: str) -> Iterator[None]:
    try:
        yield
    except NoSuchImage as error:
        raise ImageNotFound(
            f"the local Docker has no image {image}", hint=f"docker pull {image}", details={"image": image}
        ) from error
    except APIError as error:
        raise BadImage(f"the local Docker says of {image}: {error.explanation or error}") from error
    except (DockerException, requests.RequestException) as error:
        raise _gone(str(error)) from error


def last_image() -> str:
    """The id of the newest image of the local Docker, tagged or not: what was built last (seed 001).

    Raises:
        ImageNotFound: it has none.
        Unavailable: there is no Docker.
    """
    with closing(connect()) as api:
        return newest_image(api)


def newest_image(api: DockerApi) -> str:
    """See `last_image`."""
    with _explained("."):
        images = api.images()
        if not images:
            raise ImageNotFound("the local Docker has no images", hint="build one: docker build .")
        latest = max(image["Created"] for image in images)
        # The list knows seconds only, and quick builds share one.
        rivals: list[str] = [image["Id"] for image in images if image["Created"] == latest]
        return max(rivals, key=lambda image: str(api.inspect_image(image).get("Created", "")))


@contextmanager
def asked_about(reference: Reference) -> Iterator[tuple[DockerApi, str]]:
    """The daemon, and what to call the image that `reference` names there; its errors inside the block are explained.

    Raises:
        ImageNotFound, Unavailable, BadImage: as `open_docker`.
    """
    with closing(connect()) as api, _explained(reference.query or "."):
        yield api, reference.query or newest_image(api)


def open_docker(reference: Reference) -> DockerImage:
    """The image of the local Docker that `reference` names; with no name, the newest.

    Raises:
        ImageNotFound: it has no such image.
        Unavailable: there is no Docker.
        BadImage: it cannot run here.
    """
    api = connect()
    try:
        return DockerImage(api, reference)
    except BaseException:
        api.close()
        raise


class DockerImage:
    """An `ImageSource` over the daemon."""

    def __init__(self, api: DockerApi, reference: Reference) -> None:
        """Takes over `api`, unless it raises; see `open_docker`."""
        query = reference.query or newest_image(api)
        with _explained(query):
            found = api.inspect_image(query)
        self._api = api
        self._id: str = found["Id"]
        self._put_aside = PutAside()
        self.name = _name(reference, self._id)
        self.config = config_of(found)
        parse_config(self.config)

    def read_out(self, diff_ids: Collection[str], progress: Progress) -> Mapping[str, int]:
        """Stream the image once and put the wanted layers aside."""
        missing = set(diff_ids) - self._put_aside.files.keys()
        if missing:
            with _explained(self.name):
                self._put_aside.fill(self._api.get_image(self._id), missing, self.name, progress)
        return {diff_id: self._put_aside.size(diff_id) for diff_id in diff_ids}

    @contextmanager
    def open_layer(self, diff_id: str) -> Iterator[Iterator[bytes]]:
        """A layer that was put aside."""
        file = self._put_aside.files[diff_id]
        file.seek(0)
        yield chunks_of(file)

    def close(self) -> None:
        """Forget the layers put aside and the daemon."""
        self._put_aside.close()
        self._api.close()


def _name(reference: Reference, found: str) -> str:
    """The name to file the image under: its id, if that is what it was asked for by, and for `.`."""
    by_id = reference.id_prefix is not None and found.startswith(f"sha256:{reference.id_prefix}")
    return found if by_id or not reference.target else reference.target


def config_of(inspected: Mapping[str, Any]) -> bytes:
    """The image config, from what `inspect` says: the same bytes for the same image, whatever the daemon's version."""
    section: Mapping[str, Any] = inspected.get("Config") or {}
    config = {
        "architecture": inspected.get("Architecture", ""),
        "os": inspected.get("Os", ""),
        "variant": inspected.get("Variant", ""),
        "config": {key: section[key] for key in SECTION if section.get(key)},
        "rootfs": {"type": "layers", "diff_ids": inspected.get("RootFS", {}).get("Layers") or []},
    }
    return json.dumps(config, sort_keys=True).encode()


class PutAside:
    """Layers from the stream of `docker save`, each in a temporary file under the digest of its content."""

    def __init__(self) -> None:
        self.files: dict[str, IO[bytes]] = {}

    def fill(self, saved: Iterator[bytes], wanted: Collection[str], image: str, progress: Progress) -> None:
        """Read the stream until every wanted layer has come by.

        Raises:
            BadImage: the stream is cut off, or has not all of them.
            Exhausted: no space left on the disk.
        """
        missing = set(wanted)
        tally = Tally(saved)
        for diff_id, file in _layers_in(tally, image):
            progress(f"reading {image} from Docker", tally.size, 0)
            if diff_id not in missing:
                file.close()
                continue
            self.files[diff_id] = file
            missing.discard(diff_id)
            if not missing:
                return
        raise BadImage(f"Docker's export of {image} lacks layer {min(missing)}", hint="docker pull or build it again")

    def size(self, diff_id: str) -> int:
        """Bytes of a layer as exported."""
        return os.fstat(self.files[diff_id].fileno()).st_size

    def close(self) -> None:
        """Remove the files."""
        while self.files:
            self.files.popitem()[1].close()


def _layers_in(saved: Iterable[bytes], image: str) -> Iterator[tuple[str, IO[bytes]]]:
    """(digest of the content, file) of everything in the stream that may be a layer; in the newer form of `docker save`
    configs and manifests are called like layers, and are small."""
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", ChunkReader(saved)), mode="r|") as tar:
            for member in tar:
                if _may_be_layer(member):
                    file = spooled(chunks_of(cast("IO[bytes]", tar.extractfile(member))))
                    yield _content_digest(file, f"{image}: {member.name}"), file
    except tarfile.TarError as error:
        raise BadImage(f"Docker's export of {image} is cut off: {error}", retryable=True) from error


def _may_be_layer(member: tarfile.TarInfo) -> bool:
    return member.isreg() and (member.name.startswith("blobs/sha256/") or member.name.endswith(".tar"))


def _content_digest(file: IO[bytes], what: str) -> str:
    try:
        return Digester(expanded(chunks_of(file), what=what)).exhaust()
    except BaseException:
        file.close()
        raise

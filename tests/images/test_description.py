"""Image configs as Docker and others write them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tfcore.errors import BadImage
from tfcore.images.description import (
    CONFIG_SIZE,
    MAX_LAYERS,
    ExposedPort,
    Healthcheck,
    Layer,
    describe,
    parse_config,
)
from tfcore.images.digest import digest_of
from tfcore.images.platforms import Platform, parse_platform, platform_of_machine

DIFF_ID = digest_of(b"layer")
OTHER = digest_of(b"other")


def config(section: dict[str, Any] | None = None, *, diff_ids: tuple[str, ...] = (DIFF_ID,), **fields: Any) -> bytes:
    file = {
        "architecture": "amd64",
        "os": "linux",
        "config": section,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps({**file, **fields}).encode()


def layer(diff_id: str = DIFF_ID, digest: str = DIFF_ID) -> Layer:
    return Layer(diff_id=diff_id, digest=digest, size=5, media_type="application/vnd.oci.image.layer.v1.tar")


def test_everything_a_container_needs_is_read() -> None:
    section = {
        "Entrypoint": ["/entry", "-x"],
        "Cmd": ["serve"],
        "Env": ["PATH=/bin", "EMPTY=", "A=b=c"],
        "WorkingDir": "/srv",
        "User": "web:web",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}, "80": {}},
        "Volumes": {"/var/b": {}, "/var/a": {}},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {
            "Test": ["CMD-SHELL", "true"],
            "Interval": 30_000_000_000,
            "Timeout": 500_000_000,
            "Retries": 3,
        },
        "Labels": {"a": "b"},
        "Hostname": "ignored",
    }
    read = parse_config(config(section, variant="v1", created="2024-01-01T00:00:00Z", history=[{}]))
    assert read.entrypoint == ("/entry", "-x")
    assert read.cmd == ("serve",)
    assert read.env == ("PATH=/bin", "EMPTY=", "A=b=c")
    assert (read.working_dir, read.user, read.stop_signal) == ("/srv", "web:web", "SIGQUIT")
    assert read.exposed_ports == (ExposedPort(53, "udp"), ExposedPort(80, "tcp"), ExposedPort(8080, "tcp"))
    assert read.volumes == ("/var/a", "/var/b")
    assert read.healthcheck == Healthcheck(test=("CMD-SHELL", "true"), interval=30.0, timeout=0.5, retries=3)
    assert read.labels == {"a": "b"}
    assert read.platform == Platform("linux", "amd64")
    assert read.diff_ids == (DIFF_ID,)


@pytest.mark.parametrize("section", [None, {}, dict.fromkeys(("Entrypoint", "Cmd", "Env", "ExposedPorts", "Volumes"))])
def test_null_and_nothing_are_empty(section: dict[str, Any] | None) -> None:
    read = parse_config(config(section))
    assert (read.entrypoint, read.cmd, read.env, read.exposed_ports, read.volumes) == ((), (), (), (), ())
    assert read.healthcheck is None


def test_a_healthcheck_without_a_test_is_inherited_nothing() -> None:
    assert parse_config(config({"Healthcheck": {"Interval": 1}})).healthcheck is None


def test_commands_of_ancient_images_are_one_word() -> None:
    assert parse_config(config({"Cmd": "/bin/start server"})).cmd == ("/bin/start server",)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "cannot be read"),
        (b"\xff{}", "cannot be read"),
        (b"[]", "cannot be read"),
        (b"{}", "rootfs"),
        (b'{"rootfs":' + b"[" * 100_000, "cannot be read"),
        (config({"Env": "A=b"}), r"config\.Env"),
        (config({"Env": [1]}), r"config\.Env"),
        (config(diff_ids=()), "no layers"),
        (config(diff_ids=(DIFF_ID,) * (MAX_LAYERS + 1)), f"more than {MAX_LAYERS}"),
        (config(diff_ids=("md5:abc",)), "not a sha256 digest"),
        (config(diff_ids=("../../etc/passwd",)), "not a sha256 digest"),
        (config(os="windows"), "for windows"),
        (config({"ExposedPorts": {"http": {}}}), "not a port"),
        (config({"ExposedPorts": {"70000/tcp": {}}}), "not a port"),
        (config({"ExposedPorts": {"8000-8010/tcp": {}}}), "not a port"),
        (b" " * (CONFIG_SIZE + 1), "are refused"),
    ],
)
def test_what_cannot_be_used_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words):
        parse_config(raw)


def test_a_description_is_config_and_layers_that_belong_together() -> None:
    raw = config(diff_ids=(DIFF_ID, OTHER, DIFF_ID))
    image = describe(raw, (layer(), layer(OTHER), layer()))
    assert image.config_digest == digest_of(raw)
    assert image.size == 10


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((), "1 layers, but 0"),
        ((layer(), layer()), "1 layers, but 2"),
        ((layer(OTHER),), "was given"),
        ((layer(digest="sha256:x"),), "not a sha256 digest"),
    ],
)
def test_other_layers_than_the_config_names_are_refused(layers: tuple[Layer, ...], words: str) -> None:
    with pytest.raises(BadImage, match=words):
        describe(config(), layers)


def test_platforms_are_read_and_written_as_others_do() -> None:
    assert parse_platform("linux/arm64/v8") == platform_of_machine("aarch64") == Platform("linux", "arm64")
    assert str(platform_of_machine("armv7l")) == "linux/arm/v7"
    assert platform_of_machine("x86_64").same_machine(Platform("linux", "amd64", "v3"))
    assert not platform_of_machine("loongarch64").same_machine(platform_of_machine("riscv64"))
    with pytest.raises(ValueError, match="linux/amd64"):
        parse_platform("amd64")

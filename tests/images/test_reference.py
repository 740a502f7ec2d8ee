"""What users may write to name an image, and what they are told when they write something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfcore.errors import BadImage
from tfcore.images.reference import Reference, Scheme, canonical_name, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.25-alpine", "nginx:1.25-alpine"),
        ("team/web", "team/web:latest"),
        ("a.b/team_x/web__y:V1", "a.b/team_x/web__y:V1"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("Registry.Example:443/web:2", "Registry.Example:443/web:2"),
        (f"nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1.25@{DIGEST}", f"nginx@{DIGEST}"),
        ("x" * 255, "x" * 255 + ":latest"),
        ("web:" + "t" * 128, "web:" + "t" * 128),
    ],
)
def test_a_name_is_made_canonical(text: str, canonical: str) -> None:
    assert parse_reference(text) == Reference(Scheme.NAME, canonical)
    assert parse_reference(canonical) == parse_reference(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "write e.g. nginx"),
        ("  ", "write e.g. nginx"),
        (" nginx", "white space"),
        ("NGINX:1", "nginx:1"),
        ("https://example.com/web", "leave the protocol out"),
        ("/srv/web.tar", "docker-archive:/srv/web.tar"),
        ("./web", "rootfs:./web"),
        ("Web.tar.gz", "docker-archive:Web.tar.gz"),
        ("nginx@sha256:abc", "64 hexadecimal digits"),
        ("nginx@md5:" + "0" * 32, "64 hexadecimal digits"),
        ("web:", "may end in :tag"),
        ("web:-x", "may end in :tag"),
        ("a//b", "lower-case letters"),
        ("-web", "lower-case letters"),
        ("web\n", "white space"),
        ("x" * 256, "lower-case letters"),
        ("web:" + "t" * 129, "lower-case letters"),
        ("webä", "lower-case letters"),
        ("we b", "lower-case letters"),
    ],
)
def test_what_is_no_name_is_refused_with_the_way_out(text: str, hint: str) -> None:
    with pytest.raises(BadImage) as refused:
        parse_reference(text)
    assert hint in refused.value.hint


def test_something_other_than_text_is_refused() -> None:
    with pytest.raises(BadImage, match="not by NoneType"):
        parse_reference(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["337c501c333c", "0123456789abcdef" * 4, "cafe"])
def test_hexadecimal_words_may_be_ids_but_are_names_first(text: str) -> None:
    reference = parse_reference(text)
    assert reference == Reference(Scheme.NAME, f"{text}:latest", id_prefix=text)
    assert reference.query == str(reference) == text


@pytest.mark.parametrize("text", ["337", "337c501c333c:latest", "xyz501c333c", "0" * 65])
def test_what_cannot_be_an_id_is_a_name_only(text: str) -> None:
    assert parse_reference(text).id_prefix is None


@pytest.mark.parametrize("text", [DIGEST, "sha256:337c501c"])
def test_an_explicit_id_is_never_a_name(text: str) -> None:
    assert parse_reference(text) == Reference(Scheme.NAME, text, id_prefix=text.removeprefix("sha256:"))


def test_the_local_docker_can_be_asked_explicitly() -> None:
    assert parse_reference("docker:nginx") == Reference(Scheme.DOCKER, "nginx:latest")
    assert parse_reference("docker:docker:dind") == Reference(Scheme.DOCKER, "docker:dind")
    assert str(parse_reference("docker:337c501c")) == "docker:337c501c"
    assert parse_reference("docker:337c501c") == Reference(Scheme.DOCKER, "337c501c:latest", id_prefix="337c501c")


def test_an_explicit_docker_image_is_filed_under_its_name() -> None:
    assert parse_reference("docker:nginx").cached_name == "nginx:latest"
    assert parse_reference("337c501c333c").cached_name == "337c501c333c", "digits may be an id, which has no tag"


def test_the_newest_build_has_no_name_of_its_own() -> None:
    reference = parse_reference(".")
    assert reference == Reference(Scheme.LATEST_BUILD, "")
    assert reference.cached_name is None
    assert str(reference) == "."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("docker-archive:/srv/web.tar", Reference(Scheme.DOCKER_ARCHIVE, "/srv/web.tar")),
        ("docker-archive:/srv/web.tar:web:1.2", Reference(Scheme.DOCKER_ARCHIVE, "/srv/web.tar", "web:1.2")),
        ("oci:/srv/web", Reference(Scheme.OCI, "/srv/web")),
        ("oci:/srv/web/:v1", Reference(Scheme.OCI, "/srv/web", "v1")),
        ("rootfs:/srv/root.tar", Reference(Scheme.ROOTFS, "/srv/root.tar")),
    ],
)
def test_files_are_given_by_scheme_and_path(text: str, expected: Reference) -> None:
    reference = parse_reference(text)
    assert reference == expected
    assert parse_reference(str(reference)) == reference
    assert reference.cached_name == str(reference)


def test_relative_paths_and_the_home_directory_are_resolved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    assert parse_reference("oci:~/web").target == "/home/somebody/web"
    assert parse_reference("oci:sub/../web").target == os.path.join(os.getcwd(), "web")


@pytest.mark.parametrize(
    "text", ["oci:", "oci::v1", "docker-archive:/x.tar:", "rootfs:/x.tar:v1", "docker:", "docker:A"]
)
def test_half_a_reference_is_refused(text: str) -> None:
    with pytest.raises(BadImage):
        parse_reference(text)


def test_a_canonical_name_stays_as_it_is() -> None:
    assert canonical_name(canonical_name("team/web")) == "team/web:latest"


@pytest.mark.parametrize("text", ["oci:~a\0b", "rootfs:\0", "docker-archive:x\0:tag"])
def test_a_path_with_a_zero_byte_is_refused(text: str) -> None:
    with pytest.raises(BadImage, match="zero byte"):
        parse_reference(text)

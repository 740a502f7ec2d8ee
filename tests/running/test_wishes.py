"""What people type for `tf run`, understood without a location."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfcore.errors import BadRequest
from tfnz.running import wishes
from tfnz.running.wishes import Publication


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", Publication(80)),
        ("8080:80", Publication(80, 8080)),
        ("192.0.2.1:8080:80", Publication(80, 8080, "192.0.2.1")),
        ("192.0.2.1::80", Publication(80, None, "192.0.2.1")),
        ("[::1]:8080:80", Publication(80, 8080, "::1")),
        ("8080:80/tcp", Publication(80, 8080)),
    ],
)
def test_a_port_is_published(text: str, wanted: Publication) -> None:
    assert wishes.publication(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "http", "0", "65536", "8080:", "a:80", "53:53/udp", "1:2:3:4", "-1", "8080:80:tcp"]
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="-p"):
        wishes.publication(text)


def test_without_a_wish_all_exposed_ports_are_on_free_ones() -> None:
    assert wishes.publications([], [80, 443]) == [Publication(80), Publication(443)]


def test_bind_and_offset_as_seed_001_has_them() -> None:
    assert wishes.publications([], [80], bind="192.0.2.1") == [Publication(80, 80, "192.0.2.1")]
    assert wishes.publications([], [80], bind="192.0.2.1", offset=8000) == [Publication(80, 8080, "192.0.2.1")]
    assert wishes.publications([], [80], offset=8000) == [Publication(80, 8080, "127.0.0.1")]


def test_what_is_published_by_name_replaces_what_is_exposed() -> None:
    assert wishes.publications(["9000:80"], [80, 443], bind="::1") == [Publication(80, 9000, "::1")]


def test_an_offset_beyond_all_ports_is_refused() -> None:
    with pytest.raises(BadRequest, match="73536"):
        wishes.publications([], [8000], offset=65536)


def test_variables_come_from_files_then_words_then_here(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# a comment\nA=file\n\nB=x=y\nHERE\n")
    found = wishes.variables(["A=word", "C=", "ABSENT"], [str(tmp_path / "env")], {"HERE": "1"})
    assert found == {"A": "word", "B": "x=y", "HERE": "1", "C": ""}
    with pytest.raises(BadRequest, match="no name"):
        wishes.variables(["=1"])
    with pytest.raises(BadRequest, match="No such file"):
        wishes.variables([], [str(tmp_path / "absent")])


@pytest.mark.parametrize(
    ("words", "assignments", "command"),
    [
        ("A=1 B=2", ["A=1", "B=2"], []),
        ("A=1 env C=3", ["A=1"], ["env", "C=3"]),
        ("sh -c A=1", [], ["sh", "-c", "A=1"]),
        ("-- A=1", [], ["A=1"]),
        ("A=1 -- B=2 --", ["A=1"], ["B=2", "--"]),
        ("./a=b", [], ["./a=b"]),
        ("", [], []),
    ],
)
def test_variables_stand_before_the_command(words: str, assignments: list[str], command: list[str]) -> None:
    assert wishes.leading_assignments(words.split()) == (assignments, command)


def test_a_file_keeps_its_name_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "page:1.html").write_bytes(b"hi")
    source = f"{tmp_path}/page:1.html"
    assert wishes.file(f"{source}:/srv/") == ("/srv/page:1.html", b"hi")
    assert wishes.file(f"{source}:/srv/index.html") == ("/srv/index.html", b"hi")
    for wrong in (source, f"{source}:srv/", ":/srv/x", f"{tmp_path}/absent:/srv/", f"{tmp_path}:/srv/"):
        with pytest.raises(BadRequest, match="-f"):
            wishes.file(wrong)


def test_a_mount_names_a_volume_by_any_of_its_names() -> None:
    assert wishes.mount("data:/var/lib") == ("data", "/var/lib")
    assert wishes.mount("v-1:data:/var/lib") == ("v-1:data", "/var/lib")
    for wrong in ("data", "/var/lib", ":/var/lib", "data:var/lib"):
        with pytest.raises(BadRequest, match="-m"):
            wishes.mount(wrong)

"""`{fixture.attribute}` and all that only looks like it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_tf.interpolation import fill, fill_reference, fixtures_in, fixtures_in_reference

DB = SimpleNamespace(ip="10.0.0.1", node=SimpleNamespace(name="n1"))


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{db.ip}", "10.0.0.1"),
        ("postgres://{db.ip}:5432/{db.node.name}", "postgres://10.0.0.1:5432/n1"),
        ("a={db.ip} b={db.ip}", "a=10.0.0.1 b=10.0.0.1"),
    ],
)
def test_attributes_are_filled_in(text: str, filled: str) -> None:
    assert fixtures_in(text) == ("db",)
    assert fill(text, {"db": DB}) == filled


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": 1}}',
        "server { listen 80; location / { return 200; } }",
        "${db.ip}",
        "{{db.ip}}",
        "{db}",
        "{}",
        "{1.5}",
        "awk '{print $1}'",
        "{db.ip",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert fixtures_in(text) == ()
    assert fill(text, {}) == text


def test_bytes_and_numbers_hold_no_fixtures() -> None:
    assert fixtures_in(b"{db.ip}") == fixtures_in(7) == ()


def test_an_image_may_name_a_fixture_alone() -> None:
    assert fixtures_in_reference("oci:{images}/{db.ip}:1") == ("images", "db")
    assert fill_reference("oci:{images}/nginx:1", {"images": "/i"}) == "oci:/i/nginx:1"


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(LookupError, match=r"^\{db\.port\}: .* has no attribute 'port'$"):
        fill("{db.port}", {"db": DB})

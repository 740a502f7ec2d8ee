"""How daemons log: readable on a terminal, one JSON object a line elsewhere, ids as fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import get_args

import pytest

from tests.wire.vocabulary import messages
from tfcore.ids import Kind, new_id
from tfcore.logs import Style, configure, ids_in
from tfcore.wire.header import Header, shown
from tfcore.wire.message import op_of


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """pytest's own handlers are put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_each_line_is_a_json_object_with_the_ids_as_fields() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    request, session = new_id("r"), new_id("s")
    logging.getLogger("tf.test").info("opened request=%s session=%s\nsecond line", request, session)
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["request"], entry["session"], entry["level"], entry["logger"]) == (
        request,
        session,
        "info",
        "tf.test",
    )
    assert entry["message"].endswith("second line")
    assert entry["time"].endswith("Z")


def test_a_traceback_is_in_the_object() -> None:
    stream = io.StringIO()
    configure(stream=stream)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        logging.getLogger("tf.test").exception("it failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: what went wrong" in json.loads(line)["traceback"]


def test_on_a_terminal_it_is_text() -> None:
    stream = Terminal()
    configure(stream=stream)
    logging.getLogger("tf.test").warning("careful")
    assert "WARNING tf.test: careful" in stream.getvalue()


def test_the_style_can_be_chosen() -> None:
    stream = io.StringIO()
    configure(stream=stream, style="text")
    logging.getLogger("tf.test").info("hello")
    logging.getLogger("tf.test").debug("not this")
    assert stream.getvalue().count("\n") == 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_id_is_a_field(kind: Kind) -> None:
    name = new_id(kind)
    assert list(ids_in(f"said {name}").values()) == [name]


def test_ids_are_known_by_their_shape() -> None:
    first, second = new_id("c"), new_id("c")
    volume = new_id("v")
    assert ids_in(f"{first} and {second} mount {volume}, not x-1 or c-{'0' * 23}") == {
        "container": first,
        "volume": volume,
    }


def test_the_cause_of_a_request_is_a_field_of_its_own() -> None:
    own, cause = new_id("r"), new_id("r")
    assert ids_in(f"node.boot-container request={own} cause={cause} session=") == {"request": own, "cause": cause}
    assert ids_in(f"asked because of cause={cause}") == {"cause": cause}


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_is_quoted_in_a_line_does_not_look_like_another_nor_moves_a_terminal(style: Style) -> None:
    stream = io.StringIO()
    configure(stream=stream, style=style)
    hostile = "harmless\n12:00:00 INFO tf: all is well\x1b[2J\x9b2J\u2028\u202e\U000e0001"
    logging.getLogger("tf.test").info("said: %s", hostile)
    text = stream.getvalue()
    assert len(text.splitlines()) == 1
    assert text.removesuffix("\n").isprintable()
    if style == "json":
        assert json.loads(text)["message"] == f"said: {hostile}"
    else:
        assert "\\n12:00:00" in text


@pytest.mark.parametrize(
    "op", [f"x session={'s-' + 'a' * 22}", "s-" + "a" * 22, "a.s-" + "a" * 22, "a\nb", "", "A", "a.b.c", "a" * 17, "é"]
)
def test_an_operation_that_is_none_is_not_quoted(op: str) -> None:
    """Its sender could have lines say that it was another's."""
    header = Header(kind="request", id="", op=op)
    assert shown(header) == "request"


def test_operations_are_named() -> None:
    for cls in messages():
        assert shown(Header(kind="event", id="", op=op_of(cls))) == op_of(cls)
    assert not any(ids_in(op_of(cls)) for cls in messages())

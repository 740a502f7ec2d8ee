"""How daemons log: readable on a terminal, one JSON object a line elsewhere, ids as fields."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tfcore.ids import new_id
from tfcore.logs import configure, ids_in


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

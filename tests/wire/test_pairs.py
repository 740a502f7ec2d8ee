"""Requests and who answers them: the tables of location and node are those of `wire/links.py`, and every handler takes the
message it stands for and returns that message's reply."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

from tests.wire.vocabulary import messages, requests
from tfcore.rpc.dispatcher import Call
from tfcore.wire import links
from tfcore.wire.message import Event, Reply, Request, op_of, reply_of
from tflocation import handlers as location
from tfnode import handlers as node

TABLES: dict[str, typing.Mapping[type[Request[Any]], Callable[..., Any]]] = {
    "greetings": location.GREETINGS,
    "clients to location": location.FROM_CLIENTS,
    "nodes to location": location.FROM_NODES,
    "clients to node": node.FROM_CLIENTS,
    "location to node": node.FROM_LOCATION,
}
ENTRIES = [(name, cls, handler) for name, table in TABLES.items() for cls, handler in table.items()]


@pytest.mark.parametrize(
    ("table", "cls", "handler"), ENTRIES, ids=[f"{name}: {op_of(cls)}" for name, cls, _ in ENTRIES]
)
def test_a_handler_takes_its_message_and_returns_its_reply(
    table: str, cls: type[Request[Any]], handler: Callable[..., Any]
) -> None:
    hints = typing.get_type_hints(handler)
    returned = hints.pop("return")
    *before, message = list(hints.values())
    assert message is cls
    assert Call in before
    assert returned is reply_of(cls)
    assert inspect.iscoroutinefunction(handler)
    assert handler.__doc__, "say what it does"


def test_the_location_answers_what_the_links_say_and_nothing_else() -> None:
    expected = {*links.CLIENT_TO_LOCATION, *links.NODE_TO_LOCATION, *links.INVITED_TO_LOCATION}
    answered = [*location.GREETINGS, *location.FROM_CLIENTS, *location.FROM_NODES]
    assert set(answered) == expected
    assert len(answered) == len(expected), "one table for each"
    assert set(location.FROM_CLIENTS) < set(links.CLIENT_TO_LOCATION)
    assert set(location.FROM_NODES) < set(links.NODE_TO_LOCATION)


def test_a_node_answers_what_the_links_say_and_nothing_else() -> None:
    assert set(node.FROM_CLIENTS) == set(links.CLIENT_TO_NODE)
    assert set(node.FROM_LOCATION) == set(links.LOCATION_TO_NODE)
    assert set(node.HANDLERS) == {*links.CLIENT_TO_NODE, *links.LOCATION_TO_NODE}


def test_the_location_heeds_the_events_that_nodes_send() -> None:
    assert set(location.NODE_EVENTS) == set(links.EVENTS_TO_LOCATION)
    for event, handler in location.NODE_EVENTS.items():
        assert list(typing.get_type_hints(handler).values())[2] is event


def test_every_request_travels_on_one_link() -> None:
    listed = [
        *links.INVITED_TO_LOCATION, *links.CLIENT_TO_LOCATION, *links.CLIENT_TO_NODE,
        *links.LOCATION_TO_NODE, *links.NODE_TO_LOCATION,
    ]  # fmt: skip
    assert sorted(map(op_of, listed)) == sorted(map(op_of, requests()))


def test_every_event_travels_on_some_link() -> None:
    listed = {*links.EVENTS_TO_CLIENT, *links.EVENTS_TO_LOCATION, *links.EVENTS_TO_NODE}
    assert listed == {cls for cls in messages() if issubclass(cls, Event)}


def test_every_reply_answers_something() -> None:
    assert {reply_of(cls) for cls in requests()} == {cls for cls in messages() if issubclass(cls, Reply)}


def test_tags_are_written_out_and_used_once() -> None:
    tags = [op_of(cls) for cls in messages()]
    assert len(tags) == len(set(tags))
    for cls in messages():
        assert op_of(cls) != cls.__name__, "renaming a class must not change the wire"


def test_every_message_says_what_it_is() -> None:
    for cls in messages():
        assert cls.__doc__, cls
        assert (cls.__doc__ or "").strip()

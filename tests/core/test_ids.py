"""Ids: shaped as they are looked for, and never the same twice."""

from __future__ import annotations

from tfcore.ids import ALPHABET, is_id, new_id


def test_ids_have_their_shape_and_no_two_are_the_same() -> None:
    made = [new_id("c") for _ in range(500)]
    assert all(is_id(identifier, "c") and not is_id(identifier, "v") for identifier in made)
    assert len(set(made)) == len(made)


def test_every_character_is_used_in_every_place() -> None:
    made = [new_id("r")[2:] for _ in range(3000)]
    for place in range(22):
        assert {identifier[place] for identifier in made} == set(ALPHABET)

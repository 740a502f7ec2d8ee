"""Which images and layers go when space is short."""

from __future__ import annotations

from tflocation.images.eviction import HeldImage, HeldLayer, Victims, choose_victims

BASE, APP, OTHER, LOOSE = "base", "app", "other", "loose"


def image(name: str, used: int, *layers: str, account: str = "ann") -> HeldImage:
    return HeldImage(account, name, used, frozenset(layers))


def layers(*names: str, size: int = 10) -> list[HeldLayer]:
    return [HeldLayer(name, size, position) for position, name in enumerate(names)]


def chosen(victims: Victims) -> tuple[list[str], list[str]]:
    return [image.config_digest for image in victims.images], list(victims.layers)


def choose(
    images: list[HeldImage], held: list[HeldLayer], excess: int, pinned: set[str] | None = None
) -> tuple[list[str], list[str]]:
    return chosen(choose_victims(images, held, pinned=pinned or set(), excess=excess))


def test_nothing_goes_while_there_is_room() -> None:
    assert choose([image("a", 1, APP)], layers(APP), 0) == ([], [])
    assert choose([image("a", 1, APP)], layers(APP), -5) == ([], [])


def test_the_image_used_longest_ago_goes_first_and_only_as_many_as_needed() -> None:
    images = [image("new", 9, APP), image("old", 5, OTHER)]
    assert choose(images, layers(APP, OTHER), 1) == (["old"], [OTHER])
    assert choose(images, layers(APP, OTHER), 10) == (["old"], [OTHER])
    assert choose(images, layers(APP, OTHER), 11) == (["old", "new"], [OTHER, APP])


def test_a_shared_layer_goes_with_its_last_image() -> None:
    images = [image("old", 5, BASE, APP), image("new", 9, BASE, OTHER)]
    assert choose(images, layers(BASE, APP, OTHER), 5) == (["old"], [APP])
    assert choose(images, layers(BASE, APP, OTHER), 15) == (["old", "new"], [APP, BASE, OTHER])


def test_the_same_image_of_two_accounts_goes_with_the_second() -> None:
    images = [image("a", 5, APP), image("a", 9, APP, account="bob")]
    victims = choose_victims(images, layers(APP), pinned=set(), excess=1)
    assert [each.account for each in victims.images] == ["ann", "bob"]
    assert victims.layers == (APP,)


def test_pinned_layers_stay_and_so_does_an_image_all_of_them() -> None:
    images = [image("running", 1, BASE, APP), image("old", 2, BASE, OTHER)]
    assert choose(images, layers(BASE, APP, OTHER), 100, {BASE, APP}) == (["old"], [OTHER])


def test_layers_without_an_image_go_by_their_own_age() -> None:
    held = [HeldLayer(LOOSE, 10, 3), HeldLayer(APP, 10, 1)]
    assert choose([image("a", 2, APP)], held, 1) == (["a"], [APP])
    assert choose([image("a", 4, APP)], held, 1) == ([], [LOOSE])
    assert choose([image("a", 4, APP)], held, 100, {LOOSE}) == (["a"], [APP])

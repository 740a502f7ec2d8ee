"""What goes when the cache is too large: the images used longest ago, and the layers nobody else needs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeldImage:
    """One account's image, as far as eviction cares."""

    account: str
    config_digest: str
    used: int
    layers: frozenset[str]


@dataclass(frozen=True, slots=True)
class HeldLayer:
    """A layer on disk."""

    diff_id: str
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class Victims:
    """What to remove."""

    images: tuple[HeldImage, ...]
    layers: tuple[str, ...]


def choose_victims(
    images: Sequence[HeldImage], layers: Sequence[HeldLayer], *, pinned: Set[str], excess: int
) -> Victims:
    """The least recently used images, and layers without an image, until `excess` bytes are freed.

    A pinned layer stays. An image whose layers are all pinned is in use, or costs nothing, and stays as well. A layer goes
    with the last image it belongs to. If everything else is pinned, less than `excess` is freed.
    """
    choice = _Choice(images, layers, pinned)
    loose = [layer for layer in layers if not choice.references[layer.diff_id]]
    candidates: list[HeldImage | HeldLayer] = [*images, *loose]
    for held in sorted(candidates, key=lambda held: held.used):
        if choice.freed >= excess:
            break
        if isinstance(held, HeldImage):
            choice.drop_image(held)
        else:
            choice.drop_layer(held.diff_id)
    return Victims(tuple(choice.images), tuple(choice.layers))


class _Choice:
    def __init__(self, images: Sequence[HeldImage], layers: Sequence[HeldLayer], pinned: Set[str]) -> None:
        self.references = Counter(diff_id for image in images for diff_id in image.layers)
        self.sizes: Mapping[str, int] = {layer.diff_id: layer.size for layer in layers}
        self.pinned = pinned
        self.images: list[HeldImage] = []
        self.layers: list[str] = []
        self.freed = 0

    def drop_image(self, image: HeldImage) -> None:
        if image.layers <= self.pinned:
            return
        self.images.append(image)
        for diff_id in sorted(image.layers):
            self.references[diff_id] -= 1
            if not self.references[diff_id]:
                self.drop_layer(diff_id)

    def drop_layer(self, diff_id: str) -> None:
        if diff_id not in self.pinned:
            self.layers.append(diff_id)
            self.freed += self.sizes[diff_id]

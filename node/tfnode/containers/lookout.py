"""Where the traces of one generation are: which directories of the storage, which processes.

Knows where things are, not what they mean: that is `evidence.py`'s and `comparison.py`'s.
"""

from __future__ import annotations

from tfnode.containers.comparison import Comparison
from tfnode.containers.evidence import Evidence, Scene
from tfnode.containers.life import Birth, Generation, Moment
from tfnode.storage.interface import Storage, Tracing
from tfnode.volumes.volumes import Volume, Volumes


def scene_of(storage: Storage, volumes: Volumes, birth: Birth, generation: Generation) -> Scene:
    """Where a living generation leaves traces."""
    if birth.boot.wish.always_roll_back:
        return Scene(generation.pid, generation.group, {}, blind="it is always rolled back")
    if not isinstance(storage, Tracing):
        blind = f"the storage driver {storage.name} cannot tell whether anything was written"
        return Scene(generation.pid, generation.group, {}, blind=blind)
    trees = {"": storage.written(generation.tree)}
    shared = set()
    for volume in map(volumes.get, sorted({mount.volume for mount in birth.boot.wish.mounts})):
        place = f"volume {_tree(volume, generation)}: "
        trees[place] = storage.written(_tree(volume, generation))
        if any(container != birth.id for container, _ in volume.users):
            shared.add(place)
    return Scene(generation.pid, generation.group, trees, frozenset(shared))


def comparison_of(
    storage: Storage, volumes: Volumes, birth: Birth, generation: Generation, moment: Moment, seen: Evidence | None
) -> Comparison:
    """A generation beside a moment: its root file system, and of its volumes those that the moment holds.

    Args:
        seen: how the generation looked when it stood at the moment.
    """
    pairs = {"": (moment.root, generation.tree)}
    for mount in birth.boot.wish.mounts:
        if label := moment.volumes.get(mount.volume):
            pairs[mount.path.rstrip("/")] = (label, _tree(volumes.get(mount.volume), generation))
    return Comparison(storage, pairs, scene_of(storage, volumes, birth, generation), seen)


def comparison_of_moments(storage: Storage, birth: Birth, before: Moment, after: Moment) -> Comparison:
    """Two moments: root file systems, and the volumes that both hold."""
    pairs = {"": (before.root, after.root)}
    for mount in birth.boot.wish.mounts:
        if mount.volume in before.volumes and mount.volume in after.volumes:
            pairs[mount.path.rstrip("/")] = (before.volumes[mount.volume], after.volumes[mount.volume])
    return Comparison(storage, pairs, None, None)


def _tree(volume: Volume, generation: Generation) -> str:
    """What the generation has of it: a tree of its own until it takes over, then what all see."""
    return generation.volume_trees.get(volume.id) or volume.entry.tree
